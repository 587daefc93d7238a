"""Weights stored in half the bytes, only where every value stays equal."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from st.export.onnx.storage import halve_exact


def product(weight: np.ndarray) -> onnx.ModelProto:
    """y = x @ weight."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, weight.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, weight.shape[1]])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_rounded_weights_take_half_the_bytes_and_compute_the_same() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((1, 128), dtype=np.float32)
    rounded = random.standard_normal((128, 96)).astype(np.float16).astype(np.float32)
    model = product(rounded)
    before, size = run(model, x), model.ByteSize()
    halve_exact(model)
    onnx.checker.check_model(model, full_check=True)
    assert model.ByteSize() < 0.55 * size
    np.testing.assert_array_equal(run(model, x), before)


def test_other_weights_stay_as_they_are() -> None:
    random = np.random.default_rng(1)
    full = random.standard_normal((128, 96), dtype=np.float32)
    large = (full * 1e6).astype(np.float32)  # over float16's range
    few = np.ones((8, 8), np.float32)
    for weight in (full, large, few):
        model = product(weight)
        before = model.SerializeToString()
        halve_exact(model)
        assert model.SerializeToString() == before
