"""A stand-in for TensorRT, on machines without a GPU: TensorRT-RTX under TensorRT's name.

Both have one API. What TensorRT alone has is recorded and not done: see `sitecustomize` beside.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from st.runtime.backends.tensorrt_library import preload_rtx

preload_rtx()

import tensorrt_rtx_bindings as _rtx  # noqa: E402
from tensorrt_rtx_bindings import *  # noqa: E402, F403

__version__ = "11.4.0.106"


class Builder(_rtx.Builder):
    """Writes what it was told to ST_TEST_RECORD, then builds as TensorRT-RTX does."""

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        cache = config.get_timing_cache()
        told = {
            "level": config.builder_optimization_level,
            "timing cache": cache is not None,
            "profiles": config.num_optimization_profiles,
        }
        Path(os.environ["ST_TEST_RECORD"]).write_text(json.dumps(told))
        config.hardware_compatibility_level = _rtx.HardwareCompatibilityLevel.NONE
        return super().build_serialized_network(network, config)
