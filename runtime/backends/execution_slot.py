"""A stream, an execution context and buffers on host and device, for one run at a time on a GPU.

Two slots make a double buffer: one computes while the frame of the other is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from st.runtime.backends.cuda_driver import Array, CudaDriver
from st.runtime.backends.cuda_graph import CaptureError, CudaGraph
from st.runtime.errors import BadEngine, StError, printable

BEFORE_CAPTURE = 2  # runs of one size: the first allocates and compiles, and cannot be captured


class ExecutionSlot:
    """Not thread-safe. The caller must make the CUDA context current.

    context: an IExecutionContext. dtypes: the NumPy dtype of every tensor.
    driver: the CUDA driver library, used to capture graphs; None if TensorRT captures them itself.
    last_error: returns the last error message of TensorRT.
    """

    def __init__(
        self,
        cuda: CudaDriver,
        context: Any,
        dtypes: Mapping[str, np.dtype[Any]],
        driver: Any,
        last_error: Callable[[], str],
    ) -> None:
        self._cuda, self._driver = cuda, driver
        self._context: Any = context
        self._dtypes, self._last_error = dtypes, last_error
        self._stream: Any = cuda.create_stream()
        self._host: dict[str, Array] = {}  # pinned, for asynchronous copies
        self._device: dict[str, Any] = {}
        self._views: dict[str, Array] = {}  # the used part of `_host`, in the tensor's shape
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._asked: tuple[str, ...] = ()
        self._runs = 0  # with these shapes and outputs
        self._graph: CudaGraph | None = None

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> tuple[list[Array], bool]:
        """Return the outputs, and whether this was the first run with these sizes."""
        shapes = {name: array.shape for name, array in inputs.items()}
        first = shapes != self._shapes
        if first or self._asked != tuple(outputs):
            self._drop_graph()
            if first:
                self._shapes = {}  # stays unknown if the next line raises
                self._resize(shapes)
            self._shapes, self._asked, self._runs = shapes, tuple(outputs), 0
        for name, array in inputs.items():
            np.copyto(self._views[name], array)
        self._start()
        self._stream.synchronize()
        self._runs += 1
        return [self._views[name].copy() for name in outputs], first

    def _resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise BadEngine(
                    f"the engine does not accept {name} of size {'×'.join(map(str, shape))}: "
                    f"{self._last_error()}"
                )
        for name, dtype in self._dtypes.items():
            shape = tuple(int(n) for n in self._context.get_tensor_shape(name))
            if min(shape, default=1) < 0:
                raise BadEngine(f"the engine does not define the size of its output {name}")
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            if name not in self._host or self._host[name].nbytes < size:
                self._allocate(name, max(size, 1))
            if not self._context.set_tensor_address(name, int(self._device[name])):
                raise StError(f"TensorRT rejected the buffer for {name}: {self._last_error()}")
            self._views[name] = self._host[name][:size].view(dtype).reshape(shape)

    def _allocate(self, name: str, size: int) -> None:
        if name in self._device:
            self._device.pop(name).free()
        self._host.pop(name, None)
        self._views.pop(name, None)  # a view would keep the pinned memory
        self._device[name] = self._cuda.allocate(size)
        self._host[name] = self._cuda.allocate_pinned(size)

    def _start(self) -> None:
        """Enqueue copy in, compute and copy out, as one graph launch once it has been captured."""
        if self._graph is None and self._driver is not None and self._runs == BEFORE_CAPTURE:
            try:
                self._graph = CudaGraph(self._driver, self._stream.handle, self._enqueue)
            except CaptureError:  # some layers cannot be captured: keep enqueuing them
                self._driver = None
        if self._graph is None:
            self._enqueue()
            return
        try:
            self._graph.launch(self._stream.handle)
        except CaptureError as error:
            raise StError(f"the engine failed on this picture: {error}") from None

    def _enqueue(self) -> None:
        for name in self._shapes:
            self._cuda.copy_to_device(self._device[name], self._views[name], self._stream)
        if not self._context.execute_async_v3(self._stream.handle):
            raise StError(
                f"the engine failed on this picture: {printable(self._last_error(), 300)}"
            )
        for name in self._asked:
            self._cuda.copy_to_host(self._views[name], self._device[name], self._stream)

    def _drop_graph(self) -> None:
        if self._graph is not None:
            self._graph.free()
            self._graph = None

    def close(self) -> None:
        self._drop_graph()
        for memory in self._device.values():
            memory.free()
        self._device, self._host, self._views = {}, {}, {}
        self._context = self._stream = None
