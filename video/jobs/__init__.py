"""Painting whole videos: segments, resume, batches, clusters."""
