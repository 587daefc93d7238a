"""ONNX functions in real exported graphs: equal pictures on ONNX Runtime, accepted by TensorRT-
RTX's builder, and replaced by plugin nodes for TensorRT."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, TensorProto, helper
from torch import Tensor, nn

from st.export.onnx.graphs import FrameGraph, onnx_instance_norm
from st.export.onnx.to_onnx import picture_axes, to_onnx
from st.export.plugin import has_nodes, prepare
from st.export.plugin.functions import add_functions
from st.export.plugin.fusion import fused
from st.export.precision.fp16 import to_fp16
from st.export.tensorrt.graph import for_tensorrt
from st.runtime.engine.metadata import Metadata
from st.train.methods import adain, wct
from st.train.networks.transform import Norm
from tests.support.plugin import references

RTX = "tensorrt_rtx_bindings"


class SmallAdain(nn.Module):
    """AdaIN's own step between two convolutions; exporting VGG would take a minute."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, channels, stride, stride)
        self.decoder = nn.ConvTranspose2d(channels, 3, stride, stride)

    def forward(self, content: Tensor, code: Tensor, strength: Tensor, norm: Norm) -> Tensor:
        features = self.encoder(content)
        styled = adain.adain(features, code, norm)
        return self.decoder(features + strength[..., None, None, None] * (styled - features))


def export(method: str) -> ModelProto:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    norm = None if method == "wct" else onnx_instance_norm
    if method == "wct":
        net = wct.Network(wct.Config(levels=("1",), width=8), ())
        spec = wct.export_spec(net)
    else:
        whole = adain.Network(adain.Config(encoder=method.split()[-1]), ())
        spec = adain.export_spec(whole)
        small = method.startswith("small")
        net = SmallAdain(whole.channels, whole.levels[0].stride) if small else whole
    metadata = Metadata(
        method,
        inputs=("content", "code", "strength"),
        code_size=spec.code_size,
        multiple=spec.multiple,
    )
    example = {
        "content": torch.randint(0, 255, (2, 32, 48, 3), dtype=torch.uint8),
        "code": torch.rand(1, spec.code_size),
        "strength": torch.tensor([0.7]),
    }
    axes = picture_axes(spec.multiple, spec.min_size, batch=True)
    data = to_onnx(FrameGraph(net.eval(), norm), example, ["stylized"], axes, metadata)
    return onnx.load_from_string(data)


@pytest.fixture(
    scope="module",
    params=[
        "adain squeezenet",
        "small adain vgg16",
        pytest.param("adain vgg16", marks=pytest.mark.slow),
        "wct",
    ],
)
def exported(request: pytest.FixtureRequest) -> tuple[str, ModelProto]:
    return request.param, export(request.param)


def expected_calls(method: str) -> dict[str, int]:
    return {"Covariance": 1, "WhitenColor": 1} if method == "wct" else {"AdaIN": 1}


def calls(model: ModelProto) -> dict[str, int]:
    return dict(Counter(node.op_type for node in model.graph.node if node.domain == "st"))


def run(model: ModelProto, height: int, width: int) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    random = np.random.default_rng(7)
    sizes = {i.name: i.shape for i in session.get_inputs()}
    inputs = {
        "content": random.integers(0, 256, (1, height, width, 3), np.uint8),
        "code": random.random((1, sizes["code"][1]), np.float32),
        "strength": np.array([0.7], np.float32),
    }
    return np.asarray(session.run(None, inputs)[0]).astype(int)


def test_statistics_are_replaced_by_function_calls(exported: tuple[str, ModelProto]) -> None:
    method, model = exported
    made = fused(model)
    assert calls(made) == expected_calls(method)
    assert {f.name for f in made.functions} == set(expected_calls(method))
    assert not any(n.op_type == "InstanceNormalization" for n in made.graph.node)
    assert calls(model) == {}  # the original is untouched


def test_the_function_form_paints_the_same(exported: tuple[str, ModelProto]) -> None:
    _, model = exported
    made = fused(model)
    for size in ((32, 48), (64, 40)):
        plain, called = run(model, *size), run(made, *size)
        assert plain.std() > 1
        assert np.abs(plain - called).max() <= 1
        assert np.abs(plain - called).mean() < 0.01


