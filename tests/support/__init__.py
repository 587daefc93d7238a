"""Helpers that tests and benchmarks share: small engines, videos, servers, injected faults."""
