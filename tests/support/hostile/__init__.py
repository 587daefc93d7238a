"""Damaged and hostile files, and injected I/O faults."""
