"""Benchmarks of speed and picture quality, compared with another program; run as `python -m
benchmarks.NAME`."""
