"""Tiled paintings equal those of one run."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from numpy.typing import NDArray

from st.runtime import BadEngine, BadInput, StError, Stylizer
from st.runtime.engine.location import engine_path
from st.runtime.engine.metadata import parse
from st.runtime.engine.onnx_file import cut, read_engine
from st.runtime.painting.tiling import merge_moments, spans
from st.runtime.system.memory import cgroup_room, free_memory
from tests.support import toys


def uneven(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise on a ramp, so that no tile has the statistics of the whole picture."""
    slope = np.linspace(0, 200, height)[:, None, None] * np.linspace(0.2, 1, width)[None, :, None]
    noise = np.random.default_rng(seed).integers(0, 56, (height, width, 3))
    return (slope + noise).astype(np.uint8)


@cache
def pair(device: str = "cpu") -> Stylizer:
    return Stylizer(toys.tiles_pair(Path(mkdtemp()) / "pair.onnx"), device=device, threads=1)


def off(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    return int(np.abs(one.astype(int) - other).max())


@given(
    height=some.integers(1, 150),
    width=some.integers(1, 150),
    tile=some.integers(1, 90),
    strength=some.sampled_from([1.0, 0.6]),
)
@settings(max_examples=30, deadline=None)
def test_tiled_equals_whole(height: int, width: int, tile: int, strength: float) -> None:
    tile = max(tile, max(height, width) // 6)  # 49 tiles at most
    frame, paint = uneven(height, width), pair().set_style("hard", strength)
    assert off(paint.tiled(frame, tile=tile), paint(frame)) <= 2


@cache
def shipped(name: str, device: str) -> Stylizer:
    paint = Stylizer(name, device=device, threads=1)
    return paint.set_style(uneven(64, 64)) if name == "anything" else paint


@pytest.mark.parametrize("name", ["paintings", "paintings-light", "anything"])
@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_shipped_engines_paint_the_same_in_tiles(name: str, device: str) -> None:
    """Their segments keep feature maps. A tile narrower than the total halo shows an error in any
    halo."""
    if device == "openvino":
        pytest.importorskip("openvino")
    paint, frame = shipped(name, device), uneven(141, 190)
    assert off(paint.tiled(frame, tile=48), paint(frame)) <= 2


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_uniform_picture_is_the_same_in_tiles(value: int) -> None:
    """Its variance is 0, so instance norms amplify every difference."""
    paint, frame = shipped("paintings-light", "cpu"), np.full((100, 130, 3), value, np.uint8)
    assert off(paint.tiled(frame, tile=48), paint(frame)) <= 2


def test_maps_larger_than_memory_are_kept_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint, frame = shipped("paintings-light", "cpu"), uneven(120, 140)
    expected, made = paint.tiled(frame, tile=48), []
    monkeypatch.setattr("st.runtime.painting.feature_maps.free_memory", lambda: 1000)
    memmap = np.memmap
    monkeypatch.setattr(
        "st.runtime.painting.feature_maps.np.memmap",
        lambda *args, **settings: made.append(settings["shape"]) or memmap(*args, **settings),
    )
    monkeypatch.setattr("st.runtime.painting.feature_maps.FILE", 0)  # one piece in each file
    np.testing.assert_array_equal(paint.tiled(frame, tile=48), expected)
    assert 3 * 9 <= len(made) <= 4 * 9, "16 maps of 9 pieces: a residual block uses files again"


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no posix_fallocate here")
def test_a_full_disk_gives_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("st.runtime.painting.feature_maps.free_memory", lambda: 1000)
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(StError, match=r"neither into memory nor into .*No space left"):
        shipped("paintings-light", "cpu").tiled(uneven(64, 64), tile=48)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("segments", lambda segments: segments[:-1], "one segment for each norm"),
        ("segments", lambda segments: segments[::-1], "before it is written"),
        ("segments", lambda segments: [{"halo": 1}, *segments[1:]], "each of segments must have"),
        ("segments", lambda segments: [segments[0] | {"halo": -1}, *segments[1:]], "halo"),
        ("segments", lambda segments: "none", "must be a list"),
        ("maps", lambda maps: [*maps, [8, 4]], "each map must be written once"),
        ("maps", lambda maps: [[8, 3], *maps[1:]], "strides of maps must divide"),
        ("maps", lambda maps: [[8], *maps[1:]], "channels, stride"),
        ("maps", lambda maps: [], "unknown input 'map_0'"),
    ],
)
def test_contradictory_segments_are_refused(
    key: str, change: Callable[[Any], Any], message: str
) -> None:
    path = engine_path("paintings-light").with_suffix(".tiles.onnx")
    values = json.loads(read_engine(path)[1].dump())
    with pytest.raises(BadEngine, match=message):
        parse(json.dumps(values | {key: change(values[key])}))


