"""Count the multiply-adds of an engine: those of its convolutions and matrix products."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st.runtime.backends.onnxruntime_library import ort
from st.runtime.engine.onnx_file import read_engine
from st.runtime.painting.frames import fitted_size


def multiply_adds(model: bytes, feed: Mapping[str, NDArray[Any]]) -> int:
    """Multiply-adds of one run of an ONNX model on these inputs.

    ONNX Runtime runs the unoptimized graph once and reports the shapes of each node. Only
    convolutions and matrix products are counted.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.enable_profiling = True
    # The profile does not report the shapes of prepacked weights.
    options.add_session_config_entry("session.disable_prepacking", "1")
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder, "run"))
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        session.run(None, dict(feed))
        events = json.loads(Path(session.end_profiling()).read_text())
    return sum(_of_node(event["args"]) for event in events if event.get("cat") == "Node")


def _of_node(node: dict[str, Any]) -> int:
    name = node.get("op_name", "")
    if name not in ("Conv", "ConvTranspose", "MatMul", "Gemm") or "output_type_shape" not in node:
        return 0
    inputs, outputs = _shapes(node["input_type_shape"]), _shapes(node["output_type_shape"])
    made = math.prod(outputs[0])
    if name == "Conv":  # weights: (M, C / groups, kernel…)
        return made * math.prod(inputs[1][1:])
    if name == "ConvTranspose":  # weights: (C, M / groups, kernel…)
        return math.prod(inputs[0]) * math.prod(inputs[1][1:])
    if name == "Gemm":  # either factor may be transposed, so only their sizes are known
        rows, columns = outputs[0]
        return made * math.isqrt(math.prod(inputs[0]) * math.prod(inputs[1]) // (rows * columns))
    return made * inputs[0][-1]


def _shapes(told: list[dict[str, list[int]]]) -> list[list[int]]:
    return [shape for one in told for shape in one.values()]


def zeros_for(path: Path, height: int, width: int) -> dict[str, NDArray[Any]]:
    """Zero-filled inputs for an .onnx engine and a picture of this size. Raises BadEngine."""
    data, metadata = read_engine(path)
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    kinds = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}
    feed: dict[str, NDArray[Any]] = {}
    for given in session.get_inputs():
        shape = [side if isinstance(side, int) else 1 for side in given.shape]
        if given.name == "content":
            shape[1:3] = height, width
        elif given.name == "noise":
            shape[2:4] = height, width
        feed[given.name] = np.zeros(shape, kinds[given.type])
    size = fitted_size(metadata, height, width)
    return feed if size == (height, width) else zeros_for(path, *size)
