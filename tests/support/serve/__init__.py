"""Visitors and probes of the live server."""