def test_most_layers_run_once_for_each_tile() -> None:
    """Engines of older versions repeated all layers before a norm in each pass."""
    for name in ("paintings", "paintings-light", "anything"):
        path = engine_path(name)
        data, metadata = read_engine(path.with_suffix(".tiles.onnx"))
        whole, parts = convolutions(path.read_bytes()), 0
        for i, segment in enumerate(metadata.segments):
            result = "stylized" if i == len(metadata.norms) else f"moments_{i}"
            parts += convolutions(cut(data, [*(f"new_map_{k}" for k in segment.writes), result]))
        assert whole <= parts <= whole + 3


def convolutions(data: bytes) -> int:
    return sum(node.op_type == "Conv" for node in onnx.load_from_string(data).graph.node)


def test_tiles_without_shared_statistics_would_differ() -> None:
    """The statistics matter in this case, so the test above can fail."""
    frame, paint = uneven(128, 128), pair().set_style("soft", 1)
    quarters = [[paint(frame[y : y + 64, x : x + 64]) for x in (0, 64)] for y in (0, 64)]
    patchwork = np.vstack([np.hstack(row) for row in quarters])
    assert off(patchwork, paint(frame)) > 20


def test_a_smaller_halo_would_change_the_result(tmp_path: Path) -> None:
    paint = Stylizer(toys.tiles_pair(tmp_path / "thin.onnx", halo=0), device="cpu")
    frame = uneven(96, 96)
    assert off(paint.tiled(frame, tile=32), paint(frame)) > 2


def test_tiled_equals_whole_on_openvino() -> None:
    pytest.importorskip("openvino")
    paint, frame = pair("openvino"), uneven(101, 77)
    assert off(paint.tiled(frame, tile=40), paint(frame)) <= 2


def test_a_call_paints_in_tiles_what_exceeds_memory(tmp_path: Path) -> None:
    path = toys.tiles_pair(tmp_path / "pair.onnx")
    small, steps = Stylizer(path, device="cpu", whole_pixels=5000), []
    frame = uneven(90, 80)
    painted = small(frame, progress=lambda done, total: steps.append((done, total)))
    assert off(painted, Stylizer(path, device="cpu")(frame)) <= 2
    assert steps == [(n, 3) for n in (1, 2, 3)]  # two norms and a picture, one tile
    assert small(frame[:50]).shape == (50, 80, 3)
    assert len(steps) == 3


@pytest.mark.parametrize(("bytes_a_pixel", "tiled"), [(100, True), (125, False), (None, True)])
def test_free_memory_decides_between_whole_and_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_a_pixel: int | None, tiled: bool
) -> None:
    """The norms have up to 8 channels: 3 tensors of 4 bytes each may fill 0.8 of the memory."""
    monkeypatch.setattr("st.runtime.stylizer.WHOLE_PIXELS", 5000)
    free = None if bytes_a_pixel is None else bytes_a_pixel * 90 * 80
    monkeypatch.setattr("st.runtime.loaded_engine.free_memory", lambda: free)
    paint, steps = Stylizer(toys.tiles_pair(tmp_path / "pair.onnx"), device="cpu"), []
    frame = uneven(90, 80)
    painted = paint(frame, progress=lambda done, total: steps.append(done))
    assert bool(steps) == tiled
    assert off(painted, paint.tiled(frame)) <= 2
    paint(frame[:50], progress=lambda done, total: pytest.fail("small enough in any case"))


def test_a_method_without_tiles_reports_the_memory_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("st.runtime.stylizer.WHOLE_PIXELS", 5000)
    paint, frame = Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device="cpu"), uneven(90, 80)
    monkeypatch.setattr("st.runtime.loaded_engine.free_memory", lambda: 4000 * 90 * 80)
    np.testing.assert_array_equal(paint(frame), 255 - frame)
    monkeypatch.setattr("st.runtime.loaded_engine.free_memory", lambda: 1000 * 90 * 80)
    with pytest.raises(BadInput, match="cannot paint in tiles"):
        paint(frame)


