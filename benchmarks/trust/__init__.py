"""Robustness and security goals, measured: `python -m benchmarks.trust`."""
