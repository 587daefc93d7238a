"""Options that all commands share: help, --version, --quiet, --no-overwrite, --list-styles."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from st import engines
from st.runtime.cli.base import Command, Group, command, option_group
from st.runtime.cli.image import main as image_main
from st.runtime.system.version import version
from st.video.command import main as video_main
from tests.support import toys
from tests.support.video import clips

COMMANDS = {
    "st-image": "st.runtime.cli.image",
    "st-engines": "st.runtime.cli.engines",
    "st-video": "st.video.command",
    "st-webcam": "st.video.webcam_command",
    "st-train": "st.train.command",
    "st-slow": "st.train.slow.command",
    "st-export": "st.export.command",
    "st-compare": "st.export.compare.command",
}
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def main_of(name: str) -> click.Command:
    return importlib.import_module(COMMANDS[name]).main


def run(main: click.Command, *words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with photo.png and tint.onnx."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PIXELS).save("photo.png")
    toys.tint_engine(tmp_path / "tint.onnx")
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_examples_and_version_works(name: str) -> None:
    main = main_of(name)
    assert isinstance(main, Command | Group)
    text = run(main, "--help").stdout
    assert text.index("Examples:\n") < text.index("--version")
    assert f"\n    {name} " in text, "an example of itself"
    assert "--quiet" in text
    assert main.name == name
    assert run(main, "--version").stdout == f"{name} {version()}\n"
    assert re.fullmatch(r"\d+\.\d+\.\S+", version())


def test_help_lists_options_by_group_and_no_arguments() -> None:
    text = run(main_of("st-webcam"), "--help").stdout
    titles = re.findall(r"^([A-Z][\w ]+):$", text, re.MULTILINE)
    assert titles[0] == "Source", "cameras before colorizing"
    assert titles[-2:] == ["General", "Keys in the window"] or titles[-1] == "General"
    assert titles.index("Source") < titles.index("Colorizing engines") < titles.index("General")
    group = re.search(r"^Source:\n((?:  .*\n)+)", text, re.MULTILINE)
    assert group
    assert "--list-cameras" in group[1]
    assert "--palette" not in group[1]
    assert "--no-overwrite" in text, "a command that writes"
    assert "--no-overwrite" not in run(main_of("st-engines"), "list", "--help").stdout


def test_help_of_every_command_works_without_extras() -> None:
    program = f"""
import importlib, sys
EXTRAS = ("torch", "onnx", "onnxscript", "pygame", "aiohttp", "aiortc", "ray", "openvino")
class NoExtras:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])
sys.meta_path.insert(0, NoExtras())
from click.testing import CliRunner
for module in {list(COMMANDS.values())}:
    result = CliRunner().invoke(importlib.import_module(module).main, ["--help"])
    assert result.exit_code == 0, (module, result.output)
    assert "--version" in result.output
    if module.startswith("st.train"):
        assert "needs an extra: pip install" in result.output
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ})


def test_option_groups_keep_their_order_and_titles() -> None:
    @command(name="toy", examples="toy --a", writes=True)
    @option_group("First", click.option("--a", is_flag=True), click.option("--b", is_flag=True))
    @option_group("Second", click.option("--c", is_flag=True, help="Of c."))
    @click.option("--plain", is_flag=True)
    def toy(**flags: bool) -> None:
        """Do it.

        More about it."""
        click.echo(sorted(name for name, given in flags.items() if given))

    text = run(toy, "--help").stdout
    listed = re.findall(r"^([A-Z]\w+):|^  (--[\w-]+)", text, re.MULTILINE)
    assert [title or name for title, name in listed][1:10] == [
        *("First", "--a", "--b", "Second", "--c", "Options", "--plain", "General"),
        "--no-overwrite",
    ]
    assert text.index("toy --a") < text.index("More about it.") < text.index("First:")
    assert run(toy, "--b", "--plain", "--quiet", "--no-overwrite").stdout == "['b', 'plain']\n"


# --- quiet, no-overwrite


@pytest.mark.usefixtures("here")
def test_without_a_terminal_one_line_names_the_output_unless_quiet() -> None:
    words = ("photo.png", "--engine", "tint.onnx", "-o")
    told = run(image_main, *words, "a.png")
    assert told.stdout == ""
    assert told.stderr.startswith("photo.png → a.png  30×20, ")
    assert run(image_main, *words, "b.png", "--quiet").output == ""
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


