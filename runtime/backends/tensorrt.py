"""The backend for TensorRT engines (`NAME.trt`), of TensorRT and of TensorRT-RTX.

Pictures are copied to and from the GPU as bytes; the graph converts them to floats and back.
cuda-python or PyCUDA manages memory, streams and copies.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st.runtime.backends.base import NO_BUFFERS, Port, check_process
from st.runtime.backends.cuda_driver import CudaError, OutOfGpuMemory
from st.runtime.backends.execution_slot import ExecutionSlot
from st.runtime.backends.gpu import DRIVER
from st.runtime.backends.tensorrt_cache import RuntimeCache
from st.runtime.backends.tensorrt_library import load_cuda_driver, load_tensorrt
from st.runtime.backends.tensorrt_requirements import check_fits
from st.runtime.engine.trt_file import read_trt, title
from st.runtime.errors import BadEngine, StError, Unavailable, printable
from st.runtime.system.fork_safety import keep_in_children

DEVICE = "tensorrt"
SLOTS = 2  # concurrent runs: one computes while the frame of the other is copied
PROFILE = 0
Shape = tuple[int, ...]


class TensorRtBackend:
    """See st.runtime.backends.base.Backend. Two runs overlap; further ones wait."""

    def __init__(self, path: Path) -> None:
        """Open an engine with the library that built it.

        Raises:
            BadInput, BadEngine: no such file, or damaged, or without its description.
            Unavailable: no GPU, or the engine is for another GPU, system or release of the library.
            MissingExtra: TensorRT is not installed, or neither cuda-python nor PyCUDA is.
        """
        data, self.metadata, self._build = read_trt(path)
        self.device = DEVICE
        self._process = os.getpid()
        self._trt = load_tensorrt(self._build.flavor)
        check_fits(self._build, self._trt.__version__)
        self._cuda = load_cuda_driver()
        self._log = _logger(self._trt)
        self._turn = threading.Condition()
        self._free: list[ExecutionSlot] = []
        self._slots = 0
        self._closed = False
        self._runtime: Any = None
        self._engine: Any = None
        self._config: Any = None
        self._cache: RuntimeCache | None = None
        try:
            self._cuda.retain()
            with self._current():
                self._load(data)
        except BaseException as error:
            self._runtime = self._engine = self._config = self._cache = None
            self._cuda.release()
            if isinstance(error, CudaError):
                raise Unavailable(f"the GPU cannot be used: {error}") from None
            raise
        keep_in_children(self)

    def _load(self, data: bytes) -> None:
        self._runtime = self._trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise Unavailable(f"{title(self._build.flavor)} does not load it: {self._log.last()}")
        self.inputs: Mapping[str, Port]
        self.outputs: Mapping[str, Port]
        self.inputs, self.outputs = _ports(self._trt, self._engine)
        self._sizes = _profile(self._engine, self.inputs)
        self._config, self._cache = self._configure()

    def run(
        self,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Sequence[str],
        buffers: Mapping[str, NDArray[Any]] = NO_BUFFERS,
    ) -> list[NDArray[Any]]:
        check_process(self._process)
        self._check_sizes(inputs)
        try:
            with self._current():
                return self._run(inputs, outputs)
        except (MemoryError, OutOfGpuMemory):
            raise StError("out of GPU memory: try a smaller picture") from None
        except (CudaError, RuntimeError) as error:
            raise StError(f"the engine failed on this picture: {printable(error, 300)}") from None

    def _run(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> list[NDArray[Any]]:
        slot = self._take()
        try:
            results, first = slot.run(inputs, outputs)
        finally:
            self._give_back(slot)
        cache = self._cache  # None after another thread's close
        if first and cache is not None:
            cache.save()
        return results

    def close(self) -> None:
        if os.getpid() != self._process:
            return
        with self._turn:
            if self._closed:
                return
            self._closed = True
            self._turn.notify_all()
            while len(self._free) < self._slots:
                self._turn.wait()
        with self._current():
            for slot in self._free:
                slot.close()
            if self._cache is not None:
                self._cache.save()
            self._free = []
            self._cache = self._config = self._engine = self._runtime = None
        self._cuda.release()

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Make the GPU's primary context current on this thread."""
        self._cuda.push()
        try:
            yield
        finally:
            self._cuda.pop()

    def _configure(self) -> tuple[Any, RuntimeCache | None]:
        """Settings and kernel cache for TensorRT-RTX, which compiles kernels at run time."""
        if self._build.flavor != "tensorrt-rtx":
            return None, None
        config = self._engine.create_runtime_config()
        config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return config, RuntimeCache(config, self._build)

    def _take(self) -> ExecutionSlot:
        with self._turn:
            while not self._closed:
                if self._free:
                    return self._free.pop()
                if self._slots < SLOTS:
                    self._slots += 1
                    break
                self._turn.wait()
            else:
                raise StError("this engine is closed")
        try:
            return self._open_slot()
        except BaseException:
            with self._turn:
                self._slots -= 1
                self._turn.notify()
            raise

    def _open_slot(self) -> ExecutionSlot:
        settings = () if self._config is None else (self._config,)
        context = self._engine.create_execution_context(*settings)
        if context is None:
            raise StError(f"out of GPU memory, or TensorRT cannot run it here: {self._log.last()}")
        dtypes = {n: np.dtype(p.dtype) for n, p in (*self.inputs.items(), *self.outputs.items())}
        driver = _driver() if self._config is None else None
        return ExecutionSlot(self._cuda, context, dtypes, driver, self._log.last)

    def _give_back(self, slot: ExecutionSlot) -> None:
        with self._turn:
            self._free.append(slot)
            self._turn.notify()

    def _check_sizes(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Checked here because TensorRT's own message for such a size is unclear."""
        for name, (least, most) in self._sizes.items():
            shape = inputs[name].shape
            if not all(a <= n <= b for a, n, b in zip(least, shape, most, strict=True)):
                raise BadEngine(
                    f"this engine was built for {name} of {_sides(least)} to {_sides(most)}, not "
                    f"{_sides(shape)}: export it with other sizes"
                )


def _driver() -> Any:
    name = DRIVER.get("win32" if os.name == "nt" else "linux", "")
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _ports(trt: Any, engine: Any) -> tuple[dict[str, Port], dict[str, Port]]:
    inputs: dict[str, Port] = {}
    outputs: dict[str, Port] = {}
    for i in range(engine.num_io_tensors):
        name = engine.get_tensor_name(i)
        sizes = tuple(None if n < 0 else int(n) for n in engine.get_tensor_shape(name))
        try:
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name
        except TypeError:
            raise BadEngine(f"its {printable(name, 40)} has a dtype that NumPy lacks") from None
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        (inputs if is_input else outputs)[name] = Port(dtype, sizes)
    return inputs, outputs


def _profile(engine: Any, inputs: Mapping[str, Port]) -> dict[str, tuple[Shape, Shape]]:
    """The smallest and the largest shape of each input with a dynamic size."""
    sizes: dict[str, tuple[Shape, Shape]] = {}
    for name in (name for name, port in inputs.items() if None in port.shape):
        least, _, most = engine.get_tensor_profile_shape(name, PROFILE)
        sizes[name] = tuple(map(int, least)), tuple(map(int, most))
    return sizes


def _logger(trt: Any) -> Any:
    class Logger(trt.ILogger):
        """Stores the last error message, and prints nothing."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.line = "no error message"

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.line = printable(" ".join(message.split()), 300)

        def last(self) -> str:
            return self.line

    return Logger()


def _sides(shape: Sequence[int]) -> str:
    """(1, H, W, 3) -> "W×H" for messages; all sides of other shapes."""
    return f"{shape[2]}×{shape[1]}" if len(shape) == 4 else "×".join(map(str, shape))
