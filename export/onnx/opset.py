"""Converts to older opsets, for older runtimes: ONNX Runtime 1.12 reads opset 17, 1.14 opset 18.

A file's IR version matters, too. torch writes 10, which ONNX Runtime reads from 1.18 on, but uses
no feature that is missing in the IR version of the opset.
"""

from __future__ import annotations

import onnx
from onnx import NodeProto, helper, numpy_helper, version_converter

from st.runtime.errors import BadInput

NEWEST = 20  # opset of exported engines
OLDEST = 17
CONVERTED = 18  # the oldest that ONNX's converter supports

# Reductions whose axes were an attribute before opset 18 (ReduceSum's are an input since 13).
REDUCTIONS = {"ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"}


def to_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Convert a graph to an opset from OLDEST to NEWEST, and to that opset's IR version.

    Raises BadInput: another number, or an operator that the older opset lacks.
    """
    if not OLDEST <= opset <= NEWEST:
        raise BadInput(f"opset {opset}: engines are written in {OLDEST} to {NEWEST}")
    if opset < NEWEST:
        try:
            model = version_converter.convert_version(model, max(opset, CONVERTED))
        except Exception as error:  # the converter's errors
            raise BadInput(f"opset {opset}: this graph needs a newer one ({error})") from None
    if opset < CONVERTED:
        _to_17(model)
    model.ir_version = helper.find_min_ir_version_for(list(model.opset_import))
    onnx.checker.check_model(model, full_check=True)
    return model


def _to_17(model: onnx.ModelProto) -> None:
    constants = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    for node in model.graph.node:
        if node.op_type in REDUCTIONS and len(node.input) > 1:
            axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
            del node.input[1:]
            _drop(node, "noop_with_empty_axes")
            node.attribute.append(helper.make_attribute("axes", axes))
        elif node.op_type in REDUCTIONS:
            _drop(node, "noop_with_empty_axes")
        elif node.op_type == "Split":
            _drop(node, "num_outputs")  # equal parts are what opset 13 does without sizes
        elif node.op_type == "Resize":
            _drop(node, "antialias", "keep_aspect_ratio_policy")
        elif node.op_type == "Pad" and len(node.input) > 3:
            raise BadInput("opset 17: this graph pads single axes")
    (own,) = (entry for entry in model.opset_import if entry.domain == "")
    own.version = 17


def _drop(node: NodeProto, *names: str) -> None:
    for entry in [entry for entry in node.attribute if entry.name in names]:
        node.attribute.remove(entry)
