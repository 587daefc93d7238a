"""Helpers for the plugin's tests: Triton's interpreter, references, registration."""
