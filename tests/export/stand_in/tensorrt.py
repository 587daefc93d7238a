"""TensorRT-RTX under TensorRT's name, for machines without a GPU. Both have the same API. Calls
that only TensorRT has are recorded; see `sitecustomize` in this folder."""

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
    """Records its settings in ST_TEST_RECORD, then builds with TensorRT-RTX."""

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
