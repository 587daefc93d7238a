"""`.trt` files and their JSON descriptions, and pairs that do not match."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from st.runtime import BadEngine, BadInput
from st.runtime.engine.metadata import MAX_BYTES, Metadata
from st.runtime.engine.trt_file import describe_trt, json_beside, read_trt, write_trt
from tests.support.trt_builds import rtx_build

DATA = bytes(range(256)) * 4
METADATA = Metadata("cin", inputs=("content", "weights"), styles=("wave",), multiple=4)
BUILD = rtx_build(DATA, profile=((64, 64), (360, 640), (1080, 1920)))


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "wave.rtx.trt"
    write_trt(path, DATA, METADATA, BUILD)
    return path


def test_write_trt_stores_the_bytes_unchanged_and_the_metadata_beside(engine: Path) -> None:
    assert engine.read_bytes() == DATA
    assert json_beside(engine).name == "wave.rtx.trt.json"
    assert read_trt(engine) == (DATA, METADATA, BUILD)
    assert describe_trt(engine) == (METADATA, BUILD)
    assert sorted(p.name for p in engine.parent.iterdir()) == ["wave.rtx.trt", "wave.rtx.trt.json"]


@pytest.mark.parametrize(
    ("capabilities", "later", "runs", "not_on"),
    [((80, 86), True, (80, 86, 89, 120), (75,)), ((75,), False, (75,), (80, 120, 72))],
)
def test_capabilities(
    capabilities: tuple[int, ...], later: bool, runs: tuple[int, ...], not_on: tuple[int, ...]
) -> None:
    build = replace(BUILD, capabilities=capabilities, later=later)
    assert all(build.runs_on(c) for c in runs)
    assert not any(build.runs_on(c) for c in not_on)


def test_engines_and_json_files_that_do_not_match_are_refused(engine: Path) -> None:
    with pytest.raises(BadInput, match="no such engine"):
        read_trt(engine.with_name("none.trt"))
    engine.write_bytes(DATA[:-1])
    with pytest.raises(BadEngine, match="cut short"):
        read_trt(engine)
    engine.write_bytes(DATA[:-1] + b"\0")
    with pytest.raises(BadEngine, match="belongs to another engine"):
        read_trt(engine)
    engine.write_bytes(b"")
    with pytest.raises(BadEngine, match="empty"):
        read_trt(engine)
    json_beside(engine).unlink()
    with pytest.raises(BadEngine, match=r"wave.rtx.trt.json, its description, is not beside it"):
        read_trt(engine)
    engine.unlink()
    engine.mkdir()
    json_beside(engine).mkdir()
    with pytest.raises(BadInput, match="is a folder"):
        read_trt(engine)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("flavor", "onnx", "flavor"),
        ("flavor", ["tensorrt"], "flavor"),
        ("version", 11, "version"),
        ("version", "\x1b[31m", "printable"),
        ("capabilities", [], "capabilities"),
        ("capabilities", 89, "capabilities"),
        ("capabilities", ["89"], "capabilities"),
        ("capabilities", [True], "capabilities"),
        ("later", 1, "later"),
        ("profile", [[64, 64]], "profile"),
        ("profile", [[64, 64], [32, 64], [128, 128]], "ascend"),
        ("profile", [[0, 64], [64, 64], [64, 64]], "profile"),
        ("profile", [[64, 64], [64, 64], [64, 10**9]], "profile"),
        ("size", -1, "size"),
        ("size", 1 << 60, "size"),
        ("sha256", "0" * 63, "sha256"),
        ("sha256", "G" * 64, "sha256"),
        ("device", "x" * 201, "device"),
        ("command", "rm", "known entries"),
    ],
)
def test_bad_builds_are_refused(engine: Path, key: str, value: object, match: str) -> None:
    beside = json_beside(engine)
    values = json.loads(beside.read_text())
    values["build"][key] = value
    beside.write_text(json.dumps(values))
    with pytest.raises(BadEngine, match=match):
        read_trt(engine)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "empty"),
        ("{", "not valid JSON"),
        ("[" * 20_000, "not valid JSON"),
        ("[]", "not an engine's description"),
        ('{"format": 1}', "not an engine's description"),
        ('{"format": 2, "engine": {}, "build": {}}', "format is not 1"),
        ('{"format": 1, "engine": {}, "build": {}}', "format 1"),
        ('{"format": 1, "engine": [], "build": {}}', "no JSON object"),
        ("x" * (MAX_BYTES + 1), "bytes"),
        ('{"format": 1, "engine": NaN, "build": {}}', "NaN"),
    ],
)
def test_bad_descriptions_are_refused(engine: Path, text: str, match: str) -> None:
    json_beside(engine).write_text(text)
    with pytest.raises(BadEngine, match=match) as caught:
        read_trt(engine)
    assert "\n" not in str(caught.value)


def test_a_failed_write_keeps_the_old_pair(engine: Path) -> None:
    with pytest.raises(BadEngine):
        write_trt(engine, b"other", METADATA, replace(BUILD, size=0))
    assert read_trt(engine) == (DATA, METADATA, BUILD)
