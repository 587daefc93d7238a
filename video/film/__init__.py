"""Film files: read, write, tracks, colors, timing."""
