"""Query the NVIDIA driver for a GPU of this machine."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

from st.runtime.errors import Unavailable

DRIVER = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU.

    name: the driver's name of the device. capability: compute capability; 89 means 8.9.
    driver: the newest CUDA version that the driver supports; 13000 means 13.0.
    """

    name: str
    capability: int
    driver: int


def find_gpu() -> Gpu:
    """The first GPU of the NVIDIA driver. Raises Unavailable: no driver, or no GPU."""
    name = DRIVER.get(sys.platform)
    if name is None:
        raise Unavailable("NVIDIA GPUs are not supported on this operating system")
    try:
        cuda = ctypes.CDLL(name)
    except OSError:
        raise Unavailable(f"no NVIDIA driver found ({name} is missing): check nvidia-smi") from None
    if error := cuda.cuInit(0):
        raise Unavailable(f"the NVIDIA driver finds no GPU (CUDA error {error})")
    device, number = ctypes.c_int(), ctypes.c_int()
    if cuda.cuDeviceGetCount(ctypes.byref(number)) or not number.value:
        raise Unavailable("the NVIDIA driver finds no GPU")
    label = ctypes.create_string_buffer(200)
    major, minor, driver = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    failed = (
        cuda.cuDeviceGet(ctypes.byref(device), 0)
        or cuda.cuDeviceGetName(label, len(label), device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, device)
        or cuda.cuDriverGetVersion(ctypes.byref(driver))
    )
    if failed:
        raise Unavailable(f"the NVIDIA driver cannot describe the GPU (CUDA error {failed})")
    capability = 10 * major.value + minor.value
    return Gpu(label.value.decode(errors="replace"), capability, driver.value)
