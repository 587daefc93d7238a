"""st-engines with TensorRT engines: their description, and whether this machine runs them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from st.runtime import Stylizer, Unavailable
from st.runtime.backends import tensorrt_requirements
from st.runtime.backends.gpu import Gpu, find_gpu
from st.runtime.backends.tensorrt_requirements import requirements, system
from st.runtime.cli.engines import main
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.trt_file import json_beside, write_trt
from tests.support import toys
from tests.support.trt_builds import rtx_build

DATA = b"not for this machine"
BUILD = rtx_build(DATA)
METADATA = Metadata(
    "cin",
    inputs=("content", "weights"),
    styles=("wave",),
    multiple=4,
    sizes=((16, 16), (720, 1280)),
    precision="fp16",
    rounding_error=(2.0, 0.25),
)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.fp16.rtx.trt"
    write_trt(path, DATA, METADATA, BUILD)
    return path


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert "Traceback" not in result.output
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def no_gpu() -> None:
    try:
        find_gpu()
    except Unavailable:
        return
    pytest.skip("there is a GPU here")


def test_inspect_shows_profile_precision_and_error(engine: Path) -> None:
    code, shown, _ = run("inspect", engine)
    assert code == 0
    for text in (
        "TensorRT-RTX 1.7.1.116",
        "16×16 to 1280×720, best at 640×360",
        "8.0 and later",
        "FP16 differs from FP32 by at most 2 (mean 0.25) of 255",
        BUILD.sha256,
    ):
        assert text in shown
    code, shown, _ = run("inspect", engine, "--json")
    values = json.loads(shown)
    assert values["build"]["capabilities"] == [80, 86]
    assert values["rounding_error"] == [2.0, 0.25]


def test_check_lists_missing_requirements_and_the_cpu_alternative(
    engine: Path, no_gpu: None
) -> None:
    toys.identity_engine(engine.with_name("mine.onnx"))
    code, shown, said = run("check", engine)
    assert code == 1
    assert said.count("\n") == 1
    assert "an NVIDIA driver" in said
    assert f"on the CPU, {engine.with_name('mine.onnx')} runs" in said
    assert "nvidia-smi" in shown
    code, shown, _ = run("check", engine, "--json")
    assert code == 1
    assert {need["what"]: need["met"] for need in json.loads(shown)}["any system"]


def test_commands_that_need_a_gpu_give_one_line(engine: Path, no_gpu: None) -> None:
    code, _, said = run("bench", engine)
    assert code == 1
    assert said.count("\n") == 1
    with pytest.raises(Unavailable, match="CPU") as caught:
        Stylizer(engine)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "gpu", "missing"),
    [
        ({}, Gpu("RTX 4090", 89, 13000), None),
        ({}, Gpu("RTX 2080", 75, 13000), "RTX 2080 has 7.5"),
        ({"version": "1.6.0.1"}, Gpu("RTX 4090", 89, 13000), "is for TensorRT-RTX 1.6.0.1, not"),
        ({"platform": "plan9-vax"}, Gpu("RTX 4090", 89, 13000), "is for plan9-vax"),
        ({"later": False}, Gpu("RTX 4090", 89, 13000), "8.0, 8.6; RTX 4090 has 8.9"),
    ],
)
def test_each_unmet_requirement_is_reported(
    changes: dict, gpu: Gpu, missing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = type("Module", (), {"__version__": "1.7.1.116"})
    monkeypatch.setattr(tensorrt_requirements, "find_gpu", lambda: gpu)
    monkeypatch.setattr(tensorrt_requirements, "load_tensorrt", lambda flavor: module)
    monkeypatch.setattr(
        "st.runtime.backends.tensorrt_library.load_cuda_driver",
        lambda: type("Driver", (), {"name": "cuda-python"})(),
    )
    found = requirements(replace(BUILD, **changes))
    lacking = [need.found for need in found if not need.met]
    assert len(lacking) == (missing is not None)
    assert missing is None or missing in lacking[0]
    assert system() not in ("", "-")


def test_engines_and_json_files_that_do_not_match_give_one_line(engine: Path) -> None:
    whole = json_beside(engine).read_text()
    for change, message in (
        (lambda: engine.write_bytes(DATA[:5]), "cut short"),
        (lambda: json_beside(engine).write_text("{"), "not valid JSON"),
        (lambda: json_beside(engine).unlink(), "is not beside it"),
    ):
        change()
        for command in ("inspect", "check"):
            code, _, said = run(command, engine)
            assert (code, said.count("\n")) == (2, 1)
            assert message in said
        engine.write_bytes(DATA)
        json_beside(engine).write_text(whole)
