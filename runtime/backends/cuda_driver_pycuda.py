"""The CUDA driver through PyCUDA, which is built from source with the CUDA toolkit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from st.runtime.backends.cuda_driver import Array, CudaError, DeviceMemory, OutOfGpuMemory, Stream
from st.runtime.errors import printable


class PyCudaDriver:
    """See CudaDriver. module: pycuda.driver. Its memory and streams free themselves."""

    name = "PyCUDA"

    def __init__(self, module: Any) -> None:
        self._module = module
        self._primary: Any = None
        self._released = False
        with self._errors():
            module.init()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Convert PyCUDA's errors to CudaError."""
        try:
            yield
        except self._module.MemoryError as error:
            raise OutOfGpuMemory(printable(error)) from None
        except self._module.Error as error:
            raise CudaError(printable(error)) from None

    def retain(self) -> None:
        with self._errors():
            self._primary = self._module.Device(0).retain_primary_context()

    def release(self) -> None:
        if self._primary is not None and not self._released:
            self._released = True
            with contextlib.suppress(self._module.Error):
                self._primary.detach()

    def push(self) -> None:
        if self._released:
            raise CudaError("this engine is closed")
        with self._errors():
            self._primary.push()

    def pop(self) -> None:
        with self._errors():
            self._primary.pop()

    def create_stream(self) -> Stream:
        with self._errors():
            return _Stream(self._module.Stream(), self._errors)

    def allocate(self, size: int) -> DeviceMemory:
        with self._errors():
            return self._module.mem_alloc(size)

    def allocate_pinned(self, size: int) -> Array:
        with self._errors():
            return self._module.pagelocked_empty(size, np.uint8)

    def copy_to_device(self, target: DeviceMemory, source: Array, stream: Stream) -> None:
        with self._errors():
            self._module.memcpy_htod_async(target, source, _own(stream))

    def copy_to_host(self, target: Array, source: DeviceMemory, stream: Stream) -> None:
        with self._errors():
            self._module.memcpy_dtoh_async(target, source, _own(stream))


class _Stream:
    def __init__(self, stream: Any, errors: Any) -> None:
        self.stream, self._errors = stream, errors
        self.handle = int(stream.handle)

    def synchronize(self) -> None:
        with self._errors():
            self.stream.synchronize()


def _own(stream: Any) -> Any:
    return stream.stream
