"""Simulate an FP16 graph in FP32: every value that is FP16 there is rounded to FP16.

ONNX Runtime has few FP16 kernels on CPUs. It computes in FP32 and removes adjacent casts, which
also removes the rounding to be measured. Sums inside a convolution stay FP32, as on tensor cores.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper, shape_inference

from st.export.precision.fp16 import MOVES

HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def emulate_fp16(half: onnx.ModelProto) -> onnx.ModelProto:
    """The FP32 model. Run it without ONNX Runtime's optimizations, which undo the rounding."""
    inferred = shape_inference.infer_shapes(half, strict_mode=True).graph
    known = (*inferred.input, *inferred.output, *inferred.value_info)
    halves = {v.name for v in known if v.type.tensor_type.elem_type == HALF}
    model = onnx.ModelProto()
    model.CopyFrom(half)
    del model.graph.node[:], model.graph.value_info[:]
    for tensor in model.graph.initializer:
        if tensor.data_type == HALF:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for node in inferred.node:
        model.graph.node.extend(_in_float(node, halves))
    return model


def _in_float(node: NodeProto, halves: set[str]) -> list[NodeProto]:
    written = NodeProto()
    written.CopyFrom(node)
    if node.op_type == "Cast" and (node.output[0] in halves or node.input[0] in halves):
        written = helper.make_node("Identity", [node.input[0]], [node.output[0]])
    if node.op_type in MOVES:  # moved values are rounded already
        return [written]
    rounding = []
    for i, name in enumerate(node.output):
        if name in halves:
            written.output[i] = exact = f"{name}_exact"
            narrow, held = f"{name}_narrow", f"{name}_held"
            rounding += [
                helper.make_node("Cast", [exact], [narrow], to=HALF),
                helper.make_node("Identity", [narrow], [held]),  # else the casts would meet
                helper.make_node("Cast", [held], [name], to=FLOAT),
            ]
    return [written, *rounding]
