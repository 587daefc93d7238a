"""Video files: read, write, tracks, colors, timing."""
