"""The st-image command."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image

from st.runtime.cli import image as image_command
from st.runtime.cli.image import main
from st.runtime.engine.metadata import Metadata
from st.runtime.pictures.batch import plan
from st.runtime.pictures.contact_sheet import contact_sheet
from st.runtime.pictures.io import Picture, read_picture, write_picture
from tests.support import toys

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.fixture(scope="module")
def tint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(toys.tint_engine(tmp_path_factory.mktemp("engines") / "tint.onnx"))


@pytest.fixture(scope="module")
def adding(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(toys.code_engine(tmp_path_factory.mktemp("engines") / "add.onnx"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with photo.png in it."""
    monkeypatch.chdir(tmp_path)
    write_picture(Picture(PIXELS), tmp_path / "photo.png")
    return tmp_path


def run(*arguments: object, code: int = 0, stdin: bytes | None = None) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments], input=stdin)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def error_line(result: Result) -> str:
    """The single line of an error."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]


def pixels(path: Path | str) -> np.ndarray:
    return read_picture(Path(path)).rgb


# --- one picture


def test_the_default_output_is_beside_the_input_in_the_first_style(here: Path, tint: str) -> None:
    result = run("photo.png", "--engine", tint)
    assert (pixels("photo_stylized.png") == 255 - PIXELS).all()
    assert (pixels("photo.png") == PIXELS).all()
    assert result.stdout == ""
    assert result.stderr.startswith("photo.png → photo_stylized.png  30×20, ")


def test_style_blend_and_strength(here: Path, tint: str) -> None:
    run("photo.png", "-o", "black.png", "--engine", tint, "--style", "black")
    assert pixels("black.png").max() == 0
    run("photo.png", "-o", "half.png", "--engine", tint, "-s", "negative:0.5", "-s", "black:0.5")
    assert np.abs(pixels("half.png") - (255.0 - PIXELS) / 2).max() <= 1
    run("photo.png", "-o", "mix.png", "--engine", tint, "--style", "black", "--strength", "0.25")
    assert np.abs(pixels("mix.png") - 0.75 * PIXELS).max() <= 1
    run("photo.png", "-o", "same.png", "--engine", tint, "--strength", "0")
    assert (pixels("same.png") == PIXELS).all()


def test_style_pictures_may_have_a_colon_in_their_name(here: Path, adding: str) -> None:
    for name, value in (("ten.png", 10), ("take:2.png", 30)):
        write_picture(Picture(np.full((8, 8, 3), value, np.uint8)), here / name)
    dark = np.zeros((4, 4, 3), np.uint8)
    write_picture(Picture(dark), here / "dark.png")
    run("dark.png", "-o", "a.png", "--engine", adding, "-s", "take:2.png")
    assert (pixels("a.png") == 30).all()
    run("dark.png", "-o", "b.png", "--engine", adding, "-s", "take:2.png:0.5", "-s", "ten.png:0.5")
    assert (pixels("b.png") == 20).all()


def test_size_scales_the_longer_side(here: Path, tint: str) -> None:
    run("photo.png", "-o", "big.png", "--engine", tint, "--size", "60")
    assert pixels("big.png").shape == (40, 60, 3)


def test_transparency_depth_and_format_survive(here: Path, tint: str) -> None:
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:, :15] = 255
    write_picture(Picture(PIXELS, alpha, bits=16), here / "deep.tiff")
    run("deep.tiff", "--engine", tint)
    painted = read_picture(here / "deep_stylized.tiff")
    assert painted.bits == 16
    assert painted.alpha is not None
    assert (painted.alpha == alpha).all()
    assert (painted.rgb[:, :15] == 255 - PIXELS[:, :15]).all()
    result = run("deep.tiff", "-o", "flat.jpg", "--engine", tint)
    assert "Warning: deep.tiff: JPEG has no transparency" in result.stderr


def test_gray_photograph_gives_a_color_picture(here: Path, adding: str) -> None:
    Image.new("L", (8, 8), 50).save("gray.png")
    write_picture(Picture(np.full((8, 8, 3), (90, 10, 40), np.uint8)), here / "style.png")
    run("gray.png", "--engine", adding, "--style", "style.png")
    with Image.open("gray_stylized.png") as painted:
        assert painted.mode == "RGB"
        assert painted.getpixel((3, 3)) == (140, 60, 90)


def test_gif_is_painted_into_png(here: Path, tint: str) -> None:
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    result = run("moving.gif", "--engine", tint)
    assert (pixels("moving_stylized.png") == (0, 255, 255)).all()
    assert "only the first" in result.stderr


def test_format_and_quality(here: Path, tint: str) -> None:
    for quality in (10, 95):
        run(
            "photo.png",
            "-o",
            f"{quality}/",
            "--format",
            "jpeg",
            "--quality",
            quality,
            "--engine",
            tint,
        )
    assert Path("10/photo.jpg").stat().st_size < Path("95/photo.jpg").stat().st_size
    line = error_line(run("photo.png", "-o", "a.png", "--format", "jpeg", "--engine", tint, code=2))
    assert "disagree" in line


def test_standard_streams(here: Path, tint: str) -> None:
    data = Path("photo.png").read_bytes()
    for arguments in (["-"], ["-", "-o", "-"]):
        result = run(*arguments, "--engine", tint, stdin=data)
        assert (read_picture(result.stdout_bytes).rgb == 255 - PIXELS).all()
    result = run("photo.png", "-o", "-", "--format", "jpeg", "--engine", tint)
    assert Image.open(io.BytesIO(result.stdout_bytes)).format == "JPEG"
    run("-", "-o", "in.png", "--engine", tint, stdin=data)
    assert (pixels("in.png") == 255 - PIXELS).all()
    result = run("-", "--engine", tint, stdin=b"", code=2)
    assert result.stdout_bytes == b""
    assert "standard input: empty" in error_line(result)


def test_json_prints_one_object_per_picture(here: Path, tint: str) -> None:
    write_picture(Picture(PIXELS), here / "b.png")
    Path("c.png").write_bytes(b"no")
    result = run("photo.png", "b.png", "c.png", "-o", "out", "--json", "--engine", tint, code=2)
    first, second, third = map(json.loads, result.stdout.splitlines())
    assert first["input"] == "photo.png"
    assert Path(first["output"]) == Path("out/photo.png")
    assert (first["width"], first["height"]) == (30, 20)
    assert first["engine"] == tint
    assert first["style"] == {"negative": 1.0}
    assert first["seconds"] >= 0
    assert first["warnings"] == []
    assert second["input"] == "b.png"
    assert third["input"] == "c.png"
    assert "not a picture" in third["error"]


def levelling_engine(path: Path) -> Path:
    """A pair of engines: `path` shifts the mean of each channel to 128; its tiles companion
    receives the mean as input."""
    shift = """
        x = Cast<to: int = 1>(content)
        level = Sub(x, mean)
        raised = Add(level, middle)
        clipped = Clip(raised, low, high)
        rounded = Round(clipped)
        stylized = Cast<to: int = 2>(rounded)"""
    constants = "int64[2] sides = {1, 2}, float middle = {128}, float low = {0}, float high = {255}"
    whole = f"""level (uint8[N, H, W, 3] content) => (uint8[N, H, W, 3] stylized) <{constants}> {{
        y = Cast<to: int = 1>(content)
        mean = ReduceMean(y, sides){shift}
    }}"""
    tile = f"""tile (uint8[N, H, W, 3] content, float[2, 3] moments, int64[4] margins)
        => (uint8[N, H, W, 3] stylized, float[2, 3] moments_0)
    <{constants}, int64[2] split = {{1, 1}}, int64[2] ends = {{2, 2}},
     int64[3] pixels = {{0, 1, 2}}, int64[4] order = {{0, 2, 1, 3}}> {{
        mean, spread = Split<axis: int = 0>(moments, split){shift}
        by_side = Gather(margins, order)
        top_left, bottom_right = Split<axis: int = 0>(by_side, ends)
        shape = Shape<start: int = 1, end: int = 3>(content)
        stop = Sub(shape, bottom_right)
        core = Slice(x, top_left, stop, sides)
        own = ReduceMean<keepdims: int = 1>(core, pixels)
        away = Sub(core, own)
        square = Mul(away, away)
        variance = ReduceMean<keepdims: int = 1>(square, pixels)
        flat_mean = Squeeze(own, sides)
        flat_variance = Squeeze(variance, sides)
        moments_0 = Concat<axis: int = 0>(flat_mean, flat_variance)
    }}"""
    toys.save(whole, path, Metadata("level", fingerprint="level"))
    twin = Metadata(
        "level",
        kind="tiles",
        inputs=("content", "moments", "margins"),
        norms=(3,),
        fingerprint="level",
    )
    toys.save(tile, path.with_suffix(".tiles.onnx"), twin)
    return path


def test_tiles_give_the_same_picture(here: Path) -> None:
    engine = levelling_engine(here / "level.onnx")
    ramp = np.linspace(0, 120, 200 * 150 * 3).reshape(200, 150, 3).astype(np.uint8)
    write_picture(Picture(ramp), here / "ramp.png")
    run("ramp.png", "-o", "whole.png", "--engine", engine)
    result = run("ramp.png", "-o", "tiled.png", "--engine", engine, "--tile", "64")
    whole, tiled = pixels("whole.png").astype(int), pixels("tiled.png")
    assert np.abs(whole.mean() - 128) <= 1
    assert np.abs(whole - tiled).max() <= 2
    assert result.stderr.startswith("ramp.png → tiled.png  150×200, "), "no bars in a log"


def test_tiles_need_their_companion(here: Path, tint: str) -> None:
    words = ("photo.png", "--tile", "64", "--engine")
    pair = toys.tiles_pair(here / "pair.onnx")
    pair.with_suffix(".tiles.onnx").unlink()
    assert "pair.tiles.onnx" in error_line(run(*words, str(pair), code=2))
    assert "tint cannot paint in tiles" in error_line(run(*words, tint, code=2))


# --- many


def test_folder_keeps_names_in_a_new_folder(here: Path, tint: str) -> None:
    folder = here / "trip"
    folder.mkdir()
    for name in ("a.png", "b.JPG", ".hidden.png"):
        write_picture(Picture(PIXELS), folder / name, format="jpeg" if name == "b.JPG" else "png")
    (folder / "notes.txt").write_text("not a picture")
    run("trip", "--engine", tint)
    assert sorted(p.name for p in Path("trip_stylized").iterdir()) == ["a.png", "b.JPG"]
    run("trip", "-o", "elsewhere/deep", "--engine", tint)
    assert sorted(p.name for p in Path("elsewhere/deep").iterdir()) == ["a.png", "b.JPG"]
    run("trip", "-o", "trip", "--engine", tint)  # its own folder: marked names, inputs untouched
    assert (pixels("trip/a_stylized.png") == 255 - PIXELS).all()
    assert (pixels("trip/a.png") == PIXELS).all()


def test_a_dot_as_input_is_resolved_to_the_folders_name(
    here: Path, tint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "trip").mkdir()
    write_picture(Picture(PIXELS), here / "trip" / "a.png")
    monkeypatch.chdir(here / "trip")
    run(".", "--engine", tint)
    assert (here / "trip_stylized" / "a.png").is_file()


def test_quoted_globs_are_expanded(here: Path, tint: str) -> None:
    write_picture(Picture(PIXELS), here / "photo2.png")
    Path("photo.txt").write_text("x")
    run("photo*", "-o", "out", "--engine", tint)
    assert sorted(p.name for p in Path("out").iterdir()) == ["photo.png", "photo2.png"]
    assert "no picture matches" in error_line(run("nothing*", "--engine", tint, code=2))


def test_a_bad_picture_is_reported_and_the_others_are_painted(here: Path, tint: str) -> None:
    write_picture(Picture(PIXELS), here / "z.png")
    Path("cut.png").write_bytes(Path("photo.png").read_bytes()[:600])
    result = run("photo.png", "cut.png", "gone.png", "z.png", "--engine", tint, code=2)
    lines = result.stderr.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("photo.png → photo_stylized.png  ")
    assert lines[1].startswith("Error: cut.png: ")
    assert lines[2] == "Error: gone.png: no such file"
    assert lines[3].startswith("z.png → z_stylized.png  ")
    assert lines[4] == "Error: 2 of 4 pictures could not be painted"
    assert (pixels("photo_stylized.png") == 255 - PIXELS).all()
    assert (pixels("z_stylized.png") == 255 - PIXELS).all()
    assert not Path("cut_stylized.png").exists()


def test_equal_names_do_not_overwrite_each_other(here: Path, tint: str) -> None:
    for folder, value in (("a", 10), ("b", 20)):
        (here / folder).mkdir()
        write_picture(Picture(np.full((4, 4, 3), value, np.uint8)), here / folder / "x.png")
    run("a/x.png", "b/x.png", "a/../a/x.png", "-o", "out", "--engine", tint)
    assert sorted(p.name for p in Path("out").iterdir()) == ["x-2.png", "x.png"]
    assert (pixels("out/x.png") == 245).all()
    assert (pixels("out/x-2.png") == 235).all()


def test_an_output_never_has_the_name_of_another_input(here: Path, tint: str) -> None:
    write_picture(Picture(PIXELS // 2), here / "photo_stylized.png")
    run("photo.png", "photo_stylized.png", "--engine", tint)
    assert (pixels("photo_stylized.png") == PIXELS // 2).all()
    assert (pixels("photo_stylized-2.png") == 255 - PIXELS).all()


NAMES = some.lists(some.sampled_from(["a", "b", "a_stylized", "a-2", "B"]), min_size=1, max_size=4)


@settings(deadline=None)  # a shared machine may take a while for one example
@given(
    stems=NAMES,
    suffixes=some.lists(
        some.sampled_from([".png", ".jpg", ".gif", ".PNG"]), min_size=4, max_size=4
    ),
    folders=some.lists(some.sampled_from(["x", "y", "x/z"]), min_size=4, max_size=4),
    output=some.sampled_from([None, "x/", "out/"]),
    form=some.sampled_from([None, "png", "webp"]),
)
def test_no_plan_overwrites_an_input_or_another_result(
    stems: list[str], suffixes: list[str], folders: list[str], output: str | None, form: str | None
) -> None:
    names = [f"{f}/{n}{s}" for n, s, f in zip(stems, suffixes, folders, strict=False)]
    jobs = plan(names, output, form)
    inputs = {Path(name).resolve() for name in names}
    outputs = [job.target.resolve() for job in jobs if job.target]
    assert len(jobs) == len(inputs) == len(outputs) == len(set(outputs))
    assert not inputs & set(outputs)
    for job in jobs:
        assert job.target
        assert job.target.suffix.lower() in (".png", ".jpg", ".webp")


# --- the sheet


def test_all_styles_writes_a_labeled_sheet(here: Path, tint: str) -> None:
    run("photo.png", "--all-styles", "--size", "90", "--engine", tint)
    sheet = pixels("photo_styles.png")
    assert sheet.shape[0] > 60
    assert sheet.shape[1] > 90
    colors = {tuple(c) for c in sheet.reshape(-1, 3)}
    assert (0, 0, 0) in colors  # the black style's cell
    assert (255, 255, 255) in colors  # paper


def test_the_sheet_accepts_style_pictures_and_needs_at_least_one(here: Path, adding: str) -> None:
    line = error_line(run("photo.png", "--all-styles", "--engine", adding, code=2))
    assert "--style" in line
    run("photo.png", "--all-styles", "--style", "photo.png", "--engine", adding)
    assert Path("photo_styles.png").is_file()


def test_contact_sheet_places_every_cell_and_label() -> None:
    cells = [
        (f"style {v} " + "long " * 20 * (v == 9), np.full((40, 60, 3), v, np.uint8))
        for v in range(1, 12)
    ]
    sheet = contact_sheet(cells)
    for _, cell in cells:
        assert (sheet == cell[0, 0]).all(axis=2).sum() >= 40 * 60
    ink = (sheet[..., 0] > 25) & (sheet[..., 0] < 200)
    assert ink.sum() > 11 * 20


# --- what goes wrong


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.png", None, "no such file"),
        ("empty.png", b"", "empty"),
        ("letter.png", b"Dear grandmother, " * 50, "not a picture"),
        ("cut.jpg", "cut", "damaged or cut short"),
    ],
)
def test_an_unreadable_picture_gives_one_line(
    here: Path, tint: str, name: str, content: bytes | str | None, words: str
) -> None:
    if content == "cut":
        out = io.BytesIO()
        Image.fromarray(PIXELS).save(out, "JPEG")
        content = out.getvalue()[: len(out.getvalue()) * 2 // 3]
    if isinstance(content, bytes):
        Path(name).write_bytes(content)
    Path("out.png").write_bytes(b"a good file")
    line = error_line(run(name, "-o", "out.png", "--engine", tint, code=2))
    assert name in line
    assert words in line
    assert Path("out.png").read_bytes() == b"a good file"


def test_a_too_large_picture_names_the_option_that_allows_it(here: Path, tint: str) -> None:
    line = error_line(run("photo.png", "--engine", tint, "--max-pixels", "599", code=2))
    assert "--max-pixels" in line
    run("photo.png", "--engine", tint, "--max-pixels", "600")
    line = error_line(
        run("photo.png", "--size", "60", "--engine", tint, "--max-pixels", "600", code=2)
    )
    assert "--size 60" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["empty"], "empty: no pictures in this folder"),
        (["photo.png", "-o", "photo.png"], "is the input"),
        (["photo.png", "-o", "./empty/../photo.png"], "is the input"),
        (["photo.png", "-o", "nowhere.gif"], "st writes"),
        (["photo.png", "-o", "photo.png/a.png"], "photo.png"),
        (
            ["photo.png", "empty.png", "-o", "photo.png"],
            "is a file; give a folder for several pictures",
        ),
        (["photo.png", "photo2.png", "-o", "-"], "standard output takes one picture"),
        (["-", "photo.png"], "cannot be mixed"),
        (["photo.png", "--style", "wavy"], "negative, black"),
        (["photo.png", "--style", "wavy:0.5"], "no style 'wavy'"),
        (["photo.png", "--style", "gone/wave.jpg"], "no such file"),
        (["photo.png", "--style", "black:-1"], "0 or more"),
        (["photo.png", "--style", "black:nan"], "0 or more"),
        (["photo.png", "--style", "black:0"], "add up to 0"),
        (["photo.png", "--strength", "1.5"], "outside 0..1"),
        (["photo.png", "--strength", "nan"], "outside 0..1"),
        (["photo.png", "--watch"], "--watch takes one folder"),
        (["photo.png", "--json", "-o", "-"], "both want standard output"),
        (["bad\0name.png"], "no such file"),
    ],
)
def test_wrong_usage_gives_one_line_and_code_2(
    here: Path, tint: str, arguments: list[str], words: str
) -> None:
    (here / "empty").mkdir()
    assert words in error_line(run(*arguments, "--engine", tint, code=2))
    assert sorted(p.name for p in here.iterdir()) == ["empty", "photo.png"]


def test_an_unknown_engine_gives_one_line(here: Path) -> None:
    assert "nothing.onnx" in error_line(run("photo.png", "--engine", "nothing.onnx", code=2))


def test_an_unwritable_folder_gives_one_line(here: Path, tint: str) -> None:
    # /proc takes no new files, from root either.
    if not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    line = error_line(run("photo.png", "-o", "/proc/out.png", "--engine", tint, code=1))
    assert line.startswith("Error: /proc/out.png: cannot be written")


def test_control_characters_in_names_are_escaped(here: Path, tint: str) -> None:
    result = run("\x1b[31mred.png", "--engine", tint, code=2)
    assert "\x1b" not in result.output
    assert "\\x1b[31mred.png" in result.output


# --- staying


def test_watch_paints_new_pictures_until_interrupted(
    here: Path, tint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "in").mkdir()
    steps = iter(["bad", "picture", "wait", "wait", "again", "wait", "wait", "stop"])

    def sleep(_: float) -> None:
        step = next(steps)
        if step == "bad":
            Path("in/bad.png").write_bytes(b"no picture")
        if step == "picture":
            write_picture(Picture(PIXELS), here / "in" / "a.png")
        if step == "again":
            assert (pixels("in_stylized/a.png") == 255 - PIXELS).all()
            write_picture(Picture(PIXELS // 2), here / "in" / "a.png")
        if step == "stop":
            raise KeyboardInterrupt

    monkeypatch.setattr(image_command.time, "sleep", sleep)
    result = run("in", "--watch", "--engine", tint)
    assert (pixels("in_stylized/a.png") == 255 - PIXELS // 2).all()
    assert result.stderr.count("bad.png") == 1


# --- the command itself


def test_installed_command_in_a_process_of_its_own(here: Path, tint: str) -> None:
    script = "import sys; from st.runtime.cli.image import main; sys.exit(main())"
    call = [sys.executable, "-c", script]
    done = subprocess.run(
        [*call, "-", "--engine", tint], input=Path("photo.png").read_bytes(), capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert (read_picture(done.stdout).rgb == 255 - PIXELS).all()
    help_text = subprocess.run([*call, "--help"], capture_output=True, text=True, check=True).stdout
    assert "st-image photo.jpg" in help_text
