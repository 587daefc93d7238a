"""st-engines as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import toys
from st import engines
from st.runtime.backend import ONNX_DEVICES
from st.runtime.engines_command import main


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def tint(tmp_path: Path) -> Path:
    return toys.tint_engine(tmp_path / "tint.onnx")


@pytest.fixture
def shipped(tint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped engines: tint, and add with its style encoder."""
    toys.code_engine(tint.with_name("add.onnx"))
    monkeypatch.setattr(engines, "FOLDER", tint.parent)
    monkeypatch.setattr(engines, "DEFAULT", "tint")
    return tint.parent


def test_list_names_engines_and_styles_but_no_companions(shipped: Path) -> None:
    shown = run("list").stdout
    assert "tint (default)" in shown
    assert "negative, black" in shown
    assert "any picture" in shown
    assert "encoder" not in shown
    listed = json.loads(run("list", "--json").stdout)
    assert [row["name"] for row in listed] == ["add", "tint"]
    assert listed[1]["styles"] == ["negative", "black"]
    assert listed[1]["default"] is True


def test_inspect_tells_what_the_engine_offers(tint: Path) -> None:
    shown = run("inspect", tint).stdout
    for words in (
        "tint",
        "content, weights",
        "negative, black",
        "strength (mixed with the source)",
    ):
        assert words in shown
    data = json.loads(run("inspect", tint, "--json").stdout)
    assert data["styles"] == ["negative", "black"]
    assert data["multiple"] == 1
    assert data["inputs"] == ["content", "weights"]


def test_inspect_of_an_engine_for_any_picture(tmp_path: Path) -> None:
    shown = run("inspect", toys.code_engine(tmp_path / "add.onnx")).stdout
    assert "any picture as style" in shown
    assert "mixed with" not in shown


@pytest.mark.parametrize("builder", [toys.tint_engine, toys.code_engine, toys.identity_engine])
def test_check_runs_every_kind_on_the_cpu(tmp_path: Path, builder: object) -> None:
    engine = builder(tmp_path / "toy.onnx")  # type: ignore[operator]
    rows = {row["device"]: row for row in json.loads(run("check", engine, "--json").stdout)}
    assert tuple(rows) == ONNX_DEVICES
    assert rows["cpu"]["runs"]
    assert rows["cpu"]["milliseconds"] > 0
    for row in rows.values():
        assert row["runs"] or row["why_not"]
    shown = run("check", engine, "--device", "cpu").stdout
    assert "yes" in shown
    assert "cuda" not in shown


def test_check_of_a_device_that_is_not_here_fails_with_the_reason(tint: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has the CUDA provider")
    result = run("check", tint, "--device", "cuda", code=1)
    assert "no" in result.stdout
    assert "onnxruntime-gpu" in result.stdout
    assert result.stderr.strip().splitlines() == [f"Error: {tint} does not run on cuda here"]


def test_bench_gives_the_median_of_each_device_here(tint: Path) -> None:
    measured = json.loads(run("bench", tint, "--size", "64x48", "--frames", "5", "--json").stdout)
    assert (measured["width"], measured["height"]) == (64, 48)
    rows = {row["device"]: row for row in measured["devices"]}
    assert rows["cpu"]["milliseconds"] > 0
    assert rows["cpu"]["fps"] == pytest.approx(1000 / rows["cpu"]["milliseconds"])
    if find_spec("openvino"):
        assert "openvino" in rows
    shown = run("bench", tint, "--size", "64x48", "--frames", "5", "--device", "cpu").stdout
    assert "ms a frame" in shown


@pytest.mark.parametrize("command", ["inspect", "check", "bench"])
def test_a_file_that_is_no_engine_is_one_line(tmp_path: Path, command: str) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"not a model")
    result = run(command, bad, code=2)
    assert len(result.stderr.strip().splitlines()) == 1
    assert "bad.onnx" in result.stderr
    assert "gone.onnx" in run(command, tmp_path / "gone.onnx", code=2).stderr


@pytest.mark.parametrize("size", ["640", "0x5", "axb", "640x360x2", "99999x5", "-1x5"])
def test_bench_size_must_be_a_size(tint: Path, size: str) -> None:
    result = run("bench", tint, "--size", size, code=2)
    assert result.stderr.strip() == f"Error: --size {size}: give WIDTHxHEIGHT, such as 1280x720"


def test_installed_command_in_a_process_of_its_own(tint: Path) -> None:
    script = "import sys; from st.runtime.engines_command import main; sys.exit(main())"
    call = [sys.executable, "-c", script]
    done = subprocess.run([*call, "inspect", str(tint)], capture_output=True, text=True, check=True)
    assert "negative, black" in done.stdout
    help_text = subprocess.run([*call, "--help"], capture_output=True, text=True, check=True).stdout
    assert "st-engines check paintings --device cuda" in help_text
