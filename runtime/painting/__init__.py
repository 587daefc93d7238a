"""From a frame and controls to a painted frame: sizes, colors, regions, tiles."""
