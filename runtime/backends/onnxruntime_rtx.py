"""TensorRT-RTX as ONNX Runtime's provider, from the wheel that carries it as a plugin."""

from __future__ import annotations

import importlib
import threading
from typing import Any

from st.runtime.backends.onnxruntime_library import ort
from st.runtime.errors import MissingExtra, Unavailable, printable
from st.runtime.system.atomic_files import cache_folder

NAME = "NvTensorRTRTXExecutionProvider"
PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"

_registered: list[str] = []
_lock = threading.Lock()


def add_rtx(options: ort.SessionOptions) -> None:
    """Let a session run on the first GPU that TensorRT-RTX has; kernels are kept between runs.

    Raises:
        MissingExtra: the wheel is not installed.
        Unavailable: its libraries do not load (no NVIDIA driver), or there is no such GPU.
    """
    _register()
    devices = [device for device in ort.get_ep_devices() if device.ep_name == NAME]
    if not devices:
        raise Unavailable("TensorRT-RTX finds no GPU: it takes RTX 30 and later; use cpu or cuda")
    options.add_provider_for_devices(devices[:1], _settings())


def _settings() -> dict[str, str]:
    try:
        return {"nv_runtime_cache_path": str(cache_folder() / "rtx-provider")}
    except OSError:  # no home that can be written to: every start compiles
        return {}


def _register() -> None:
    """Once a process: ONNX Runtime refuses a second time."""
    with _lock:
        if _registered:
            return
        try:
            wheel: Any = importlib.import_module(PACKAGE)
        except ModuleNotFoundError:
            raise MissingExtra("the TensorRT-RTX provider", "tensorrt-rtx") from None
        except OSError as error:  # it loads its libraries at its import
            raise Unavailable(f"TensorRT-RTX does not load: {printable(error, 300)}") from None
        try:
            ort.register_execution_provider_library(NAME, wheel.get_library_path())
        except Exception as error:  # ONNX Runtime's errors share no base but Exception
            text = str(error)
            if "libcuda" in text or "nvcuda" in text:
                raise Unavailable(
                    "no NVIDIA driver here, which TensorRT-RTX needs: look at nvidia-smi, or use "
                    "cpu"
                ) from None
            raise Unavailable(f"TensorRT-RTX does not load: {printable(text, 300)}") from None
        _registered.append(NAME)