def test_a_wrong_function_changes_the_picture(exported: tuple[str, ModelProto]) -> None:
    """The comparison above would detect it."""
    _, model = exported
    made = fused(model)
    for function in made.functions:
        for node in function.node:
            if function.name == "AdaIN" and node.op_type == "InstanceNormalization":
                node.input[1], node.input[2] = node.input[2], node.input[1]
            if function.name == "WhitenColor" and node.op_type == "Sub":
                node.op_type = "Add"
    assert np.abs(run(model, 32, 48) - run(made, 32, 48)).max() > 1


def test_plugin_nodes_for_tensorrt(exported: tuple[str, ModelProto]) -> None:
    method, model = exported
    made = onnx.load_from_string(prepare(model.SerializeToString()))
    wanted = {"AdaIN": 1}
    if method == "wct":
        wanted = {"CovarianceParts": 1, "CovarianceMerge": 1, "WhitenColor": 1}
    assert calls(made) == wanted
    assert not made.functions  # else the parser would take the function
    for node in made.graph.node:
        if node.domain == "st":
            told = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            assert told == {"plugin_namespace": b"st", "plugin_version": b"1"}
    assert has_nodes(made.SerializeToString())
    assert not has_nodes(model.SerializeToString())


SMALL_PROFILE = '"x", (1, 128, 4, 4), (1, 128, 32, 48), (1, 128, 64, 64)'
FRAME_PROFILE = '"content", (1, 32, 32, 3), (1, 360, 640, 3), (1, 720, 1280, 3)'
BUILD = f"""
import sys
from st.runtime.backends.tensorrt_library import load_tensorrt
trt = load_tensorrt("tensorrt-rtx")
log = trt.Logger(trt.Logger.INTERNAL_ERROR)
builder = trt.Builder(log)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, log)
if not parser.parse(open(sys.argv[1], "rb").read()):
    raise SystemExit([parser.get_error(i).desc() for i in range(parser.num_errors)])
config = builder.create_builder_config()
profile = builder.create_optimization_profile()
profile.set_shape({SMALL_PROFILE})
config.add_optimization_profile(profile)
engine = builder.build_serialized_network(network, config)
raise SystemExit(0 if engine is not None and engine.nbytes > 1000 else "nothing was built")
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec(RTX) is None, reason="needs the extra tensorrt-rtx")
def test_tensorrt_rtx_builds_the_function_form_of_whole_networks(
    exported: tuple[str, ModelProto], tmp_path: Path
) -> None:
    _, model = exported
    inputs = ("content", "code", "strength")
    size = next(i for i in model.graph.input if i.name == "code")
    width = size.type.tensor_type.shape.dim[1].dim_value
    metadata = Metadata("any", inputs=inputs, code_size=width, multiple=8, min_size=32)
    path = tmp_path / "model.onnx"
    path.write_bytes(for_tensorrt(fused(model).SerializeToString(), metadata))
    script = BUILD.replace(SMALL_PROFILE, FRAME_PROFILE)
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]


def small(half: bool) -> ModelProto:
    """All three functions on a feature map of any size."""
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    wide = TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("AdaIN", ["x", "scale", "shift"], ["a"], domain="st"),
            helper.make_node("Covariance", ["a"], ["mean", "matrix"], domain="st"),
            helper.make_node("WhitenColor", ["a", "matrix", "mean", "rows"], ["y"], domain="st"),
        ],
        "three",
        [
            helper.make_tensor_value_info("x", kind, [1, 128, "H", "W"]),
            helper.make_tensor_value_info("scale", wide, [128]),
            helper.make_tensor_value_info("shift", wide, [128]),
            helper.make_tensor_value_info("rows", wide, [1, 128]),
        ],
        [helper.make_tensor_value_info("y", kind, [1, 128, "H", "W"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    add_functions(model)
    return model


@pytest.mark.skipif(find_spec(RTX) is None, reason="needs the extra tensorrt-rtx")
@pytest.mark.parametrize("half", [False, True], ids=["float32", "half"])
def test_tensorrt_rtx_builds_the_functions(tmp_path: Path, half: bool) -> None:
    path = tmp_path / "three.onnx"
    path.write_bytes(small(half).SerializeToString())
    done = subprocess.run(
        [sys.executable, "-c", BUILD, path], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]


@pytest.mark.parametrize("half", [False, True], ids=["float32", "half"])
def test_the_functions_against_float64(half: bool) -> None:
    session = onnxruntime.InferenceSession(small(half).SerializeToString())
    random = np.random.default_rng(3)
    x = (30 + random.standard_normal((1, 128, 9, 11))).astype("f2" if half else "f4")
    scale, shift = random.random(128, np.float32), random.standard_normal(128).astype("f4")
    inputs = {"x": x, "scale": scale, "shift": shift, "rows": shift[None]}
    y = np.asarray(session.run(None, inputs)[0])
    assert y.dtype == x.dtype
    a = references.adain(x, scale[None], shift[None]).astype(x.dtype)
    mean, matrix = references.covariance(a)
    wanted = references.whiten_color(a, matrix, mean, shift[None])
    assert np.abs(y - wanted).max() < (2e-2 if half else 2e-4) * np.abs(wanted).max()


def test_lookalikes_of_a_covariance_are_left_alone(exported: tuple[str, ModelProto]) -> None:
    """It is divided by something other than the number of pixels."""
    if exported[0] != "wct":
        pytest.skip("has no covariance")
    model = ModelProto()
    model.CopyFrom(exported[1])
    for node in model.graph.node:
        if node.op_type == "Transpose" and list(node.attribute[0].ints) == [0, 2, 1]:
            product = next(n for n in model.graph.node if node.output[0] in n.input)
            divided = next(n for n in model.graph.node if product.output[0] in n.input)
            divided.input[1] = "strength"
    assert "Covariance" not in calls(fused(model))


def test_norms_of_few_channels_are_left_alone() -> None:
    norm = helper.make_node("InstanceNormalization", ["x", "scale", "shift"], ["y"], epsilon=1e-5)
    graph = helper.make_graph(
        [norm],
        "few",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, "H", "W"]),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, [16]),
            helper.make_tensor_value_info("shift", TensorProto.FLOAT, [16]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, "H", "W"])],
    )
    few = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    assert calls(fused(few)) == {}


def test_casts_made_for_the_statistics_only_are_skipped() -> None:
    """A norm in an FP16 graph is: cast, norm, cast. The plugin casts internally."""
    half, wide = TensorProto.FLOAT16, TensorProto.FLOAT
    nodes = [
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("Cast", ["h"], ["w"], to=wide),
        helper.make_node("InstanceNormalization", ["w", "scale", "shift"], ["n"], epsilon=1e-5),
        helper.make_node("Cast", ["n"], ["m"], to=half),
        helper.make_node("Relu", ["m"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "half",
        [
            helper.make_tensor_value_info("x", half, [1, 256, "H", "W"]),
            helper.make_tensor_value_info("scale", wide, [256]),
            helper.make_tensor_value_info("shift", wide, [256]),
        ],
        [helper.make_tensor_value_info("y", half, [1, 256, "H", "W"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    made = fused(model)
    assert [n.op_type for n in made.graph.node] == ["Relu", "AdaIN", "Relu"]
    x = np.random.default_rng(1).standard_normal((1, 256, 6, 5)).astype("f2")
    ones = np.ones(256, "f4")
    feed = {"x": x, "scale": ones, "shift": ones}
    plain, called = (
        onnxruntime.InferenceSession(m.SerializeToString()).run(None, feed)[0]
        for m in (model, made)
    )
    assert np.array_equal(plain, called)


def test_fp16_graphs_call_them_on_half_maps(exported: tuple[str, ModelProto]) -> None:
    """As exported for TensorRT: maps that were cast only for statistics stay FP16."""
    method, model = exported
    half = to_fp16(model)
    made = fused(half)
    assert calls(made) == expected_calls(method)
    inferred = onnx.shape_inference.infer_shapes(half).graph
    types = {v.name: v.type.tensor_type.elem_type for v in inferred.value_info}
    for node in made.graph.node:
        if node.domain == "st":
            source = node.input[0].removesuffix("_unwidened")
            unwidened = source != node.input[0] or types[source] == TensorProto.FLOAT16
            assert unwidened, f"{node.op_type} reads float32"
    plain, called = run(half, 64, 40), run(made, 64, 40)
    assert plain.std() > 1
    assert np.abs(plain - called).max() <= 3
    assert np.abs(plain - called).mean() < 0.1
