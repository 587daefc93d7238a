"""The CUDA driver through cuda-python, whose wheel cuda-bindings needs no compiler.

A function of `cuda.bindings.driver` returns (CUresult, value), or (CUresult,) without a value.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from st.runtime.backends.cuda_driver import Array, CudaError, DeviceMemory, OutOfGpuMemory, Stream
from st.runtime.errors import printable


class BindingsDriver:
    """See CudaDriver. module: cuda.bindings.driver."""

    name = "cuda-python"

    def __init__(self, module: Any) -> None:
        self._module = module
        self._device: Any = None
        self._context: Any = None
        self.call("cuInit", 0)

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of the driver and return its value. Raises CudaError."""
        try:
            result, *values = getattr(self._module, function)(*arguments)
        except (AttributeError, RuntimeError, ValueError) as error:
            # No driver, a driver that is too old for the function, or an unknown error code.
            raise CudaError(f"{function} failed: {printable(error)}") from None
        if int(result) == 0:
            return values[0] if values else None
        message = f"{function} failed: {getattr(result, 'name', f'CUDA error {int(result)}')}"
        if result == self._module.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            raise OutOfGpuMemory(message)
        raise CudaError(message)

    def clean_up(self, function: str, *arguments: Any) -> None:
        """Call a function that frees something, from any thread and from a destructor.

        Errors are ignored: after a fault on the GPU every call fails, and the fault was reported.
        """
        if self._context is None:  # released, together with its memory
            return
        with contextlib.suppress(Exception):
            self.push()
            try:
                self.call(function, *arguments)
            finally:
                self.pop()

    def retain(self) -> None:
        self._device = self.call("cuDeviceGet", 0)
        self._context = self.call("cuDevicePrimaryCtxRetain", self._device)

    def release(self) -> None:
        if self._context is not None:
            self._context = None
            with contextlib.suppress(CudaError):
                self.call("cuDevicePrimaryCtxRelease", self._device)

    def push(self) -> None:
        if self._context is None:
            raise CudaError("this engine is closed")
        self.call("cuCtxPushCurrent", self._context)

    def pop(self) -> None:
        self.call("cuCtxPopCurrent")

    def create_stream(self) -> Stream:
        return _Stream(self)

    def allocate(self, size: int) -> DeviceMemory:
        return _DeviceMemory(self, size)

    def allocate_pinned(self, size: int) -> Array:
        return np.asarray(_PinnedMemory(self, size))

    def copy_to_device(self, target: DeviceMemory, source: Array, stream: Stream) -> None:
        pointers = self._module.CUdeviceptr(int(target)), source.ctypes.data
        handle = self._module.CUstream(stream.handle)
        self.call("cuMemcpyHtoDAsync", *pointers, source.nbytes, handle)

    def copy_to_host(self, target: Array, source: DeviceMemory, stream: Stream) -> None:
        pointers = target.ctypes.data, self._module.CUdeviceptr(int(source))
        handle = self._module.CUstream(stream.handle)
        self.call("cuMemcpyDtoHAsync", *pointers, target.nbytes, handle)


class _Stream:
    def __init__(self, driver: BindingsDriver) -> None:
        self._driver, self._stream = driver, None
        self._stream = driver.call("cuStreamCreate", 0)
        self.handle = int(self._stream)

    def synchronize(self) -> None:
        self._driver.call("cuStreamSynchronize", self._stream)

    def __del__(self) -> None:
        if self._stream is not None:
            self._driver.clean_up("cuStreamDestroy", self._stream)


class _DeviceMemory:
    def __init__(self, driver: BindingsDriver, size: int) -> None:
        self._driver, self._pointer = driver, None
        self._pointer = driver.call("cuMemAlloc", size)

    def __int__(self) -> int:
        return int(self._pointer)  # pyright: ignore[reportArgumentType]

    def free(self) -> None:
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            self._driver.clean_up("cuMemFree", pointer)

    __del__ = free


class _PinnedMemory:
    """NumPy reads `__array_interface__`, and its arrays keep this object."""

    def __init__(self, driver: BindingsDriver, size: int) -> None:
        self._driver, self._pointer = driver, None
        self._pointer = driver.call("cuMemHostAlloc", size, 0)
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": (size,),
            "data": (int(self._pointer), False),  # False: not read-only
        }

    def __del__(self) -> None:
        if self._pointer is not None:
            self._driver.clean_up("cuMemFreeHost", self._pointer)
