"""Inference backends: one module for each library, all with the same protocol."""
