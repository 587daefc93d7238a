"""Engines on ONNX Runtime and OpenVINO: equal pictures, on the requested device."""

from __future__ import annotations

import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from st.runtime import BadControl, BadEngine, BadInput, MissingExtra, Stylizer, Unavailable
from st.runtime.backends.open import open_engine
from st.runtime.engine.location import engine_path
from st.runtime.engine.onnx_file import cut, metadata_text
from st.runtime.errors import StWarning
from st.runtime.system.cpus import usable_cpus
from tests.support import toys


def has_bfloat16() -> bool:
    openvino = pytest.importorskip("openvino")
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize(("device", "most"), [("openvino", 1), ("openvino-bf16", 8)])
def test_openvino_paints_what_onnx_runtime_paints(tmp_path: Path, device: str, most: int) -> None:
    pytest.importorskip("openvino")
    if device == "openvino-bf16" and not has_bfloat16():
        pytest.skip("this processor has no bfloat16")
    path = toys.tiles_pair(tmp_path / "pair.onnx")
    with Stylizer(path, device="cpu") as one, Stylizer(path, device=device) as other:
        assert (one.device, other.device) == ("cpu", device)
        for height, width in ((40, 56), (33, 21), (40, 56)):
            frame = np.random.default_rng(height).integers(0, 256, (2, height, width, 3), np.uint8)
            off = one(frame).astype(int) - other(frame)
            assert np.abs(off).max() <= most


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_result_buffers_are_not_shared_by_runs(device: str) -> None:
    if device == "openvino":
        pytest.importorskip("openvino")
    engine = open_engine(engine_path("paintings-light"), device, 1)
    frames = np.random.default_rng(0).integers(0, 256, (2, 1, 16, 24, 3), np.uint8)
    weights = np.ones((1, len(engine.metadata.styles)), np.float32)
    inputs = [{"content": frame, "weights": weights} for frame in frames]
    expected = [engine.run(given, ["stylized"])[0] for given in inputs]
    buffer = np.zeros_like(expected[0])
    (made,) = engine.run(inputs[0], ["stylized"], {"stylized": buffer})
    assert made is buffer
    np.testing.assert_array_equal(buffer, expected[0])
    np.testing.assert_array_equal(engine.run(inputs[1], ["stylized"])[0], expected[1])
    np.testing.assert_array_equal(buffer, expected[0])


def test_openvino_results_are_not_overwritten_by_the_next_run(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    paint = Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device="openvino")
    first = paint(np.zeros((8, 8, 3), np.uint8))
    paint(np.full((8, 8, 3), 255, np.uint8))
    assert first.min() == 255


def test_bfloat16_is_refused_where_the_processor_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino = pytest.importorskip("openvino")
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(Unavailable, match="does not support bfloat16"):
        Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device="openvino-bf16")


def test_openvino_missing_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"pip install 'painterly\[openvino\]'"):
        Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device="openvino")


def test_onnx_runtime_missing_names_its_extras(tmp_path: Path) -> None:
    """The command reports it in one line. Importing the runtime does not need ONNX Runtime, and
    neither does painting if OpenVINO is installed."""
    engine = toys.tint_engine(tmp_path / "tint.onnx")
    picture = tmp_path / "in.png"
    Image.new("RGB", (8, 8)).save(picture)
    code = f"""
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None
import st.runtime
from st.runtime.cli.image import main
main([{str(picture)!r}, "--engine", {str(engine)!r}])
"""

    def run(*missing: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *missing]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    done = run("onnxruntime", "openvino")
    assert done.returncode == 1
    assert done.stderr == (
        "Error: ONNX Runtime needs an extra: pip install 'painterly[cpu]' or 'painterly[cuda]'\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "tint.onnx"]
    if find_spec("openvino"):
        done = run("onnxruntime")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "in_stylized.png").is_file()


