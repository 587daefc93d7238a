"""Painting whole films: segments, resume, batches, clusters."""
