"""The options --region, --feather, --color, --style-scale and --paint-size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from st.runtime import BadControl, BadInput
from st.runtime.cli.control_options import parse_region
from st.runtime.cli.engines import main as engines_main
from st.runtime.cli.image import main
from st.video.command import main as video_main
from tests.support import toys
from tests.support.video import clips


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photo.png, sky.png (white at the top) and an engine."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(60, 190, (20, 30, 3), np.uint8)).save("photo.png")
    mask = np.zeros((20, 30), np.uint8)
    mask[:10] = 255
    Image.fromarray(mask).save("sky.png")
    toys.tint_engine(tmp_path / "tint.onnx")
    return tmp_path


def paint(*arguments: object) -> Result:
    given = ["photo.png", "-o", "out.png", "--engine", "tint.onnx", "--device", "cpu", "--json"]
    return CliRunner().invoke(main, [*given, *map(str, arguments)])


def read(name: str = "out.png") -> NDArray[np.uint8]:
    return np.array(Image.open(name).convert("RGB"))


@pytest.mark.usefixtures("folder")
def test_outside_a_region_the_picture_is_kept() -> None:
    done = paint("--region", "sky.png=black")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["regions"] == ["sky.png=black"]
    assert not read()[:10].any()
    np.testing.assert_array_equal(read()[10:], read("photo.png")[10:])


@pytest.mark.usefixtures("folder")
def test_outside_a_region_the_given_style_is_painted() -> None:
    assert paint("--style", "negative", "--region", "sky.png=black").exit_code == 0
    assert not read()[:10].any()
    np.testing.assert_array_equal(read()[10:], 255 - read("photo.png")[10:])


@pytest.mark.usefixtures("folder")
def test_a_region_with_the_given_style() -> None:
    assert paint("--style", "black", "--region", "sky.png", "--feather", 4).exit_code == 0
    assert not read()[:8].any()
    np.testing.assert_array_equal(read()[12:], read("photo.png")[12:])


@pytest.mark.usefixtures("folder")
def test_color_scale_and_paint_size_options() -> None:
    done = paint("--color", "luminance", "--style-scale", 2, "--paint-size", 16)
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert (record["color"], record["style_scale"], record["paint_size"]) == ("luminance", 2, 16)
    assert read().shape == (20, 30, 3)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--region", "nosuch.png=black"], "no such mask"),
        (["--region", "sky.png=nosuch"], "negative, black"),
        (["--region", "sky.png=black:0.5"], "without a weight"),
        (["--region", "tint.onnx=black"], "not a picture"),
        (["--feather", "3"], "--region"),
        (["--feather", "-1"], "range"),
        (["--color", "sepia"], "sepia"),
        (["--style-scale", "9"], "range"),
        (["--paint-size", "5"], "range"),
        (["--paint-size", "auto"], "videos only"),
    ],
)
def test_bad_controls_give_one_line(options: list[str], message: str) -> None:
    done = paint(*options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error")]) == 1
    assert not Path("out.png").exists()


@pytest.mark.usefixtures("folder")
def test_the_longest_prefix_that_is_a_file_is_the_mask(folder: Path) -> None:
    styles = ("negative", "a=b")
    Image.new("L", (2, 2)).save("day=1.png")
    assert parse_region("sky.png", styles) == (Path("sky.png"), None)
    assert parse_region("day=1.png", styles) == (Path("day=1.png"), None)
    assert parse_region("day=1.png=a=b", styles) == (Path("day=1.png"), "a=b")
    assert parse_region("sky.png=day=1.png", styles) == (Path("sky.png"), Path("day=1.png"))
    for text in ("", "=", "=negative", "sky.png=", "x" * 5000, "\0=negative"):
        with pytest.raises((BadInput, BadControl)):
            parse_region(text, styles)


@pytest.mark.usefixtures("folder")
def test_inspect_shows_what_an_engine_offers(folder: Path) -> None:
    toys.code_engine(folder / "code.onnx")
    toys.identity_engine(folder / "one.onnx")
    offers = {}
    for name in ("tint", "code", "one"):
        shown = CliRunner().invoke(engines_main, ["inspect", f"{name}.onnx", "--json"])
        offers[name] = "; ".join(json.loads(shown.stdout)["controls"])
    assert "regions, a style each" in offers["tint"]
    assert "style scale (by the painting's size)" in offers["tint"]
    assert "style scale (of its picture)" in offers["code"]
    assert "regions, painted or not" in offers["one"]
    assert all("colors (style, luminance, histogram, only)" in offer for offer in offers.values())


def test_every_command_that_paints_takes_the_controls() -> None:
    from st.video.command import main as video_main
    from st.video.webcam_command import main as webcam_main

    for command in (main, video_main, webcam_main):
        shown = CliRunner().invoke(command, ["--help"]).stdout
        for option in ("--region", "--feather", "--color", "--style-scale", "--paint-size"):
            assert option in shown


def test_no_input_is_overwritten(folder: Path) -> None:
    """The output is a mask, a painting or an engine that the command reads, under any name."""
    toys.code_engine(folder / "code.onnx")
    Image.new("RGB", (9, 9), "red").save("style.png")
    (folder / "link.png").symlink_to("style.png")
    (folder / "hard.png").hardlink_to("sky.png")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for arguments in (
        ("-o", "hard.png", "--region", "sky.png=black"),
        ("-o", "style.png", "-s", "style.png", "--engine", "code.onnx"),
        ("-o", "link.png", "-s", "style.png", "--engine", "code.onnx"),
        ("-o", "style.png", "--region", "sky.png=style.png", "--engine", "code.onnx"),
    ):
        done = paint(*arguments)
        assert done.exit_code == 2
        assert f"{arguments[1]}: is an input of this command; choose another output" in done.output
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_no_input_is_overwritten_by_a_video(folder: Path) -> None:
    clips.film(folder / "in.mp4", frames=3)
    clips.film(folder / "mask.mp4", frames=3)
    before = (folder / "mask.mp4").read_bytes()
    given = ["in.mp4", "-o", "mask.mp4", "--region", "mask.mp4=black", "--engine", "tint.onnx"]
    done = CliRunner().invoke(video_main, given)
    assert done.exit_code == 2
    assert "mask.mp4: is an input of this command" in done.output
    assert (folder / "mask.mp4").read_bytes() == before
