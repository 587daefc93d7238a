"""Reuse of trained networks: adding styles to a bank, and reading weights back from engines."""