@pytest.mark.usefixtures("here")
def test_no_overwrite_refuses_one_picture_and_skips_in_batches() -> None:
    Image.fromarray(PIXELS).save("second.png")
    Path("photo_stylized.png").write_bytes(b"mine")
    one = run(image_main, "photo.png", "--engine", "tint.onnx", "--no-overwrite", code=2)
    assert one.stderr == (
        "Error: photo_stylized.png: exists already, and --no-overwrite keeps it\n"
    )
    words = ("photo.png", "second.png", "--engine", "tint.onnx", "--no-overwrite")
    told = run(image_main, *words, "--json")
    records = [json.loads(line) for line in told.stdout.splitlines()]
    assert records[0] == {
        "input": "photo.png",
        "output": "photo_stylized.png",
        "skipped": "exists",
    }
    assert records[1]["output"] == "second_stylized.png"
    assert Path("photo_stylized.png").read_bytes() == b"mine"
    run(image_main, "photo.png", "--engine", "tint.onnx")
    assert Path("photo_stylized.png").read_bytes() != b"mine"


def test_no_overwrite_keeps_videos_and_frames(here: Path) -> None:
    film = clips.film(here / "a.mp4", frames=4)
    words = (film, "--engine", "tint.onnx", "--no-overwrite")
    Path("out.mp4").write_bytes(b"mine")
    assert "out.mp4: exists already" in run(video_main, *words, "-o", "out.mp4", code=2).stderr
    assert Path("out.mp4").read_bytes() == b"mine"
    Path("frames").mkdir()
    Path("frames/00001.png").write_bytes(b"mine")
    assert "exists already" in run(video_main, *words, "-o", "frames/%05d.png", code=2).stderr
    assert Path("frames/00001.png").read_bytes() == b"mine"
    run(video_main, *words, "-o", "new.mp4")


# --- names


def test_the_styles_of_an_engine_are_listed_without_a_picture(here: Path) -> None:
    for main in (image_main, video_main, main_of("st-webcam")):
        assert run(main, "--list-styles", "--engine", "tint.onnx").stdout == "negative\nblack\n"
    assert "wave\n" in run(image_main, "--list-styles").stdout
    toys.code_engine(here / "code.onnx")
    told = run(image_main, "--list-styles", "--engine", "code.onnx")
    assert told.stdout == ""
    assert told.stderr == "code.onnx has no named styles\n"


@pytest.mark.usefixtures("here")
def test_style_names_need_not_be_spelled_exactly() -> None:
    words = ("photo.png", "--engine", "tint.onnx", "--json", "-o", "out.png")
    for text in ("Negative", " negative", "NEGATIVE:0.5"):
        record = json.loads(run(image_main, *words, "--style", text).stdout)
        assert list(record["style"]) == ["negative"]
    told = run(image_main, *words, "--style", "negativ", code=2)
    assert "did you mean negative?" in told.stderr


@pytest.mark.usefixtures("here")
def test_a_web_address_as_input_has_its_own_message() -> None:
    address = "https://example.org/a.jpg"
    for main, words in (
        (image_main, [address]),
        (image_main, ["photo.png", "--style", address]),
        (video_main, [address]),
    ):
        told = run(main, *words, code=2)
        assert told.stderr == (
            f"Error: {address}: a web address; download it first and give the file\n"
        )


@pytest.mark.usefixtures("here")
def test_several_pictures_into_one_file_are_refused() -> None:
    Image.fromarray(PIXELS).save("b.png")
    told = run(image_main, "photo.png", "b.png", "--engine", "tint.onnx", "-o", "two.png", code=2)
    assert told.stderr == "Error: two.png: is a file; give a folder for several pictures\n"
    assert not Path("two.png").exists()
    run(image_main, "photo.png", "b.png", "--engine", "tint.onnx", "-o", "two")
    assert sorted(path.name for path in Path("two").iterdir()) == ["b.png", "photo.png"]


@pytest.mark.usefixtures("here")
def test_a_folder_reports_unreadable_pictures() -> None:
    Path("phone").mkdir()
    for name in ("a.png", "b.heic", "c.JXL", "notes.txt", ".hidden.heic"):
        Image.fromarray(PIXELS).save(Path("phone", name), "PNG")
    told = run(image_main, "phone", "--engine", "tint.onnx", "--quiet")
    assert told.stderr == "Warning: phone: formats that cannot be read here: b.heic, c.JXL\n"
    Path("phone/a.png").unlink()
    told = run(image_main, "phone", "--engine", "tint.onnx", code=2)
    assert told.stderr == (
        "Error: phone: no pictures in this folder that st can read; it holds b.heic\n"
    )


def test_the_shell_completes_engines_and_styles() -> None:
    for words, found in (("st-image --engine pain", "paintings"), ("st-image --style wa", "wave")):
        script = "from st.runtime.cli.image import main; main(prog_name='st-image')"
        environment = {
            "COMP_WORDS": words,
            "COMP_CWORD": "2",
            "_ST_IMAGE_COMPLETE": "bash_complete",
        }
        told = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"plain,{found}" in told.stdout.splitlines()
    assert engines.DEFAULT == "paintings"
