"""Import TensorRT's modules, `tensorrt` and `tensorrt_rtx`, and a library for the CUDA driver.

The bindings of TensorRT-RTX look for their shared libraries on the loader's path. They are located
in the installed wheels and loaded first, so that no LD_LIBRARY_PATH is needed.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from st.runtime.backends.cuda_driver import CudaDriver
from st.runtime.backends.cuda_driver_bindings import BindingsDriver
from st.runtime.backends.cuda_driver_pycuda import PyCudaDriver
from st.runtime.engine.trt_file import Flavor, title
from st.runtime.errors import DISTRIBUTION, MissingExtra, Unavailable, printable

MODULES = {
    "tensorrt": ("tensorrt",),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
# Libraries that call the CUDA driver, the preferred one first: it is installed without a compiler.
CUDA_DRIVERS = (("cuda.bindings.driver", BindingsDriver), ("pycuda.driver", PyCudaDriver))
# Packages whose folders hold TensorRT-RTX's libraries, and the libraries, each before those that
# need it.
RTX_PACKAGES = ("tensorrt_rtx_libs", "onnxruntime_ep_nv_tensorrt_rtx")
RTX_LIBRARIES = {
    "linux": ("libcudart.so.*", "libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*"),
    "win32": ("cudart64_*.dll", "tensorrt_rtx_*.dll", "tensorrt_onnxparser_rtx_*.dll"),
}


def load_tensorrt(flavor: Flavor) -> ModuleType:
    """The module of a flavor; both have one API.

    Raises MissingExtra: not installed. Unavailable: its shared libraries do not load.
    """
    name = check_installed(flavor)
    if flavor == "tensorrt-rtx":
        preload_rtx()
    try:
        return importlib.import_module(name)
    except ImportError as error:  # a shared library that it needs
        raise Unavailable(
            f"{title(flavor)} does not load: {printable(error, 300)}; "
            f"pip install '{DISTRIBUTION}[{flavor}]' installs it"
        ) from None


def check_installed(flavor: Flavor) -> str:
    """The name of a flavor's module; nothing is loaded. Raises MissingExtra: there is none."""
    for name in MODULES[flavor]:
        if importlib.util.find_spec(name) is not None:
            return name
    raise MissingExtra(title(flavor), flavor)


def load_cuda_driver() -> CudaDriver:
    """The CUDA driver, initialized, through cuda-python where it is installed, else PyCUDA.

    Raises MissingExtra: neither is installed. Unavailable: there is no driver or no GPU.
    """
    for module, driver in CUDA_DRIVERS:
        try:
            return driver(importlib.import_module(module))
        except Exception as error:  # ImportError: no driver; the library's own: no GPU
            if not _is_absent(module, error):
                raise Unavailable(f"{driver.name} finds no GPU: {printable(error)}") from None
    raise MissingExtra("running a TensorRT engine", "cuda-python", "pycuda")


def _is_absent(module: str, error: Exception) -> bool:
    """Whether an import failed because the module or its package is not installed."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return missing is not None and f"{module}.".startswith(f"{missing}.")


def preload_rtx() -> list[Path]:
    """Load TensorRT-RTX's shared libraries out of the wheels that carry them; which they were.

    Nothing where no wheel does: then they are on the loader's path, or nowhere.
    """
    for package in RTX_PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            found = [_newest(Path(folder), p) for p in RTX_LIBRARIES.get(sys.platform, ())]
            libraries = [path for path in found if path is not None]
            if len(libraries) < 2:  # cudart may come from elsewhere
                continue
            for path in libraries:
                try:
                    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
                except OSError as error:
                    raise Unavailable(
                        f"TensorRT-RTX does not load: {printable(error, 300)}"
                    ) from None
            return libraries
    return []


def _newest(folder: Path, pattern: str) -> Path | None:
    return max(folder.glob(pattern), default=None)
