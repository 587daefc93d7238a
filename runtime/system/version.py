"""The installed version of st."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The version of the distribution that installed `st`, or "unknown" in a bare checkout."""
    for distribution in metadata.packages_distributions().get("st", []):
        return metadata.version(distribution)
    return "unknown"
