"""FP16 graphs: what is rounded, what is not, and the difference from FP32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from st.export.parity import ParityError
from st.export.parity.sample_inputs import stress_inputs
from st.export.precision import fp16_engine as fp16_module
from st.export.precision.fp16 import fp16_tensors, to_fp16
from st.export.precision.fp16_emulation import emulate_fp16
from st.export.precision.fp16_engine import fp16_engine, session_of
from st.runtime import BadEngine
from st.runtime.engine.metadata import PROPERTY, Metadata, parse
from st.runtime.engine.onnx_file import read_engine
from st.runtime.pictures.synthetic import synthetic_picture, uniform_picture
from tests.support import toys

# A convolution, a norm, and by its side a covariance of the maps that scales the result.
STATISTICS = """net (uint8[N, H, W, 3] content, float[1] strength)
    => (uint8[N, H, W, 3] stylized)
<float full = {255}, float zero = {0}, int64[3] flat = {1, 4, -1}, int64[1] space = {2}> {
    x = Cast<to = 1>(content)
    nchw = Transpose<perm = [0, 3, 1, 2]>(x)
    unit = Div(nchw, full)
    maps = Conv<pads = [1, 1, 1, 1]>(unit, first)
    rows = Reshape(maps, flat)
    mean = ReduceMean(rows, space)
    apart = Sub(rows, mean)
    turned = Transpose<perm = [0, 2, 1]>(apart)
    covariance = MatMul(apart, turned)
    peak = ReduceMax<keepdims = 0>(covariance)
    share = Mul(peak, strength)
    scaled = Div(maps, share)
    relu = Relu(scaled)
    back = Conv<pads = [1, 1, 1, 1]>(relu, last)
    one = Sigmoid(back)
    bytes = Mul(one, full)
    round = Round(bytes)
    clipped = Clip(round, zero, full)
    nhwc = Transpose<perm = [0, 2, 3, 1]>(clipped)
    stylized = Cast<to = 2>(nhwc)
}"""


@pytest.fixture
def statistics() -> onnx.ModelProto:
    random = np.random.default_rng(0)
    shapes = {"first": (4, 3, 3, 3), "last": (3, 4, 3, 3)}
    return toys.model(STATISTICS, {k: random.normal(0, 0.4, v) for k, v in shapes.items()})


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    inferred = shape_inference.infer_shapes(model, strict_mode=True).graph
    known = (*inferred.value_info, *inferred.input, *inferred.output)
    types = {value.name: value.type.tensor_type.elem_type for value in known}
    return types | {tensor.name: tensor.data_type for tensor in inferred.initializer}


def test_convolutions_are_rounded_and_statistics_are_not(statistics: onnx.ModelProto) -> None:
    half = to_fp16(statistics)
    types = types_of(half)
    for node in half.graph.node:
        kinds = {types[name] for name in node.input if types[name] != TensorProto.INT64}
        if node.op_type == "Conv":
            assert kinds == {TensorProto.FLOAT16}
        if node.op_type in ("ReduceMean", "ReduceMax", "MatMul", "Round", "Sigmoid"):
            assert kinds == {TensorProto.FLOAT}, node.op_type
    assert types["covariance"] == TensorProto.FLOAT
    assert [types[p.name] for p in (*half.graph.input, *half.graph.output)] == [
        TensorProto.UINT8,
        TensorProto.FLOAT,
        TensorProto.UINT8,
    ]


def test_emulate_fp16_rounds_every_fp16_value(statistics: onnx.ModelProto) -> None:
    """ONNX Runtime removes adjacent casts, so each FP16 value is inspected separately."""
    half = to_fp16(statistics)
    tried = emulate_fp16(half)
    names = [name for name in fp16_tensors(statistics) if name != "unit"]
    for name in names:
        tried.graph.output.append(helper.make_empty_tensor_value_info(name))
    feed = {"content": synthetic_picture(32, 48), "strength": np.ones(1, np.float32)}
    values = session_of(tried, plain=True).run(names, feed)
    assert {"maps", "back", "relu"} <= {*names}
    for name, value in zip(names, values, strict=True):
        if types_of(half)[name] == TensorProto.FLOAT16:
            assert np.array_equal(value, value.astype(np.float16).astype(np.float32)), name
    single = onnx.ModelProto()
    single.CopyFrom(statistics)
    single.graph.output.append(helper.make_empty_tensor_value_info("maps"))
    (expected,) = session_of(single).run(["maps"], feed)
    assert 0 < np.abs(expected - values[names.index("maps")]).max() < 4e-3


@pytest.mark.parametrize("kind", ["stylizer", "tiles"])
def test_the_fp16_error_is_measured_and_stored(tmp_path: Path, kind: str) -> None:
    path = toys.tiles_pair(tmp_path / "toy.onnx")
    data, metadata = read_engine(path if kind == "stylizer" else path.with_suffix(".tiles.onnx"))
    half = fp16_engine(data, metadata, [])
    assert half.metadata.precision == "fp16"
    assert half.metadata.rounding_error is not None
    assert 0 < half.metadata.rounding_error[1] <= half.metadata.rounding_error[0] <= 3
    assert half.wide == 0
    text = {p.key: p.value for p in onnx.load_from_string(half.data).metadata_props}[PROPERTY]
    assert parse(text) == half.metadata
    assert len(fp16_tensors(onnx.load_from_string(data))) > 4


def scaled(data: bytes, name: str, factor: float) -> bytes:
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(values, name))
    return model.SerializeToString()


def test_large_activations_stay_in_fp32(tmp_path: Path) -> None:
    """Convolutions reach 100,000; the norms after them remove that scale."""
    path = toys.tiles_pair(tmp_path / "toy.onnx")
    data, metadata = read_engine(path)
    large = scaled(scaled(data, "first", 9e3), "second", 1.25e4)
    blind = emulate_fp16(to_fp16(onnx.load_from_string(large)))
    session = session_of(blind, plain=True)
    trial = stress_inputs(metadata, [])[0]
    good = ort.InferenceSession(large, providers=["CPUExecutionProvider"]).run(None, dict(trial))[0]
    spoilt = session.run(None, dict(trial))[0]
    assert np.abs(spoilt.astype(int) - good).max() > 30, "nothing to protect from"
    half = fp16_engine(large, metadata, [])
    assert half.wide > 0
    assert half.metadata.rounding_error is not None
    assert half.metadata.rounding_error[0] <= 3


def test_flat_pictures_stay_finite(tmp_path: Path) -> None:
    """A uniform gray picture must not become black because NaN is converted to a byte."""
    data, metadata = read_engine(toys.tiles_pair(tmp_path / "toy.onnx"))
    half = fp16_engine(data, metadata, [])
    assert half.flat < 64
    session = session_of(emulate_fp16(to_fp16(onnx.load_from_string(data))), plain=True)
    for value in (0, 128, 255):
        (painted,) = session.run(None, {**_controls(), "content": uniform_picture(16, 16, value)})
        assert np.isfinite(painted).all()
        assert painted.any()


def _controls() -> dict[str, np.ndarray]:
    return {"weights": np.full((1, 2), 0.5, np.float32)}


def test_a_visible_difference_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, metadata = read_engine(toys.tiles_pair(tmp_path / "toy.onnx"))

    def spoilt(model: onnx.ModelProto, keep: set[str]) -> onnx.ModelProto:
        return to_fp16(onnx.load_from_string(scaled(model.SerializeToString(), "last", 1.5)), keep)

    monkeypatch.setattr(fp16_module, "to_fp16", spoilt)
    with pytest.raises(ParityError, match="keep this engine in FP32"):
        fp16_engine(data, metadata, [])


def test_results_that_are_not_finite_are_refused() -> None:
    model = toys.model(
        """mean (uint8[1, H, W, 3] style) => (float[1, 3] code) <int64[2] axes = {1, 2},
        float big = {1e30}> {
            x = Cast<to = 1>(style)
            mean = ReduceMean<keepdims = 0>(x, axes)
            y = Mul(mean, big)
            z = Mul(y, big)
            code = Sub(z, z)
        }"""
    )
    metadata = Metadata("toy", kind="style-encoder", inputs=("style",), code_size=3)
    with pytest.raises(ParityError, match="not finite"):
        fp16_engine(model.SerializeToString(), metadata, [])


def test_nested_graphs_are_refused() -> None:
    model = toys.model(
        """net (uint8[N, H, W, 3] content, bool yes) => (uint8[N, H, W, 3] stylized) {
            stylized = If (yes) <
                then_branch = a () => (uint8[N, H, W, 3] y) { y = Identity(content) },
                else_branch = b () => (uint8[N, H, W, 3] z) { z = Identity(content) }>
        }"""
    )
    with pytest.raises(BadEngine, match="If"):
        to_fp16(model)
