"""Which precision is faster on this processor: float32 or bfloat16.

Only some processors gain from bfloat16. AMD's with AVX-512 do, and Intel's with AMX. On an Intel
Xeon with AVX-512 and without AMX, convolutions in bfloat16 took 1.5 times as long. What a processor
supports does not tell, so a small network is timed.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

CHANNELS, HEIGHT, WIDTH, LAYERS = 48, 60, 80, 6  # of the timed network: 15 to 60 ms in all
TURNS = 3
SLOWER = 1.15  # from here on, the difference is larger than the noise of a busy machine


def bfloat16_is_slower() -> bool:
    """Time convolutions in both precisions, by the processor time of one thread."""
    import openvino

    core, model = openvino.Core(), _network(openvino)
    requests = {name: _request(core, model, name) for name in ("f32", "bf16")}
    picture = np.random.default_rng(1).random((1, CHANNELS, HEIGHT, WIDTH), np.float32)
    seconds = dict.fromkeys(requests, float("inf"))
    for _ in range(1 + TURNS):  # the first turn only warms up, and is the slowest
        for name, request in requests.items():
            began = time.process_time()
            request.infer([picture], share_inputs=True)
            seconds[name] = min(seconds[name], time.process_time() - began)
    return seconds["bf16"] > SLOWER * seconds["f32"]


def _network(ov: Any) -> Any:
    op, random = ov.opset13, np.random.default_rng(0)
    given = values = op.parameter([1, CHANNELS, HEIGHT, WIDTH], np.float32)
    for _ in range(LAYERS):
        kernel = random.standard_normal((CHANNELS, CHANNELS, 3, 3)).astype(np.float32) / CHANNELS
        sides = [1, 1]
        values = op.relu(op.convolution(values, op.constant(kernel), sides, sides, sides, sides))
    return ov.Model([values], [given], "trial")


def _request(core: Any, model: Any, precision: str) -> Any:
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    return core.compile_model(model, "CPU", settings).create_infer_request()