def test_cuda_never_falls_back_to_the_cpu(tmp_path: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime-gpu is installed")
    path = toys.tint_engine(tmp_path / "tint.onnx")
    with pytest.raises(Unavailable, match=r"pip install 'painterly\[cuda\]'"):
        Stylizer(path, device="cuda")
    assert Stylizer(path, device="auto").device == "cpu"


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_cuda_that_does_not_load_is_an_error_except_with_auto(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """onnxruntime-gpu on a machine without a driver lists CUDA but cannot load it."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime-gpu is installed")
    listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    path = toys.tint_engine(tmp_path / "tint.onnx")
    with pytest.raises(Unavailable, match="CUDA"):
        Stylizer(path, device="cuda")
    assert Stylizer(path, device="auto").device == "cpu"
    assert capfd.readouterr() == ("", "")


def test_fastest_is_openvino_where_it_runs_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino = pytest.importorskip("openvino")
    monkeypatch.setattr("st.runtime.backends.open.FOR_VIDEOS", ("openvino", "cpu"))
    path = toys.tiles_pair(tmp_path / "pair.onnx")
    frame = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    with Stylizer(path, device="fastest") as one, Stylizer(path, device="auto") as other:
        assert (one.device, other.device) == ("openvino", "cpu")
        assert np.abs(one(frame).astype(int) - other(frame)).max() <= 1
        np.testing.assert_array_equal(one.tiled(frame), other.tiled(frame))  # by ONNX Runtime
        assert one.identity != other.identity == one.identity_on("cpu")

    def refuse(*_: object) -> None:
        raise RuntimeError("Check 'x' failed\nno such operator")

    with monkeypatch.context() as patch:
        patch.setattr(openvino.Core, "compile_model", refuse)
        told = r"OpenVINO does not run this engine, so ONNX Runtime does: .*no such operator"
        with pytest.warns(StWarning, match=told):
            assert Stylizer(path, device="fastest").device == "cpu"
    monkeypatch.setitem(sys.modules, "openvino", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Stylizer(path, device="fastest").device == "cpu"
    monkeypatch.setattr("st.runtime.backends.open.FOR_VIDEOS", ("cpu",))
    monkeypatch.delitem(sys.modules, "openvino")
    assert Stylizer(path, device="fastest").device == "cpu"


def test_fastest_refuses_a_damaged_engine_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = tmp_path / "tint.onnx"
    made = toys.tint_engine(path).read_bytes()
    path.write_bytes(made.replace(b"Sub", b"Sob"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadEngine, match="ONNX Runtime cannot open it"):
            Stylizer(path, device="fastest")


@pytest.mark.gpu
def test_cuda_paints_what_the_cpu_paints(tmp_path: Path) -> None:
    path = toys.tiles_pair(tmp_path / "pair.onnx")
    frame = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    cuda = Stylizer(path, device="cuda")
    assert cuda.device == "cuda"
    off = Stylizer(path, device="cpu")(frame).astype(int) - cuda(frame)
    assert np.abs(off).max() <= 2


def test_an_unknown_device_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BadControl, match=r"'tpu'.*cpu, cuda, rtx, openvino"):
        Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device="tpu")
    with pytest.raises(BadControl, match="0 threads"):
        Stylizer(tmp_path / "tint.onnx", threads=0)


def test_the_backend_follows_from_suffix_and_kind(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such engine file"):
        open_engine(tmp_path / "wave.trt")
    with pytest.raises(BadEngine, match=r"st runs \.onnx and \.trt files"):
        open_engine(tmp_path / "wave.pt")
    with pytest.raises(BadInput, match="no such engine file"):
        open_engine(tmp_path / "wave.onnx")
    toys.code_engine(tmp_path / "code.onnx")
    with pytest.raises(BadEngine, match="a style-encoder engine, not a stylizer"):
        Stylizer(tmp_path / "code.encoder.onnx")


def test_a_truncated_model_computes_the_remaining_outputs(tmp_path: Path) -> None:
    data = toys.tiles_pair(tmp_path / "pair.onnx").with_suffix(".tiles.onnx").read_bytes()
    inputs = {
        "content": np.random.default_rng(0).integers(0, 256, (1, 32, 40, 3), np.uint8),
        "weights": np.array([[0.5, 0.5]], np.float32),
        "moments": np.ones((2, 14), np.float32),
        "margins": np.array([4, 0, 8, 4]),
    }
    whole = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    sizes = []
    for name in ("moments_0", "moments_1", "stylized"):
        less = cut(data, [name])
        session = onnxruntime.InferenceSession(less, providers=["CPUExecutionProvider"])
        assert [o.name for o in session.get_outputs()] == [name]
        (expected,) = whole.run([name], inputs)
        np.testing.assert_array_equal(session.run(None, inputs)[0], expected)
        assert metadata_text(less) == metadata_text(data)
        sizes.append(len(less))
    assert sizes[0] < sizes[1] < sizes[2] < len(data)


def test_truncating_keeps_outer_values_that_a_branch_reads() -> None:
    made = toys.model(
        """branch (float[N] x, bool yes) => (float[N] y, float[N] z) {
            far = Neg(x)
            z = Abs(x)
            y = If (yes) <
                then_branch = g () => (float[N] a) { a = Sqrt(far) },
                else_branch = h () => (float[N] b) { b = Identity(x) }
            >
        }"""
    )
    session = onnxruntime.InferenceSession(
        cut(made.SerializeToString(), ["y"]), providers=["CPUExecutionProvider"]
    )
    inputs = {"x": np.array([-4.0], np.float32), "yes": np.array(True)}
    assert session.run(None, inputs)[0].tolist() == [2.0]


def groups(tmp_path: Path, membership: str, **files: str) -> tuple[Path, Path]:
    tmp_path.mkdir()
    (tmp_path / "cgroup").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "cgroup", tmp_path / "fs"


def test_cgroup_cpu_quotas_limit_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)), raising=False)
    two = {"job/cpu.max": "max 100000\n", "cpu.max": "250000 100000\n"}
    assert usable_cpus(*groups(tmp_path / "2", "0::/job/step\n", **two)) == 3
    one = {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}
    membership = "5:cpu,cpuacct:/docker/f00\n0::/\n"
    assert usable_cpus(*groups(tmp_path / "1", membership, **one)) == 2
    free = {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}
    assert usable_cpus(*groups(tmp_path / "0", membership, **free)) == 16
    assert usable_cpus(tmp_path / "none", tmp_path / "none") == 16
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert usable_cpus(*groups(tmp_path / "a", "0::/job/step\n", **two)) == 2


@pytest.mark.parametrize(
    "text", ["", "\n", "::", "9:cpu:", "0::/\0", "0::/../..", "0::" + "x" * 9999]
)
def test_any_cgroup_text_gives_at_least_one_cpu(text: str, tmp_path: Path) -> None:
    assert usable_cpus(*groups(tmp_path / "any", text)) >= 1


def test_the_faster_precision_is_chosen_by_timing_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that runs for one of the two only; the networks are compiled and run."""
    if not has_bfloat16():
        pytest.skip("this processor has no bfloat16")
    from st.runtime.backends import openvino_precision

    def slower(seconds: tuple[float, float]) -> bool:
        turns = 1 + openvino_precision.TURNS
        steps = [step for _ in range(turns) for one in seconds for step in (0.0, one)]
        clock = iter(np.cumsum(steps))
        monkeypatch.setattr(openvino_precision.time, "process_time", lambda: float(next(clock)))
        return openvino_precision.bfloat16_is_slower()

    assert slower((1.0, 1.5))
    assert not slower((1.0, 1.1))
    assert not slower((1.0, 0.5))
