"""What tests and benchmarks share: networks to play with, films, servers, faults."""
