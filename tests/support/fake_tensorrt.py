"""A fake of TensorRT, PyCUDA and the CUDA driver that records its calls.

It proves the order of calls, memory, shapes, threads and errors, and nothing about TensorRT itself.
It is as strict as CUDA where a mistake would otherwise show only on a GPU: work on a stream runs
when someone waits for it, device memory is separate from host memory, a context must be current
on the thread, and a graph launches exactly the captured work. The engine's bytes are an .onnx
model, which ONNX Runtime runs when the stream reaches it.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime


class Machine:
    """One fake GPU and its libraries. calls: the recorded calls, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.memory: dict[int, np.ndarray] = {}
        self.pinned: list[np.ndarray] = []
        self.streams: dict[int, Stream] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.addresses = itertools.count(0x1000, 0x1000)
        self.thread = threading.local()
        self.out_of_memory = False
        self.fails: dict[str, str] = {}  # a function of the driver: its CUresult
        self.refuses_capture = False
        self.refuses_to_run = False
        self.least, self.most = 16, 256
        self.running = 0
        self.max_running = 0
        self.together: threading.Barrier | None = None
        self.lock = threading.Lock()
        self.cuda = _cuda(self)
        self.trt = _trt(self)
        self.driver = _driver(self)

    def told(self, *names: str) -> list[tuple[Any, ...]]:
        return [call for call in self.calls if call[0] in names]

    def record(self, *call: Any) -> None:
        assert getattr(self.thread, "depth", 0) > 0, f"{call[0]} with no context on this thread"
        self.calls.append(call)


class Stream:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.handle = next(machine.addresses)
        self.work: list[Callable[[], None]] = []
        self.captured: list[Callable[[], None]] | None = None
        machine.streams[self.handle] = self
        machine.record("Stream")

    def put(self, work: Callable[[], None]) -> None:
        (self.work if self.captured is None else self.captured).append(work)

    def synchronize(self) -> None:
        assert self.captured is None, "waiting for a stream breaks its capture"
        self.machine.record("synchronize", self.handle)
        work, self.work = self.work, []
        for one in work:
            one()


def _cuda(machine: Machine) -> Any:
    class Error(Exception):
        pass

    class OutOfMemory(Error):
        pass

    class Allocation:
        def __init__(self, size: int) -> None:
            self.address = next(machine.addresses)
            machine.memory[self.address] = np.full(size, 0xAB, np.uint8)

        def __int__(self) -> int:
            return self.address

        def free(self) -> None:
            machine.record("free", self.address)
            del machine.memory[self.address]

    class Context:
        def push(self) -> None:
            machine.thread.depth = getattr(machine.thread, "depth", 0) + 1

        def pop(self) -> None:
            machine.thread.depth -= 1

        def detach(self) -> None:
            machine.calls.append(("detach",))

    class Device:
        def __init__(self, index: int) -> None:
            assert index == 0

        def retain_primary_context(self) -> Context:
            return Context()

    def mem_alloc(size: int) -> Allocation:
        machine.record("mem_alloc", size)
        if machine.out_of_memory:
            raise OutOfMemory("cuMemAlloc failed: out of memory")
        return Allocation(size)

    def pagelocked_empty(size: int, dtype: Any) -> np.ndarray:
        machine.record("pagelocked_empty", size)
        made = np.full(size, 0xCD, dtype)
        machine.pinned.append(made)
        return made

    def is_pinned(array: np.ndarray) -> bool:
        return any(np.shares_memory(array, pinned) for pinned in machine.pinned)

    def memcpy_htod_async(device: Allocation, host: np.ndarray, stream: Stream) -> None:
        assert is_pinned(host), "a copy from memory that is not pinned is not asynchronous"
        machine.record("htod", host.nbytes, stream.handle)
        target = machine.memory[int(device)]
        stream.put(lambda: copy(target, host.reshape(-1).view(np.uint8)))

    def memcpy_dtoh_async(host: np.ndarray, device: Allocation, stream: Stream) -> None:
        assert is_pinned(host), "a copy to memory that is not pinned is not asynchronous"
        machine.record("dtoh", host.nbytes, stream.handle)
        source = machine.memory[int(device)]
        stream.put(lambda: copy(host.reshape(-1).view(np.uint8), source))

    return SimpleNamespace(
        Device=Device,
        Error=Error,
        MemoryError=OutOfMemory,
        Stream=lambda: Stream(machine),
        init=lambda: None,
        mem_alloc=mem_alloc,
        memcpy_dtoh_async=memcpy_dtoh_async,
        memcpy_htod_async=memcpy_htod_async,
        pagelocked_empty=pagelocked_empty,
    )


def copy(target: np.ndarray, source: np.ndarray) -> None:
    size = min(target.size, source.size)
    target[:size] = source[:size]


