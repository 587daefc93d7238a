"""The plugins as TensorRT's Python package registers and calls them; no engine is built."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.plugin.registering import SHAPES

tiles = pytest.importorskip("st.export.plugin.tiles")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    script = Path(__file__).parents[1] / "support/plugin/registering.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path_factory.mktemp("libraries")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    last = (done.stdout.splitlines() or [""])[-1]
    if done.returncode == 77:
        pytest.skip(last)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(last)


def blocks(size: int, tile: int) -> int:
    return -(-size // tile)


def test_all_plugins_are_in_tensorrts_registry(told: dict[str, Any]) -> None:
    assert told["version"].startswith("11.")
    for name in SHAPES:
        assert told[name]["registered"], name


def test_outputs_have_the_shapes_and_types_of_the_functions(told: dict[str, Any]) -> None:
    parts = tiles.parts_for(130)
    assert told["AdaIN"]["shapes"] == [[2, 130, 9, 7]]
    assert told["AdaIN"]["types"] == ["DataType.HALF"]
    assert told["CovarianceParts"]["shapes"] == [[1, parts, 130], [1, parts, 130, 130]]
    assert told["CovarianceMerge"]["shapes"] == [[1, 130], [1, 130, 130]]
    assert told["WhitenColor"]["shapes"] == [[1, 130, 63]]
    for name in ("CovarianceParts", "CovarianceMerge"):
        assert set(told[name]["types"]) == {"DataType.FLOAT"}


def test_maps_are_half_or_float32_and_statistics_float32(told: dict[str, Any]) -> None:
    for name, shapes in SHAPES.items():
        found = told[name]["combinations"]
        assert {types[0] for types in found} == {"DataType.FLOAT", "DataType.HALF"}
        assert {t for types in found for t in types[1 : len(shapes)]} <= {"DataType.FLOAT"}
        if name in ("AdaIN", "WhitenColor"):
            assert all(types[0] == types[-1] for types in found)


def test_launch_parameters_equal_the_torch_wrappers(told: dict[str, Any]) -> None:
    every, parts = tiles.every(True, 89), tiles.parts_for(130)
    for launch, tile in zip(told["AdaIN"]["launches"], every["adain"], strict=True):
        assert launch["grid"] == [260, 1, 1]
        assert launch["extra"] == [63, 130]  # pixels, entries of the style
        assert launch["block"] == 32 * tile.warps
    for launch, tile in zip(
        told["CovarianceParts"]["launches"], every["covariance_parts"], strict=True
    ):
        side = blocks(130, tile["ROWS"])
        assert launch["grid"] == [side, side, parts]
        assert launch["extra"] == [130, 63, parts]
    for launch, tile in zip(
        told["CovarianceMerge"]["launches"], every["covariance_merge"], strict=True
    ):
        side = blocks(130, tile["ROWS"])
        assert launch["grid"] == [side, side, 1]
        assert launch["extra"] == [130, 63, parts]
    for launch, tile in zip(told["WhitenColor"]["launches"], every["whiten_color"], strict=True):
        assert launch["grid"] == [blocks(63, tile["COLUMNS"]), blocks(130, tile["ROWS"]), 1]
        assert launch["extra"] == [130, 63, 1]


def test_ptx_takes_only_the_arguments_that_tensorrt_passes(
    told: dict[str, Any],
) -> None:
    for name, shapes in SHAPES.items():
        for launch in told[name]["launches"]:
            assert launch["int32"]
            assert launch["shared"] <= 48 << 10
            assert ".target sm_89" in launch["ptx"]
            entry = launch["ptx"].split(f".entry {launch['kernel']}(")[1].split(")")[0]
            outputs = len(told[name]["shapes"])
            assert entry.count(".param") == len(shapes) + len(launch["extra"]) + outputs
