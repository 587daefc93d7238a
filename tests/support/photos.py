"""Photographs for tests: the CC0 and public-domain samples that scikit-image's wheel carries.

Read as files, without importing scikit-image. Tests skip, with the reason, where it is missing.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

# Photographs that show natural edges, skin, fur and sky, and the tissue section whose brown and
# blue texture serves as a painting.
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
STYLE = "ihc.png"


def photograph(name: str = PHOTOGRAPHS[0]) -> Path:
    """The file of one sample; skips the test where scikit-image is not installed."""
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        pytest.skip("needs photographs: pip install scikit-image")
    path = Path(spec.origin).parent / "data" / name
    if not path.is_file():
        pytest.skip(f"this scikit-image carries no {name}")
    return path


def painting() -> Path:
    """The file of a picture to use as a style: brown and blue patches on white."""
    return photograph(STYLE)
