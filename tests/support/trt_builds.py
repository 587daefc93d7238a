"""Descriptions of TensorRT engines for tests that do not run them."""

from __future__ import annotations

import hashlib
from typing import Any

from st.runtime.engine.trt_file import Build


def rtx_build(data: bytes, **changes: Any) -> Build:
    """The description of a TensorRT-RTX engine with these bytes; `changes` replace its fields."""
    values: dict[str, Any] = {
        "flavor": "tensorrt-rtx",
        "version": "1.7.1.116",
        "capabilities": (80, 86),
        "later": True,
        "platform": "any",
        "profile": ((16, 16), (360, 640), (720, 1280)),
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return Build(**values | changes)
