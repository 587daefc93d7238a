"""The TensorRT-RTX execution provider of ONNX Runtime, loaded from its plugin wheel."""

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
    """Add the first TensorRT-RTX GPU to a session. Compiled kernels are cached on disk.

    Raises:
        MissingExtra: the wheel is not installed.
        Unavailable: its libraries do not load (no NVIDIA driver), or there is no such GPU.
    """
    _register()
    devices = [device for device in ort.get_ep_devices() if device.ep_name == NAME]
    if not devices:
        raise Unavailable("TensorRT-RTX found no GPU; it needs RTX 30 or later: use cpu or cuda")
    options.add_provider_for_devices(devices[:1], _settings())


def _settings() -> dict[str, str]:
    try:
        return {"nv_runtime_cache_path": str(cache_folder() / "rtx-provider")}
    except OSError:  # no writable cache folder: every start compiles again
        return {}


def _register() -> None:
    """Register the provider once per process; ONNX Runtime rejects a second registration."""
    with _lock:
        if _registered:
            return
        try:
            wheel: Any = importlib.import_module(PACKAGE)
        except ModuleNotFoundError:
            raise MissingExtra("the TensorRT-RTX provider", "tensorrt-rtx") from None
        except OSError as error:  # the wheel loads its libraries when imported
            raise Unavailable(f"cannot load TensorRT-RTX: {printable(error, 300)}") from None
        try:
            ort.register_execution_provider_library(NAME, wheel.get_library_path())
        except Exception as error:  # ONNX Runtime's errors share no base but Exception
            text = str(error)
            if "libcuda" in text or "nvcuda" in text:
                raise Unavailable(
                    "TensorRT-RTX found no NVIDIA driver: check nvidia-smi, or use cpu"
                ) from None
            raise Unavailable(f"cannot load TensorRT-RTX: {printable(text, 300)}") from None
        _registered.append(NAME)
