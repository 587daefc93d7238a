"""The st-slow command: output files, one-line errors, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from st.train.slow.command import main


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    """A photograph-like content, 72x48, and a striped style."""
    y, x = np.mgrid[:48, :72] / 48
    disc = (np.hypot(y - 0.5, x - 0.7) < 0.3)[..., None] * np.array([0.7, 0.2, 0.1])
    photo = np.clip(np.stack([x * 0.5, y * 0.6, 0.8 - y * 0.5], 2) + disc, 0, 1)
    stripes = 0.5 + 0.5 * np.sin(np.stack([x * 40, x * 40 + 1, (x + y) * 30], 2))
    for name, array in (("photo", photo), ("stripes", stripes)):
        Image.fromarray((array * 255).astype(np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path / "photo.png", tmp_path / "stripes.png"


def test_help_has_an_example_of_every_method():
    assert "gatys" in call("--help").stdout
    for name in ("gatys", "laplacian", "histogram", "cnnmrf", "reshuffle"):
        shown = call(name, "-h")
        assert shown.exit_code == 0
        assert f"st-slow {name} --content" in shown.stdout
        assert "--init" in shown.stdout


def test_a_picture_is_painted_with_previews_and_named_losses(pictures, tmp_path):
    photo, style = pictures
    out = tmp_path / "out.jpg"
    style_arguments = ("--style", f"{style}:0.7", "--style", photo, "--color", "luminance")
    done = call(
        "gatys", "--content", photo, *style_arguments, "-o", out, "--size", 64, "--steps", 3,
        "--preview-every", 2, "--style-layers", "relu1_1:2", "--style-layers", "relu2_1",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert Image.open(out).size == (64, 43)
    assert Image.open(tmp_path / "out.preview.jpg").size == (64, 43)
    assert "wrote" in done.stderr
    assert "content" in done.stderr
    assert "style" in done.stderr
    assert not list(tmp_path.glob("*.part*"))


def test_regions_from_mask_files(pictures, tmp_path):
    photo, style = pictures
    mask = tmp_path / "mask.png"
    Image.fromarray(np.tile(np.uint8([[0, 255]]), (2, 1))).save(mask)
    out = tmp_path / "out.png"
    two = ("--style", style, "--mask", mask, "--style", photo, "--mask", "all")
    sizes = ("--size", 48, "--steps", 2)
    done = call("gatys", "--content", photo, *two, "-o", out, *sizes)
    assert done.exit_code == 0, done.stderr
    one_mask = call("gatys", "--content", photo, *two[:-2], "-o", out, *sizes)
    assert one_mask.exit_code == 2
    assert "1 masks for 2 styles" in one_mask.stderr


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"--content": "missing.png"}, 2, "missing.png"),
        ({"--style": "missing.png:0.5"}, 2, "missing.png"),
        ({"--style": "STYLE:-1"}, 2, "weight -1"),
        ({"-o": "no/such/folder/out.png"}, 2, "no such folder"),
        ({"-o": "out.xyz"}, 2, "out.xyz"),
        ({"--init": "zebra"}, 2, "zebra"),
        ({"--device": "abacus"}, 2, "abacus"),
        ({"--size": "8"}, 2, "short side"),
        ({"--steps": "many"}, 2, "many"),
        ({"--style-layers": "relu9_9"}, 2, "relu9_9"),
        ({"--vgg": "missing.pth"}, 2, "missing.pth"),
    ],
)
def test_errors_give_one_line(pictures, tmp_path, monkeypatch, changes, code, message):
    photo, style = pictures
    monkeypatch.chdir(tmp_path)
    given = {"--content": str(photo), "--style": str(style), "-o": "out.png", "--steps": "1"}
    given |= {key: value.replace("STYLE", str(style)) for key, value in changes.items()}
    done = call("gatys", *(part for pair in given.items() for part in pair))
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error")]) == 1
    assert not (tmp_path / "out.png").exists()


def test_a_missing_device_is_an_error(pictures, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    photo, style = pictures
    arguments = ("--content", photo, "--style", style, "-o", tmp_path / "o.png")
    done = call("gatys", *arguments, "--device", "cuda")
    assert done.exit_code == 1
    assert "no cuda device" in done.stderr


def test_the_content_is_never_overwritten(pictures):
    photo, style = pictures
    before = photo.read_bytes()
    done = call("gatys", "--content", photo, "--style", style, "-o", photo)
    assert done.exit_code == 2
    assert "replace the content" in done.stderr
    assert photo.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c_writes_the_current_picture(pictures, tmp_path):
    photo, style = pictures
    out, preview = tmp_path / "out.png", tmp_path / "out.preview.png"
    # A shell's background job, as a test run may be, hands SIGINT down ignored.
    start = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        " from st.train.slow.command import main; main(sys.argv[1:])"
    )
    arguments = ["--content", photo, "--style", style, "-o", out, "--size", "48"]
    command = [sys.executable, "-c", start, "gatys", *map(str, arguments)]
    command += ["--steps", "100000", "--preview-every", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 300
        while not preview.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert "stopped at" in said
    assert Image.open(out).size == (48, 32)
    assert not list(tmp_path.glob(".*part*"))
