"""The requirements of a TensorRT engine, and the alternative where they are not met."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from st import engines
from st.runtime.backends.gpu import find_gpu
from st.runtime.backends.tensorrt_library import load_tensorrt
from st.runtime.engine.describe import format_capabilities, format_capability
from st.runtime.engine.trt_file import SUFFIX, Build, title
from st.runtime.errors import StError, Unavailable, printable


@dataclass(frozen=True)
class Requirement:
    """A requirement of an engine.

    what: its name. met: whether this machine meets it. found: what this machine has, or the reason
    why it does not meet the requirement.
    """

    what: str
    met: bool
    found: str


def requirements(build: Build) -> list[Requirement]:
    """All requirements of an engine, met or not, in the order in which to resolve them."""
    return list(_requirements(build))


def check_fits(build: Build, version: str) -> None:
    """Raises Unavailable unless this machine, with this release of the library, can load an engine.

    Call this before TensorRT loads the engine: its own error has only a number and a source line.
    """
    check_release(build, version)
    check_system(build)
    check_gpu(build)


def check_release(build: Build, version: str) -> str:
    """Return the version. Raises Unavailable unless it is of the same release as the engine."""
    if _release(build.version) != _release(version):
        raise Unavailable(
            f"this engine is for {title(build.flavor)} {build.version}, not {version}: "
            "export it with this release, or install that one"
        )
    return version


def check_system(build: Build) -> str:
    """Return the operating system and processor. Raises Unavailable: the engine is for others."""
    here = system()
    if build.platform not in ("any", here):
        raise Unavailable(
            f"this engine is for {build.platform}, not {here}: export it on this machine"
        )
    return here


def check_gpu(build: Build) -> str:
    """Describe the GPU. Raises Unavailable: no GPU, or the engine was built for others."""
    gpu = find_gpu()
    name = printable(gpu.name, 60)
    if not build.runs_on(gpu.capability):
        raise Unavailable(
            f"this engine is for GPUs of compute capability {format_capabilities(build)}; "
            f"{name} has {format_capability(gpu.capability)}: export it for that one"
        )
    return f"{name}, {format_capability(gpu.capability)}"


def system() -> str:
    return f"{platform.system().lower()}-{platform.machine().lower()}"


def cpu_alternative(engine: Path) -> str:
    """Advice for a machine without a GPU: the .onnx that the engine was built from, if found."""
    name = engine.name.removesuffix(SUFFIX).removesuffix(".rtx").removesuffix(".fp16")
    for other in (engine.with_name(f"{name}.onnx"), engine.with_name(f"{name}.fp16.onnx")):
        if other.is_file():
            return f"on the CPU, {printable(other)} runs"
    if engines.find(name):
        return f"on the CPU, the shipped engine {name} runs"
    return "the .onnx that it was built from runs on the CPU"


def _requirements(build: Build) -> Iterator[Requirement]:
    from st.runtime.backends.tensorrt_library import load_cuda_driver

    library = f"{title(build.flavor)} {build.version}"
    yield _requirement(
        library, lambda: check_release(build, load_tensorrt(build.flavor).__version__)
    )
    yield _requirement(
        "any system" if build.platform == "any" else build.platform, lambda: check_system(build)
    )
    yield _requirement("an NVIDIA driver", _driver)
    yield _requirement(f"a GPU of {format_capabilities(build)}", lambda: check_gpu(build))
    yield _requirement("cuda-python or PyCUDA", lambda: load_cuda_driver().name)


def _driver() -> str:
    gpu = find_gpu()
    return f"for CUDA {gpu.driver // 1000}.{gpu.driver % 1000 // 10}"


def _requirement(what: str, check: Callable[[], str]) -> Requirement:
    try:
        return Requirement(what, True, check())
    except StError as error:
        return Requirement(what, False, printable(error, 500))


def _release(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:3])
