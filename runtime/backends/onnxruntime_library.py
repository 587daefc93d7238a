"""ONNX Runtime's module, silenced, or a clear error where no extra has installed it.

Import it from here: `from st.runtime.backends.onnxruntime_library import ort`.
"""

from __future__ import annotations

import os

from st.runtime.errors import MissingExtra

# Since 1.29 ONNX Runtime reports its use to Microsoft unless this is set before its import; the
# user's own setting wins. It also spares a background thread that a forked child would wait for.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

try:
    import onnxruntime as ort
except ModuleNotFoundError as error:
    if error.name != "onnxruntime":
        raise
    raise MissingExtra("ONNX Runtime", "cpu", "cuda") from None

__all__ = ["ort"]
