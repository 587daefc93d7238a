"""After an export over an older one, no file of the older network is used."""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from st.export.command import main
from st.export.stale import remove_stale
from st.runtime import Stylizer, Unavailable
from st.runtime.cli.image import main as image
from st.runtime.engine.location import engine_path
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.onnx_file import read_engine
from st.runtime.engine.trt_file import Build, json_beside, write_trt
from st.runtime.errors import StWarning
from tests.export.test_export import make_checkpoint
from tests.support import toys

DATA = b"not for this machine"
BUILD = Build(
    flavor="tensorrt-rtx",
    version="1.7.1.116",
    capabilities=(80,),
    later=True,
    platform="any",
    profile=((16, 16), (360, 640), (720, 1280)),
    size=len(DATA),
    sha256=hashlib.sha256(DATA).hexdigest(),
)
OLD = Metadata("cin", sizes=((16, 16), (720, 1280)), fingerprint="old")
NAMES = ("a.rtx.trt", "a.rtx.encoder.trt", "a.trt", "a.fp16.rtx.tiles.trt")


def old_files(folder: Path) -> None:
    """The files of an older network with the name a."""
    for name in NAMES:
        write_trt(folder / name, DATA, OLD, BUILD)
    for name in ("a.encoder.onnx", "a.tiles.onnx", "a.fp16.onnx"):
        toys.tint_engine(folder / name, fingerprint="old")


def test_an_export_deletes_files_of_the_network_it_replaces(tmp_path: Path) -> None:
    make_checkpoint("superres", tmp_path / "a.pt")
    old_files(tmp_path)
    (tmp_path / "a.int8.onnx").write_bytes(b"no engine: not ours to delete")
    toys.tint_engine(tmp_path / "another.encoder.onnx", fingerprint="old")
    result = CliRunner().invoke(main, [str(tmp_path / "a.pt")])
    assert result.exit_code == 0, result.output
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.pt", "a.onnx", "a.int8.onnx", "another.encoder.onnx"}
    for name in (*NAMES, "a.encoder.onnx", "a.tiles.onnx", "a.fp16.onnx"):
        assert f"{name}  removed" in result.stderr


def test_files_of_the_same_network_stay(tmp_path: Path) -> None:
    engine = toys.tiles_pair(tmp_path / "a.onnx")
    metadata = read_engine(engine)[1]
    write_trt(tmp_path / "a.rtx.trt", DATA, replace(OLD, fingerprint=metadata.fingerprint), BUILD)
    before = {path.name for path in tmp_path.iterdir()}
    assert remove_stale(engine, metadata.fingerprint, [engine]) == []
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_tensorrt_export_takes_its_own_companions_only(tmp_path: Path) -> None:
    old_files(tmp_path)
    write_trt(tmp_path / "a.rtx.trt", DATA, replace(OLD, fingerprint="new"), BUILD)
    removed = remove_stale(tmp_path / "a.rtx.trt", "new", [tmp_path / "a.rtx.trt"])
    assert [path.name for path in removed] == ["a.rtx.encoder.trt"]
    assert not json_beside(tmp_path / "a.rtx.encoder.trt").exists()
    assert (tmp_path / "a.trt").exists()


def test_a_stale_companion_of_a_given_engine_is_named(tmp_path: Path) -> None:
    engine = toys.tiles_pair(tmp_path / "a.onnx")
    toys.tiles_pair(tmp_path / "b.onnx", seed=1)
    (tmp_path / "b.tiles.onnx").replace(tmp_path / "a.tiles.onnx")
    result = CliRunner().invoke(main, [str(engine), "--half"])
    assert result.exit_code == 2
    assert "a.tiles.onnx: this tiles engine belongs to another engine" in result.output


@pytest.mark.parametrize(("fingerprint", "newer"), [("new", 1), ("old", 1), ("new", -1)])
def test_a_trt_older_than_its_onnx_gives_a_warning(
    tmp_path: Path, fingerprint: str, newer: int
) -> None:
    write_trt(tmp_path / "a.rtx.trt", DATA, OLD, BUILD)
    source = toys.tint_engine(tmp_path / "a.onnx", fingerprint=fingerprint)
    then = (tmp_path / "a.rtx.trt").stat().st_mtime + 10 * newer
    os.utime(source, (then, then))
    told = fingerprint == "new" and newer > 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(Unavailable):
            Stylizer(tmp_path / "a.rtx.trt")
    assert [w.category for w in caught] == [StWarning] * told
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    given = [str(tmp_path / "a.png"), "--engine", str(tmp_path / "a.rtx.trt")]
    result = CliRunner().invoke(image, [*given, "-o", str(tmp_path / "b.png")])
    assert result.exit_code == 1
    assert ("Warning: " in result.stderr and "a.onnx beside it is newer" in result.stderr) == told


def test_trt_also_names_the_engine_of_tensorrt_rtx(tmp_path: Path) -> None:
    write_trt(tmp_path / "a.rtx.trt", DATA, OLD, BUILD)
    assert engine_path(tmp_path / "a.trt") == tmp_path / "a.rtx.trt"
    write_trt(tmp_path / "a.trt", DATA, OLD, BUILD)
    assert engine_path(tmp_path / "a.trt") == tmp_path / "a.trt"
    assert engine_path(tmp_path / "b.trt") == tmp_path / "b.trt"
