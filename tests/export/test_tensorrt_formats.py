"""Real TensorRT-RTX engines, built without a GPU, and errors of the build."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from click.testing import CliRunner
from onnx import helper

from st.export.command import main
from st.export.tensorrt import build as trt_build
from st.export.tensorrt import to_tensorrt, to_tensorrt_rtx
from st.export.tensorrt import worker as trt_worker
from st.export.tensorrt.graph import for_tensorrt
from st.export.tensorrt.job import Settings
from st.export.tensorrt.profile import FrameSizes, Profile, profile_of
from st.runtime import BadEngine, BadInput, MissingExtra, StError, Unavailable
from st.runtime.backends.gpu import Gpu
from st.runtime.backends.tensorrt_library import check_installed, load_tensorrt
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.onnx_file import read_engine
from st.runtime.engine.trt_file import read_trt
from tests.support import toys

STAND_IN = Path(__file__).parent / "stand_in"
RTX = Settings("tensorrt-rtx")


def rtx_missing() -> str:
    try:
        load_tensorrt("tensorrt-rtx")
    except Unavailable as error:
        return str(error)
    return ""


needs_rtx = pytest.mark.skipif(bool(rtx_missing()), reason=rtx_missing())


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert "Traceback" not in result.output
    return result.exit_code, result.output


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return toys.tiles_pair(tmp_path / "toy.onnx")


@needs_rtx
def test_an_engine_in_fp16(toy: Path) -> None:
    toy.with_suffix(".tiles.onnx").unlink()
    code, said = run(toy, "-f", "tensorrt-rtx", "--half", "--max", "130x100", "--opt", "64x64")
    assert code == 0, said
    path = toy.with_name("toy.fp16.rtx.trt")
    data, metadata, build = read_trt(path)
    assert data == path.read_bytes(), "the bytes are bare"
    assert metadata.precision == "fp16"
    assert metadata.rounding_error is not None
    assert metadata.sizes == ((8, 8), (100, 132)), "rounded up to the engine's multiple"
    assert build.profile == ((8, 8), (64, 64), (100, 132))
    assert build.version == load_tensorrt("tensorrt-rtx").__version__
    assert build.sha256 == hashlib.sha256(data).hexdigest()
    assert build.runs_on(89)
    assert not build.runs_on(75)
    assert "FP16 differs from FP32 by at most" in said
    assert [p.name for p in toy.parent.glob("*.trt")] == ["toy.fp16.rtx.trt"]


@needs_rtx
def test_an_engine_of_one_size_for_one_gpu(tmp_path: Path) -> None:
    toy = toys.tint_engine(tmp_path / "tint.onnx")
    size = ("--min", "64x48", "--max", "64x48")
    code, said = run(toy, "-f", "tensorrt-rtx", *size, "--capability", 75)
    assert code == 0, said
    _, metadata, build = read_trt(tmp_path / "tint.rtx.trt")
    assert metadata.fixed_size == (48, 64)
    assert metadata.sizes is None
    assert (build.capabilities, build.later) == ((75,), False)
    assert "64×48 only, GPUs of 7.5" in said


@needs_rtx
def test_a_graph_that_the_parser_rejects_gives_one_line(tmp_path: Path) -> None:
    text = """net (uint8[N, H, W, 3] content) => (uint8[N, H, W, 3] stylized) {
        x = Cast<to = 1>(content)
        y = Bernoulli(x)
        stylized = Cast<to = 2>(y)
    }"""
    toys.save(text, tmp_path / "odd.onnx", Metadata("odd"))
    code, said = run(tmp_path / "odd.onnx", "-f", "tensorrt-rtx")
    assert code == 1
    assert said.count("\n") == 1
    assert "TensorRT-RTX rejects this graph" in said
    assert not list(tmp_path.glob("*.trt*"))


@needs_rtx
def test_a_plugin_node_without_its_plugin_gives_one_line(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, metadata = read_engine(toy)
    model = onnx.load_from_string(for_tensorrt(data, metadata))
    model.opset_import.append(helper.make_opsetid("st", 1))
    for node in model.graph.node:
        if node.op_type == "InstanceNormalization":
            node.op_type, node.domain = "AdaIN", "st"
            del node.attribute[:]
    monkeypatch.setattr(trt_build, "for_tensorrt", lambda *a, **k: model.SerializeToString())
    with pytest.raises(StError, match="TensorRT-RTX rejects this graph") as caught:
        to_tensorrt_rtx.write(data, metadata, tmp_path / "a.trt", FrameSizes(), RTX, lambda m: None)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("a.trt*"))


def test_a_crash_of_the_builder_process_gives_one_line(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT's parser aborts the process on some graphs: SIGABRT, after a message on standard
    error."""
    (tmp_path / "stand_in").mkdir()
    (tmp_path / "stand_in" / "sitecustomize.py").write_text(
        "import os\n"
        "from st.runtime.backends import tensorrt_library as library\n"
        "def load(flavor):\n"
        "    os.write(2, b'Assertion failed: creator')\n"
        "    os.abort()\n"
        "library.load_tensorrt = load\n"
    )
    paths = [str(tmp_path / "stand_in"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    data, metadata = read_engine(toy)
    with pytest.raises(StError, match=r"ended its process on this graph \(SIGABRT\)") as caught:
        to_tensorrt_rtx.write(data, metadata, tmp_path / "a.trt", FrameSizes(), RTX, lambda m: None)
    assert str(caught.value).endswith("Assertion failed: creator")
    assert not list(tmp_path.glob("a.trt*"))


@needs_rtx
def test_build_progress_is_reported(toy: Path, tmp_path: Path) -> None:
    told: list[dict] = []
    data, metadata = read_engine(toy)
    to_tensorrt_rtx.write(
        data, metadata, tmp_path / "a.rtx.trt", FrameSizes(maximum=(64, 64)), RTX, told.append
    )
    started = [message["start"] for message in told if "start" in message]
    finished = [message["finish"] for message in told if "finish" in message]
    assert started
    assert sorted(started) == sorted(finished)
    assert any("step" in message for message in told)


@needs_rtx
def test_tensorrt_export_with_tensorrt_rtx_as_builder(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT-RTX under TensorRT's name, and a recorded GPU: the settings that the builder
    receives."""
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    monkeypatch.setenv("ST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ST_TEST_RECORD", str(tmp_path / "told.json"))
    monkeypatch.syspath_prepend(STAND_IN)
    monkeypatch.setattr(to_tensorrt, "find_gpu", lambda: Gpu("a GPU that is not here", 89, 13000))
    toy.with_suffix(".tiles.onnx").unlink()
    arguments = (toy, "-f", "tensorrt", "--no-plugin", "--level", 1, "--max", "64x64")
    for more, capabilities in (((), (89,)), (("--any-gpu",), (80,))):
        code, said = run(*arguments, *more)
        assert code == 0, said
        _, _, build = read_trt(toy.with_name("toy.trt"))
        assert (build.flavor, build.version) == ("tensorrt", "11.4.0.106")
        assert (build.capabilities, build.later) == (capabilities, bool(more))
        assert build.device == "a GPU that is not here"
        assert build.platform.startswith("linux-")
        told = json.loads((tmp_path / "told.json").read_text())
        assert told == {
            "level": 1,
            "timing cache": True,
            "profiles": 1,
        }
    assert (tmp_path / "cache" / "tensorrt.timing").exists()


@needs_rtx
def test_any_gpu_sets_the_builders_compatibility_level() -> None:
    trt, config = load_tensorrt("tensorrt-rtx"), SimpleNamespace()
    trt_worker._set_flags(trt, config, Settings("tensorrt", any_gpu=True, level=4))
    assert config.hardware_compatibility_level == trt.HardwareCompatibilityLevel.AMPERE_PLUS
    assert config.builder_optimization_level == 4


def test_tensorrt_without_a_gpu_suggests_tensorrt_rtx(toy: Path) -> None:
    try:
        to_tensorrt.find_gpu()
    except Unavailable:
        code, said = run(toy, "-f", "tensorrt")
        assert code == 1
        assert said.count("\n") == 1
        assert "tensorrt-rtx builds" in said
        assert ".onnx runs on the CPU" in said
    else:
        pytest.skip("there is a GPU here")


def test_missing_libraries_name_the_extra(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "st.runtime.backends.tensorrt_library.importlib.util.find_spec", lambda name: None
    )
    with pytest.raises(MissingExtra):
        check_installed("tensorrt")
    code, said = run(toy, "-f", "tensorrt-rtx")
    assert code == 1
    assert "pip install 'painterly[tensorrt-rtx]'" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--capability", "12"), "builds for 75, 80"),
        (("--any-gpu",), "is for tensorrt"),
        (("--min", "4x4"), "8 pixels a side or more"),
        (("--min", "64x64", "--max", "32x64"), "sizes must grow"),
        (("--opt", "wide"), "WIDTHxHEIGHT"),
        (("--max", "99999x9"), "WIDTHxHEIGHT"),
        (("--level", "9"), "--level"),
        (("-o", "a.onnx"), "NAME.rtx.trt"),
        (("-f", "onnx", "-o", "a.rtx.trt"), "one engine"),
    ],
)
def test_bad_options(toy: Path, arguments: tuple[str, ...], message: str) -> None:
    if rtx_missing():
        pytest.skip(rtx_missing())
    code, said = run(toy, "-f", "tensorrt-rtx", *arguments)
    assert code == 2
    assert message in said
    assert not list(toy.parent.glob("*.trt*"))


def test_bad_models(tmp_path: Path, toy: Path) -> None:
    (tmp_path / "empty.onnx").write_bytes(b"")
    for model, message in (
        (tmp_path / "none.onnx", "no such engine file"),
        (tmp_path / "empty.onnx", "empty"),
        (toy.with_suffix(".tiles.onnx"), "give the engine that it belongs to"),
        ("nothing_shipped", "no engine 'nothing_shipped'"),
    ):
        code, said = run(model, "--half")
        assert (code, said.count("\n")) == (2, 1), said
        assert message in said
    code, said = run(toy)
    assert code == 2
    assert "already" in said
    code, said = run(toy, "--min", "8x8")
    assert code == 2
    assert "--format tensorrt-rtx" in said


def test_profile_from_frame_sizes_and_metadata() -> None:
    engine = Metadata("m", multiple=8, min_size=16)
    assert profile_of(engine, FrameSizes()) == Profile((16, 16), (720, 1280), (1080, 1920))
    large = profile_of(engine, FrameSizes(optimum=(2160, 3840)))
    assert large == Profile((16, 16), (2160, 3840), (2160, 3840))
    assert profile_of(engine, FrameSizes(maximum=(100, 200))) == Profile(
        (16, 16), (104, 200), (104, 200)
    )
    assert profile_of(engine, FrameSizes((33, 33), (33, 33), (33, 33))).fixed
    four = Metadata("sr", multiple=1, scale=4)
    assert profile_of(four, FrameSizes()) == Profile((1, 1), (180, 320), (270, 480))
    fixed = Metadata("m", fixed_size=(48, 48))
    assert profile_of(fixed, FrameSizes(maximum=(8, 8))) == Profile((48, 48), (48, 48), (48, 48))
    encoder = Metadata("m", kind="style-encoder", inputs=("style",), code_size=4, min_size=16)
    assert profile_of(encoder, FrameSizes(maximum=(8, 8))) == Profile(
        (16, 16), (512, 512), (1024, 1024)
    )
    tiles = Metadata("m", kind="tiles", norms=(4,), halo=30, multiple=8)
    assert profile_of(tiles, FrameSizes()).maximum == (1088, 1088)
    with pytest.raises(BadInput, match="16 pixels"):
        profile_of(engine, FrameSizes(optimum=(8, 64)))


def test_graphs_for_tensorrt_only_cast_uint8(toy: Path) -> None:
    data, metadata = read_engine(toy)
    model = onnx.load_from_string(for_tensorrt(data, metadata))
    users = [n.op_type for n in model.graph.node if "content" in n.input]
    makers = [n.op_type for n in model.graph.node if "stylized" in n.output]
    assert users == makers == ["Cast"]
    batch = [value.type.tensor_type.shape.dim[0].dim_value for value in model.graph.input]
    assert batch == [1, 1]
    odd = onnx.load_from_string(data)
    odd.opset_import.append(helper.make_opsetid("strange", 1))
    odd.graph.node[0].domain = "strange"
    with pytest.raises(BadEngine, match="strange::"):
        for_tensorrt(odd.SerializeToString(), metadata)
    identity = toys.identity_engine(toy.with_name("identity.onnx"))
    with pytest.raises(BadEngine, match="only casts uint8"):
        for_tensorrt(*read_engine(identity))
