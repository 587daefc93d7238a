"""A hundred consecutive visits do not leak memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("aiortc")
pytest.importorskip("aiohttp")

from tests.support import toys
from tests.support.serve.visiting import visits_growth

MAX_GROWTH = 50 << 20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc")
def test_memory_stays_flat_over_a_hundred_visits(tmp_path: Path) -> None:
    grown = asyncio.run(visits_growth(toys.tint_engine(tmp_path / "tint.onnx"), 100))
    print(f"{grown / 2**20:+.1f} MB after 100 visits")
    assert grown <= MAX_GROWTH
