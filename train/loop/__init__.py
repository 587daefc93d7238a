"""The training loop: one trainer for every method, resumable."""
