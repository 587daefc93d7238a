"""CUDA graphs: work that was put on a stream once, put there again by one call.

PyCUDA has no call for capturing a stream, so the driver is called as `nvcuda` or `libcuda` itself.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE: other threads' calls do not disturb a capture


class CaptureError(Exception):
    """This work cannot be captured."""


class CudaGraph:
    """What `work` puts on a stream, to be put there again by `launch`.

    work is called once and must put all of it on that stream; nothing of it runs.
    Raises CaptureError; the stream is as it was.
    """

    def __init__(self, driver: Any, stream: int, work: Callable[[], object]) -> None:
        self._driver, self._graph, self._executable = driver, ctypes.c_void_p(), ctypes.c_void_p()
        if driver.cuStreamBeginCapture_v2(ctypes.c_void_p(stream), THREAD_LOCAL):
            raise CaptureError
        try:
            work()
        except Exception as error:
            raise CaptureError from error
        finally:
            failed = driver.cuStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(self._graph))
        if failed or not self._graph.value:
            raise CaptureError
        if driver.cuGraphInstantiateWithFlags(
            ctypes.byref(self._executable), self._graph, ctypes.c_ulonglong(0)
        ):
            self.free()
            raise CaptureError

    def launch(self, stream: int) -> None:
        """Raises CaptureError with the driver's number when it refuses."""
        if error := self._driver.cuGraphLaunch(self._executable, ctypes.c_void_p(stream)):
            raise CaptureError(f"CUDA error {error}")

    def free(self) -> None:
        """A second call does nothing."""
        if self._executable.value:
            self._driver.cuGraphExecDestroy(self._executable)
        if self._graph.value:
            self._driver.cuGraphDestroy(self._graph)
        self._graph, self._executable = ctypes.c_void_p(), ctypes.c_void_p()
