"""Lossless float16 storage of weights."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MIN_VALUES = 4096  # values in a weight from which a cast node pays off


def halve_exact(model: onnx.ModelProto) -> None:
    """Store large float32 weights that are exact in float16 as float16 with a cast.

    Runtimes fold the casts at load time, so only the file gets smaller. Weights are exact where the
    method rounds them in training (`st.train.methods.prediction`).
    """
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < MIN_VALUES:
            continue
        values = numpy_helper.to_array(weight)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def widen(model: onnx.ModelProto) -> None:
    """Undo `halve_exact`, for tools that do not fold casts."""
    halves = {t.name: t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16}
    kept = []
    for node in model.graph.node:
        weight = halves.get(node.input[0]) if node.op_type == "Cast" else None
        if weight is None or node.attribute[0].i != TensorProto.FLOAT:
            kept.append(node)
            continue
        values = numpy_helper.to_array(weight).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
    used = {name for node in kept for name in node.input}
    unused = [t for t in model.graph.initializer if t.name in halves and t.name not in used]
    for tensor in unused:
        model.graph.initializer.remove(tensor)
    del model.graph.node[:]
    model.graph.node.extend(kept)
