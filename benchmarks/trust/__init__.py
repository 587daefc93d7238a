"""Sixteen goals of trust, measured: `python -m benchmarks.trust`."""
