"""Many threads with one Stylizer, and forked processes."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from st.runtime import StError, Stylizer
from tests.support import toys
from tests.support.sharing import FORKS, SETTINGS, forked, frame, mixed_up

FRAMES, THREADS = 200, 8


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_concurrent_threads_paint_what_one_thread_paints(tmp_path: Path, device: str) -> None:
    """8 threads × 200 frames while the style keeps changing: every painting equals that of a single
    setting, never a mixture."""
    if device == "openvino":
        pytest.importorskip("openvino")
    path = toys.tiles_pair(tmp_path / "pair.onnx")
    assert mixed_up(path, device, THREADS, FRAMES) == (0, len(SETTINGS))


def test_threads_may_tile_at_once(tmp_path: Path) -> None:
    with Stylizer(toys.tiles_pair(tmp_path / "pair.onnx"), device="cpu", threads=1) as paint:
        frames = [frame(n) for n in range(4)]
        serial = [paint.tiled(one, tile=16) for one in frames]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda one: paint.tiled(one, tile=16), frames))
    for one, other in zip(serial, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_codes_are_shared_by_threads(tmp_path: Path) -> None:
    with Stylizer(toys.code_engine(tmp_path / "code.onnx"), device="cpu") as paint:
        with ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(lambda n: paint.encode_style(frame(n % 3)), range(60)))
        for number, code in enumerate(codes):
            np.testing.assert_allclose(code.values, frame(number % 3).mean((0, 1)), rtol=1e-5)


def in_child(paint: Stylizer, queue: multiprocessing.Queue[str]) -> None:
    try:
        paint(frame(0))
        queue.put("painted")
    except StError as error:
        queue.put(str(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_a_forked_child_gets_a_clear_error(tmp_path: Path, device: str) -> None:
    if device == "openvino":
        pytest.importorskip("openvino")
    with Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device=device, threads=4) as paint:
        paint(frame(0))
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        child = context.Process(target=in_child, args=(paint, queue))
        child.start()
        assert "before a fork: open a new Stylizer" in queue.get(timeout=30)
        child.join(30)
        assert child.exitcode == 0
        np.testing.assert_array_equal(paint(frame(0)), 255 - frame(0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("what", FORKS)
def test_a_forked_child_exits_cleanly(tmp_path: Path, what: str, device: str) -> None:
    """It neither hangs nor dies by a signal, although the libraries' destructors would."""
    if device == "openvino":
        pytest.importorskip("openvino")
    assert forked(toys.tint_engine(tmp_path / "tint.onnx"), device, what) == "0"
