"""Rewrite an ONNX engine's graph for TensorRT's parser; batch size 1, same function."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper, shape_inference

from st.export.onnx.storage import widen
from st.runtime.engine.metadata import Metadata
from st.runtime.errors import BadEngine

STANDARD = {"", "ai.onnx"}


def for_tensorrt(data: bytes, metadata: Metadata, turing: bool = False) -> bytes:
    """Return a copy that TensorRT's parser accepts.

    - TensorRT can only cast uint8 tensors (and take their shape), so casts come first and last.
    - The batch is 1 and a fixed frame size is constant: known shapes run faster.
    - TensorRT-RTX has no FP32 matrix product on Turing (7.5); blends of styles become products and
      a sum.
    - Only standard operators are allowed: the parser aborts the process on a node without plugin.

    Raises BadEngine: an operator or a use of uint8 that TensorRT lacks.
    """
    model = onnx.load_from_string(data)
    widen(model)
    functions = {(f.domain, f.name) for f in model.functions}
    for node in model.graph.node:
        if node.domain not in STANDARD and (node.domain, node.op_type) not in functions:
            raise BadEngine(f"TensorRT has no operator {node.domain}::{node.op_type}")
    _fix_shapes(model.graph, metadata)
    _casts_outside(model.graph)
    if turing:
        _mix_without_matmul(model)
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _fix_shapes(graph: onnx.GraphProto, metadata: Metadata) -> None:
    """Set the batch to 1 and, for an engine of one size, height and width."""
    for value in (*graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.name in ("noise", "hints", "chroma"):
            sides, scale = dims[2:4], 1
            dims[0].dim_value = 1
        elif value.type.tensor_type.elem_type == TensorProto.UINT8:  # (N, H, W, 3)
            sides, scale = dims[1:3], metadata.scale if value.name == "stylized" else 1
            dims[0].dim_value = 1
        else:
            continue
        for dim, side in zip(sides, metadata.fixed_size or (), strict=False):
            dim.dim_value = side * scale


def _casts_outside(graph: onnx.GraphProto) -> None:
    """Transpose, Cast -> Cast, Transpose at uint8 inputs; the reverse at uint8 outputs."""
    users: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    makers = {name: node for node in graph.node for name in node.output}
    for value in graph.input:
        if value.type.tensor_type.elem_type == TensorProto.UINT8:
            for node in users.get(value.name, []):
                if node.op_type == "Transpose":
                    following = users.get(node.output[0], [])
                    _swap(node, following[0] if len(following) == 1 else None)
                elif node.op_type not in ("Cast", "Shape"):
                    raise _unfit(node)
    for value in graph.output:
        if value.type.tensor_type.elem_type == TensorProto.UINT8:
            node = makers[value.name]
            if node.op_type == "Transpose":
                _swap(node, makers.get(node.input[0]))
            elif node.op_type != "Cast":
                raise _unfit(node)


def _swap(transpose: NodeProto, cast: NodeProto | None) -> None:
    """Swap two adjacent nodes in place; tensor names stay."""
    if cast is None or cast.op_type != "Cast":
        raise _unfit(transpose)
    theirs = list(cast.attribute)
    del cast.attribute[:]
    cast.attribute.extend(transpose.attribute)
    del transpose.attribute[:]
    transpose.attribute.extend(theirs)
    transpose.op_type, cast.op_type = cast.op_type, transpose.op_type


def _unfit(node: NodeProto) -> BadEngine:
    return BadEngine(f"TensorRT only casts uint8 pictures, and this graph has {node.op_type} there")


def _mix_without_matmul(model: onnx.ModelProto) -> None:
    """(1, K) @ (K, M), as weights over styles are, -> the sum over K of their products."""
    inferred = shape_inference.infer_shapes(model).graph
    values = (*inferred.input, *inferred.value_info)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    shapes |= {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    axis = numpy_helper.from_array(np.array([0]), "mix_axis")
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        ranks = [shapes.get(name, []) for name in node.input]
        small = node.op_type == "MatMul" and [len(rank) for rank in ranks] == [2, 2]
        if not small or ranks[0][0] != 1:
            nodes.append(node)
            continue
        out = node.output[0]
        nodes += [
            helper.make_node("Transpose", [node.input[0]], [f"{out}_column"], perm=[1, 0]),
            helper.make_node("Mul", [f"{out}_column", node.input[1]], [f"{out}_products"]),
            helper.make_node("ReduceSum", [f"{out}_products", axis.name], [out], keepdims=1),
        ]
    if len(nodes) > len(model.graph.node):
        model.graph.initializer.append(axis)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
