"""Tests: a folder a package, `support` for what they share."""