def test_free_memory_respects_control_groups(tmp_path: Path) -> None:
    assert (free_memory() or 1 << 40) > 1 << 20
    assert cgroup_room(tmp_path) is None
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 150\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert cgroup_room(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert cgroup_room(tmp_path) == 450


def test_progress_counts_every_tile_and_can_stop() -> None:
    steps: list[tuple[int, int]] = []
    pair().tiled(uneven(64, 64), tile=32, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(n, 12) for n in range(1, 13)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pair().tiled(uneven(64, 64), tile=32, progress=stop)


def test_batches_are_tiled_one_by_one() -> None:
    batch = np.stack([uneven(40, 50, seed) for seed in range(2)])
    painted = pair().tiled(batch, tile=24)
    np.testing.assert_array_equal(painted[1], pair().tiled(batch[1], tile=24))


def test_an_engine_without_its_tiles_file_names_it(tmp_path: Path) -> None:
    path = toys.tiles_pair(tmp_path / "plain.onnx")
    path.with_suffix(".tiles.onnx").unlink()
    with pytest.raises(BadEngine, match=r"80×90 is too large.*plain\.tiles\.onnx.* was not found"):
        Stylizer(path, device="cpu", whole_pixels=5000)(uneven(90, 80))


def test_an_engine_whose_method_has_no_tiles_says_so(tmp_path: Path) -> None:
    path = toys.tint_engine(tmp_path / "tint.onnx")
    with pytest.raises(
        BadInput, match=r"80×90 is too large.* tint cannot paint in tiles, because it needs"
    ):
        Stylizer(path, device="cpu", whole_pixels=5000)(uneven(90, 80))


def test_tiles_of_another_engine_are_refused(tmp_path: Path) -> None:
    path = toys.tiles_pair(tmp_path / "one.onnx", seed=1)
    other = toys.tiles_pair(tmp_path / "other.onnx", seed=2)
    other.with_suffix(".tiles.onnx").replace(path.with_suffix(".tiles.onnx"))
    with pytest.raises(BadEngine, match=r"one\.tiles\.onnx: .*another engine"):
        Stylizer(path, device="cpu").tiled(uneven(20, 20))


@given(
    steps=some.integers(1, 200),
    multiple=some.sampled_from([1, 4, 8]),
    tile=some.integers(1, 300),
    halo=some.integers(0, 100),
    least=some.integers(1, 64),
)
@settings(deadline=None)
def test_spans_partition_the_side(
    steps: int, multiple: int, tile: int, halo: int, least: int
) -> None:
    length = steps * multiple
    found = spans(length, tile, halo, multiple, least)
    assert [i for s in found for i in range(s.core.start, s.core.stop)] == list(range(length))
    assert len({s.stop - s.start for s in found}) == 1
    for s in found:
        assert 0 <= s.start < s.stop <= length
        assert s.before >= halo or s.start == 0
        assert s.after >= halo or s.stop == length
        assert s.stop - s.start >= min(length, least)
        assert all(v % multiple == 0 for v in (s.start, s.stop, s.before, s.after))
        assert s.core.stop - s.core.start < tile + multiple


@given(sizes=some.lists(some.integers(1, 50), min_size=1, max_size=8), seed=some.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_merged_moments_are_those_of_all_values(sizes: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    parts = [random.normal(random.normal(0, 50), 3, (n, 4)) for n in sizes]
    own = [(len(p), np.stack([p.mean(0), p.var(0)]).astype(np.float32)) for p in parts]
    every = np.concatenate(parts)
    expected = np.stack([every.mean(0), every.var(0)])
    np.testing.assert_allclose(merge_moments(own), expected, rtol=1e-4, atol=1e-3)


MEMORY = """
import re, sys
from pathlib import Path
import numpy as np
from st.runtime import Stylizer
paint = Stylizer(sys.argv[1], device="cpu", threads=2)
frame = np.zeros((int(sys.argv[2]), 3000, 3), np.uint8)
frame[::7, ::5] = 200
paint.tiled(frame, tile=512)
# Not getrusage: its peak outlives exec, so it would be that of the tests that started this.
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
print(int(peak[1]) >> 10)
"""


def test_memory_depends_on_the_tile_and_not_on_the_picture(tmp_path: Path) -> None:
    path = toys.tiles_pair(tmp_path / "pair.onnx")

    def peak(height: int) -> int:
        command = [sys.executable, "-c", MEMORY, str(path), str(height)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    # 2.4 million pixels more: 15 MB of picture and painting, 60 for the steps of allocators. In
    # one run the first map alone would need 2.4e6 * 6 channels * 4 bytes, several times over.
    assert peak(1600) - peak(800) <= 15 + 60
