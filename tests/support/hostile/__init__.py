"""Damaged and hostile files, and the faults of a full disk."""
