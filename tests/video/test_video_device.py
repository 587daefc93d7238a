"""--device auto of st-video: OpenVINO if installed, or the device of an interrupted run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from st.runtime import Stylizer
from st.video.command import main
from st.video.jobs.job import Job, Painter, open_reader, perform
from tests.support import toys
from tests.support.video import clips

pytest.importorskip("openvino")


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("st.video.jobs.segments.SEGMENT_FRAMES", 7)
    monkeypatch.setattr("st.runtime.backends.open.FOR_VIDEOS", ("openvino", "cpu"))


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return toys.tiles_pair(tmp_path / "pair.onnx")


def run(*words: object) -> tuple[dict[str, Any], str]:
    """The summary of a video, and what was printed on standard error."""
    done = CliRunner().invoke(main, [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


def begin(source: Path, target: Path, engine: Path, device: str) -> None:
    """Paint the first segments of a video, as a run that is killed then."""
    left = iter(range(20))

    def paint(frame: np.ndarray) -> np.ndarray:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return stylizer(frame)

    reader = open_reader(Job(source))
    with Stylizer(engine, device=device) as stylizer, pytest.raises(KeyboardInterrupt):
        perform(Job(source), reader, target, Painter(paint, 1, stylizer.identity))
    reader.close()


def test_a_video_is_painted_on_openvino(engine: Path, tmp_path: Path) -> None:
    source, target = clips.film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    summary, _ = run(source, "-o", target, "--engine", engine)
    assert summary["device"] == "openvino"
    again = tmp_path / "again.mp4"
    assert run(source, "-o", again, "--engine", engine, "--device", "cpu")[0]["device"] == "cpu"
    for one, two in zip(clips.read(target), clips.read(again), strict=True):
        off = one.to_ndarray(format="rgb24").astype(int) - two.to_ndarray(format="rgb24")
        assert np.abs(off).mean() < 1


@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("size", [(), ("--paint-size", "auto")])
def test_an_interrupted_video_keeps_its_device(
    device: str, size: tuple[str, ...], engine: Path, tmp_path: Path
) -> None:
    source, target = clips.film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    begin(source, target, engine, device)
    summary, told = run(source, "-o", target, "--engine", engine, *size)
    assert summary["resumed"] >= 7
    assert summary["device"] == device
    assert (f"painting on {device}, as begun" in told) == (device == "cpu")
    unbroken = tmp_path / "unbroken.mp4"
    run(source, "-o", unbroken, "--engine", engine, "--device", device)
    assert clips.all_packets(target) == clips.all_packets(unbroken)


def test_a_video_whose_device_is_gone_starts_over(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = clips.film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    begin(source, target, engine, "openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    summary, _ = run(source, "-o", target, "--engine", engine)
    assert (summary["device"], summary["resumed"]) == ("cpu", 0)
    assert summary["warnings"] == ["starting over: an earlier run had other settings"]


def test_no_resume_takes_the_fastest_device(engine: Path, tmp_path: Path) -> None:
    source, target = clips.film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    begin(source, target, engine, "cpu")
    summary, _ = run(source, "-o", target, "--engine", engine, "--no-resume")
    assert (summary["device"], summary["resumed"]) == ("openvino", 0)
    assert summary["warnings"] == []


def test_a_cluster_paints_with_onnx_runtime(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = clips.film(tmp_path / "in.mp4")
    found: list[str] = []

    class Cluster:
        def __init__(self, ray: object, engine: str, stylizer: Stylizer, threads: int) -> None:
            found.append(stylizer.device)

        def __call__(self, *_: object) -> None:
            """Leaves all segments to this machine."""

    monkeypatch.setattr("st.video.command.connect", lambda address: address)
    monkeypatch.setattr("st.video.command.RayPainter", Cluster)
    for number, address in enumerate(("10.0.0.5:6379", "local")):
        run(source, "-o", tmp_path / f"{number}.mp4", "--engine", engine, "--ray", address)
    assert found == ["cpu", "cpu"]
