"""The calls of the CUDA driver that playing an engine needs, whichever library makes them."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from st.runtime.errors import StError

Array = NDArray[Any]


class CudaError(StError):
    """A call of the CUDA driver failed. The message names the call and the error."""


class OutOfGpuMemory(CudaError):
    """An allocation failed for lack of memory."""


class Stream(Protocol):
    handle: int  # the CUstream

    def synchronize(self) -> None:
        """Wait until all work on this stream is done. Raises CudaError, also for that work."""
        ...


class DeviceMemory(Protocol):
    """int(memory) is its address on the GPU. Unreferenced memory is freed."""

    def __int__(self) -> int: ...

    def free(self) -> None:
        """Never raises."""
        ...


class CudaDriver(Protocol):
    """The driver on the first GPU. Every method raises CudaError unless it says otherwise.

    Only `retain`, `push` and `release` may be called without a current context on this thread.
    """

    name: str  # of the library that makes the calls

    def retain(self) -> None:
        """Create the GPU's primary context, or share it where it exists. Called once, first."""
        ...

    def release(self) -> None:
        """Give the primary context up; nothing else may be called after it. Never raises."""
        ...

    def push(self) -> None:
        """Make the primary context current on this thread, until `pop`."""
        ...

    def pop(self) -> None: ...

    def create_stream(self) -> Stream: ...

    def allocate(self, size: int) -> DeviceMemory:
        """size: in bytes, at least 1. Raises OutOfGpuMemory, too."""
        ...

    def allocate_pinned(self, size: int) -> Array:
        """Page-locked host memory, (size,) of uint8; freed with the last array that views it."""
        ...

    def copy_to_device(self, target: DeviceMemory, source: Array, stream: Stream) -> None:
        """Put a copy of all of `source`, pinned and contiguous, on a stream."""
        ...

    def copy_to_host(self, target: Array, source: DeviceMemory, stream: Stream) -> None:
        """Put a copy that fills `target`, pinned and contiguous, on a stream."""
        ...