def _trt(machine: Machine) -> Any:
    class ILogger:
        ERROR = 1

    class Cache:
        def __init__(self) -> None:
            self.kernels = b""

        def deserialize(self, data: bytes) -> bool:
            machine.record("cache.deserialize", bytes(data))
            if not bytes(data).startswith(b"kernels"):
                return False
            self.kernels = bytes(data)
            return True

        def serialize(self) -> bytes:
            machine.record("cache.serialize")
            return self.kernels

    class Config:
        cuda_graph_strategy: Any = None
        cache: Cache | None = None

        def create_runtime_cache(self) -> Cache:
            return Cache()

        def set_runtime_cache(self, cache: Cache) -> bool:
            self.cache = cache
            return True

    class Context:
        def __init__(self, engine: Engine, config: Config | None) -> None:
            machine.record("context", config)
            self.engine, self.config = engine, config
            self.shapes: dict[str, tuple[int, ...]] = {}
            self.addresses: dict[str, int] = {}

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            machine.record("set_input_shape", name, tuple(shape))
            self.shapes[name] = tuple(shape)
            return True

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            if name in self.shapes:
                return self.shapes[name]
            content = self.shapes[self.engine.picture]
            free = iter(content[1:3])
            return tuple(
                n if n > 0 else (1 if i == 0 else next(free))
                for i, n in enumerate(self.engine.get_tensor_shape(name))
            )

        def set_tensor_address(self, name: str, address: int) -> bool:
            machine.record("set_tensor_address", name, address)
            assert address in machine.memory
            self.addresses[name] = address
            return True

        def execute_async_v3(self, stream: int) -> bool:
            machine.record("execute", stream)
            if machine.refuses_to_run:
                self.engine.log.log(ILogger.ERROR, "the fake\nrefuses to run")
                return False
            shapes = {name: self.get_tensor_shape(name) for name in self.engine.types}
            addresses = dict(self.addresses)
            machine.streams[stream].put(lambda: self.compute(shapes, addresses))
            return True

        def compute(self, shapes: dict[str, Any], addresses: dict[str, int]) -> None:
            with machine.lock:
                machine.running += 1
                machine.max_running = max(machine.max_running, machine.running)
            if machine.together is not None:
                machine.together.wait(timeout=30)
            inputs = {}
            for name in self.engine.inputs:
                dtype = np.dtype(self.engine.types[name])
                size = int(np.prod(shapes[name])) * dtype.itemsize
                raw = machine.memory[addresses[name]][:size]
                inputs[name] = raw.copy().view(dtype).reshape(shapes[name])
            names = list(self.engine.outputs)
            for name, value in zip(names, self.engine.session.run(names, inputs), strict=True):
                raw = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
                copy(machine.memory[addresses[name]], raw)
            if self.config is not None and self.config.cache is not None:
                self.config.cache.kernels += b"" if self.config.cache.kernels else b"kernels"
            with machine.lock:
                machine.running -= 1

    class Engine:
        def __init__(self, data: bytes, log: Any) -> None:
            self.log = log
            self.session = onnxruntime.InferenceSession(data)
            kinds = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
            tensors = [*self.session.get_inputs(), *self.session.get_outputs()]
            self.inputs = [t.name for t in self.session.get_inputs()]
            self.outputs = [t.name for t in self.session.get_outputs()]
            self.types = {t.name: kinds[t.type] for t in tensors}
            self.shapes = {
                t.name: tuple(n if isinstance(n, int) else -1 for n in t.shape) for t in tensors
            }
            self.picture = next(n for n in self.inputs if n in ("content", "style"))
            for name, shape in self.shapes.items():  # like real engines: one picture per run
                if shape[0] == -1:
                    self.shapes[name] = (1, *shape[1:])
            self.num_io_tensors = len(tensors)

        def get_tensor_name(self, i: int) -> str:
            return [*self.inputs, *self.outputs][i]

        def get_tensor_mode(self, name: str) -> str:
            return "INPUT" if name in self.inputs else "OUTPUT"

        def get_tensor_dtype(self, name: str) -> str:
            return self.types[name]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return self.shapes[name]

        def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
            return [(1, n, n, 3) for n in (machine.least, machine.least, machine.most)]

        def create_runtime_config(self) -> Config:
            return Config()

        def create_execution_context(self, config: Config | None = None) -> Context:
            return Context(self, config)

    class Runtime:
        def __init__(self, log: Any) -> None:
            self.log = log

        def deserialize_cuda_engine(self, data: bytes) -> Engine | None:
            machine.record("deserialize", len(data))
            if data.startswith(b"damaged"):
                self.log.log(ILogger.ERROR, "Magic tag does not match")
                return None
            return Engine(data, self.log)

    return SimpleNamespace(
        CudaGraphStrategy=SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole graph"),
        ILogger=ILogger,
        Runtime=Runtime,
        TensorIOMode=SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT"),
        __version__="11.4.0.106",
        nptype=np.dtype,
    )


def _driver(machine: Machine) -> Any:
    """The graph functions of libcuda: integers in and out, 0 for success."""

    def begin(stream: ctypes.c_void_p, mode: int) -> int:
        assert mode == 1, "another thread's calls would break a global capture"
        machine.record("begin capture", stream.value)
        if machine.refuses_capture:
            return 900
        machine.streams[stream.value or 0].captured = []
        return 0

    def end(stream: ctypes.c_void_p, graph: Any) -> int:
        own = machine.streams[stream.value or 0]
        made = next(machine.addresses)
        machine.graphs[made], own.captured = own.captured or [], None
        graph._obj.value = made
        machine.record("end capture", own.handle)
        return 0

    def instantiate(executable: Any, graph: ctypes.c_void_p, flags: Any) -> int:
        executable._obj.value = graph.value
        return 0

    def launch(executable: ctypes.c_void_p, stream: ctypes.c_void_p) -> int:
        machine.record("launch", stream.value)
        for work in machine.graphs[executable.value or 0]:
            machine.streams[stream.value or 0].put(work)
        return 0

    def destroy(graph: ctypes.c_void_p) -> int:
        machine.record("destroy", graph.value)
        return 0

    return SimpleNamespace(
        cuGraphDestroy=destroy,
        cuGraphExecDestroy=destroy,
        cuGraphInstantiateWithFlags=instantiate,
        cuGraphLaunch=launch,
        cuStreamBeginCapture_v2=begin,
        cuStreamEndCapture=end,
    )
