"""CUDA graphs: capture the work of a stream once, then launch all of it with one call.

PyCUDA does not wrap stream capture. So the driver library (`nvcuda`, `libcuda`) is called directly,
which also works beside cuda-python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE: calls of other threads do not invalidate the capture


class CaptureError(Exception):
    """This work cannot be captured."""


class CudaGraph:
    """The captured work of a function, to be launched repeatedly.

    work: called once; must enqueue everything on `stream`. The capture itself executes nothing.
    Raises CaptureError: the work cannot be captured; the stream is unchanged.
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
        """Raises CaptureError, with the driver's error number: the launch failed."""
        if error := self._driver.cuGraphLaunch(self._executable, ctypes.c_void_p(stream)):
            raise CaptureError(f"CUDA error {error}")

    def free(self) -> None:
        """Destroy the graph. A second call does nothing."""
        if self._executable.value:
            self._driver.cuGraphExecDestroy(self._executable)
        if self._graph.value:
            self._driver.cuGraphDestroy(self._graph)
        self._graph, self._executable = ctypes.c_void_p(), ctypes.c_void_p()
