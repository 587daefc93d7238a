"""The CUDA driver calls that running an engine needs, as an interface with two implementations."""

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
    """GPU memory at the address int(memory). It is freed when it is no longer referenced."""

    def __int__(self) -> int: ...

    def free(self) -> None:
        """Never raises."""
        ...


class CudaDriver(Protocol):
    """The driver of the first GPU. Every method raises CudaError unless documented otherwise.

    Only `retain`, `push` and `release` may be called without a current context on this thread.
    """

    name: str  # of the Python library

    def retain(self) -> None:
        """Create the GPU's primary context, or share an existing one. Call this once, first."""
        ...

    def release(self) -> None:
        """Release the primary context. No other method may be called after that. Never raises."""
        ...

    def push(self) -> None:
        """Make the primary context current on this thread, until `pop`."""
        ...

    def pop(self) -> None: ...

    def create_stream(self) -> Stream: ...

    def allocate(self, size: int) -> DeviceMemory:
        """size: in bytes, at least 1. Also raises OutOfGpuMemory."""
        ...

    def allocate_pinned(self, size: int) -> Array:
        """Page-locked host memory, (size,) of uint8; freed with the last array that views it."""
        ...

    def copy_to_device(self, target: DeviceMemory, source: Array, stream: Stream) -> None:
        """Enqueue a copy of `source`, pinned and contiguous, on a stream."""
        ...

    def copy_to_host(self, target: Array, source: DeviceMemory, stream: Stream) -> None:
        """Enqueue a copy that fills `target`, pinned and contiguous, on a stream."""
        ...
