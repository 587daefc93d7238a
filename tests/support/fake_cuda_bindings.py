"""A fake of `cuda.bindings.driver` on the fake machine, with typed handles and tuples like the
original."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.support import fake_tensorrt

if TYPE_CHECKING:
    from tests.support.fake_tensorrt import Machine


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_ILLEGAL_ADDRESS = 700


class Handle:
    def __init__(self, value: int) -> None:
        self.value = value

    def __int__(self) -> int:
        return self.value


class CUdevice(Handle): ...


class CUcontext(Handle): ...


class CUstream(Handle): ...


class CUdeviceptr(Handle): ...


def bytes_at(pointer: int, size: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))


def fake_bindings(machine: Machine) -> Any:
    """machine.fails: {name of a failing function: its CUresult}."""
    pinned: dict[int, np.ndarray] = {}

    def retain(device: CUdevice) -> CUcontext:
        assert type(device) is CUdevice
        return CUcontext(next(machine.addresses))

    def push(context: CUcontext) -> None:
        assert type(context) is CUcontext
        machine.thread.depth = getattr(machine.thread, "depth", 0) + 1

    def pop() -> CUcontext:
        machine.thread.depth -= 1
        return CUcontext(0)

    def allocate(size: int) -> CUdeviceptr:
        machine.record("mem_alloc", size)
        address = next(machine.addresses)
        machine.memory[address] = np.full(size, 0xAB, np.uint8)
        return CUdeviceptr(address)

    def free(pointer: CUdeviceptr) -> None:
        machine.record("free", int(pointer))
        del machine.memory[int(pointer)]

    def allocate_pinned(size: int, flags: int) -> int:
        machine.record("pagelocked_empty", size)
        made = np.full(size, 0xCD, np.uint8)
        pinned[made.ctypes.data] = made
        machine.pinned.append(made)
        return made.ctypes.data

    def free_pinned(pointer: int) -> None:
        machine.record("free pinned", pointer)
        pinned.pop(pointer)[:] = 0xDD  # kept, so that a late reader sees this and does not crash

    def host(pointer: int, size: int) -> np.ndarray:
        assert any(p <= pointer and pointer + size <= p + len(a) for p, a in pinned.items())
        return bytes_at(pointer, size)

    def to_device(target: CUdeviceptr, source: int, size: int, stream: CUstream) -> None:
        assert (type(target), type(stream)) == (CUdeviceptr, CUstream)
        machine.record("htod", size, int(stream))
        memory, array = machine.memory[int(target)], host(source, size)
        machine.streams[int(stream)].put(lambda: fake_tensorrt.copy(memory, array))

    def to_host(target: int, source: CUdeviceptr, size: int, stream: CUstream) -> None:
        assert (type(source), type(stream)) == (CUdeviceptr, CUstream)
        machine.record("dtoh", size, int(stream))
        memory, array = machine.memory[int(source)], host(target, size)
        machine.streams[int(stream)].put(lambda: fake_tensorrt.copy(array, memory))

    functions: dict[str, Callable[..., Any]] = {
        "cuInit": lambda flags: None,
        "cuDeviceGet": CUdevice,
        "cuDevicePrimaryCtxRetain": retain,
        "cuDevicePrimaryCtxRelease": lambda device: machine.calls.append(("detach",)),
        "cuCtxPushCurrent": push,
        "cuCtxPopCurrent": pop,
        "cuStreamCreate": lambda flags: CUstream(fake_tensorrt.Stream(machine).handle),
        "cuStreamDestroy": lambda stream: machine.record("stream freed", int(stream)),
        "cuStreamSynchronize": lambda stream: machine.streams[int(stream)].synchronize(),
        "cuMemAlloc": allocate,
        "cuMemFree": free,
        "cuMemHostAlloc": allocate_pinned,
        "cuMemFreeHost": free_pinned,
        "cuMemcpyHtoDAsync": to_device,
        "cuMemcpyDtoHAsync": to_host,
    }

    def function(name: str) -> Callable[..., tuple[Any, ...]]:
        def call(*arguments: Any) -> tuple[Any, ...]:
            if machine.out_of_memory and name == "cuMemAlloc":
                return CUresult.CUDA_ERROR_OUT_OF_MEMORY, None
            if name in machine.fails:
                return CUresult[machine.fails[name]], None
            value = functions[name](*arguments)
            return (CUresult.CUDA_SUCCESS,) if value is None else (CUresult.CUDA_SUCCESS, value)

        return call

    return SimpleNamespace(
        CUresult=CUresult,
        CUdeviceptr=CUdeviceptr,
        CUstream=CUstream,
        **{name: function(name) for name in functions},
    )
