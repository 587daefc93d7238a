"""Peak matrix-multiplication rate of this machine, which bounds the speed of any engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np


def matrix_rate(size: int = 1024, seconds: float = 1.0) -> float:
    """Peak GFLOP/s of NumPy's float32 product of two size × size matrices, for `seconds`."""
    random = np.random.default_rng(0)
    left, right = random.random((2, size, size), dtype=np.float32)
    out = np.empty_like(left)
    return _rate(lambda: np.matmul(left, right, out=out), size, seconds)


def bfloat16_rate(size: int = 1024, seconds: float = 1.0) -> float | None:
    """Peak GFLOP/s of OpenVINO's bfloat16 product of two size × size matrices.

    None if OpenVINO is not installed or the processor does not support bfloat16.
    """
    try:
        import openvino as ov
        from openvino import opset13 as ops
    except ImportError:
        return None
    core = ov.Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return None
    random = np.random.default_rng(0)
    left = random.random((size, size), dtype=np.float32)
    given = ops.parameter([size, size], np.float32)
    # A chain of products, so that the conversion from and to float32 takes little of the time.
    product, layers = given, 8
    for _ in range(layers):
        weights = random.random((size, size), dtype=np.float32) / size
        product = ops.matmul(product, ops.constant(weights), False, False)
    hints = {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "LATENCY"}
    make: Any = ov.Model  # the type stub declares another class
    model = make([product], [given], "products")
    run = core.compile_model(model, "CPU", hints).create_infer_request()
    return layers * _rate(lambda: run.infer([left]), size, seconds)


def _rate(multiply: Callable[[], object], size: int, seconds: float) -> float:
    best, end = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end or best == float("inf"):
        multiply()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9
