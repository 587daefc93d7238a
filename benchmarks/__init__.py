"""Figures of speed and of picture, side by side with a peer; run as `python -m benchmarks.NAME`."""
