"""Import ONNX Runtime without telemetry, or raise MissingExtra.

Import it from here: `from st.runtime.backends.onnxruntime_library import ort`.
"""

from __future__ import annotations

import os

from st.runtime.errors import MissingExtra

# Since 1.29 ONNX Runtime sends telemetry to Microsoft unless this is set before the import. A
# setting of the user takes precedence. It also avoids a thread that would block a forked child.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

try:
    import onnxruntime as ort
except ModuleNotFoundError as error:
    if error.name != "onnxruntime":
        raise
    raise MissingExtra("ONNX Runtime", "cpu", "cuda") from None

__all__ = ["ort"]
