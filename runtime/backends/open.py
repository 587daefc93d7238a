"""Open an engine on a device, and check its graph against its metadata."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from st.runtime.backends.base import Backend, Port
from st.runtime.engine.metadata import COLORIZER, PALETTE, Metadata
from st.runtime.engine.onnx_file import read_engine
from st.runtime.engine.trt_file import describe_trt, onnx_source
from st.runtime.errors import (
    BadControl,
    BadEngine,
    MissingExtra,
    StError,
    StWarning,
    Unavailable,
    printable,
)
from st.runtime.system.cpus import usable_cpus

ONNX_DEVICES = ("cpu", "cuda", "rtx", "openvino", "openvino-bf16")
TRT_DEVICES = ("tensorrt",)
REAL_DEVICES = (*ONNX_DEVICES, *TRT_DEVICES)
AUTOMATIC = ("auto", "fastest")  # chosen for single pictures, and for many of one size
DEVICES = (*AUTOMATIC, *REAL_DEVICES)
# What "auto" and "fastest" select for .onnx engines: the first that runs. OpenVINO takes longer to
# open. On x86-64 it paints faster than ONNX Runtime; on other processors this was not measured.
FOR_PICTURES = ("cuda", "cpu", "openvino")
ON_X86 = platform.machine() in ("x86_64", "AMD64")
FOR_VIDEOS = ("cuda", "openvino", "cpu") if ON_X86 else FOR_PICTURES
STYLIZER_KINDS = ("stylizer", "texture", "colorizer")  # kinds that a Stylizer accepts


def open_engine(
    path: Path, device: str = "auto", threads: int | None = None, kind: str = "stylizer"
) -> Backend:
    """Open an engine file with the backend for its suffix; other backends are not imported.

    device: one of `DEVICES`. "auto" selects tensorrt for a `.trt` file, else cuda if ONNX Runtime
        supports it, else cpu. "fastest" is for many pictures of one size, such as the frames of a
        video: it prefers openvino to cpu on x86-64, where it is installed and runs the engine. It
        takes half a second longer to open, and 0.6 to 0.8 of the time for each picture.
    threads: processor threads of a run; by default all that this process may use.
    kind: the required kind, one of `st.runtime.engine.metadata.KINDS`; "stylizer" also accepts a
        texture engine and a colorizer.

    Raises:
        BadInput: no such file.
        BadEngine: not an engine, another kind, or a graph that contradicts its metadata.
        BadControl: unknown device, or invalid number of threads.
        Unavailable: the device is not available. MissingExtra: its library is not installed.
    """
    if device not in DEVICES:
        raise BadControl(f"unknown device {printable(device)!r}: choose from {', '.join(DEVICES)}")
    if threads is not None and threads < 1:
        raise BadControl(f"{threads} threads: give 1 or more")
    threads = threads or usable_cpus()
    name = printable(path)
    devices = devices_of(path)
    if device not in (*AUTOMATIC, *devices):
        raise BadControl(
            f"{name}: {path.suffix} engines run on {', '.join(devices)}, not on {device}"
        )
    data = b""
    if path.suffix == ".trt":
        metadata = describe_trt(path)[0]
        _warn_if_outdated(path, metadata)
    else:
        data, metadata = read_engine(path)
    if metadata.kind != kind and (kind != "stylizer" or metadata.kind not in STYLIZER_KINDS):
        raise BadEngine(f"{name}: a {metadata.kind} engine, not a {kind}")
    try:
        if device in AUTOMATIC and path.suffix == ".onnx":
            order = FOR_VIDEOS if device == "fastest" else FOR_PICTURES
            backend = _first_that_runs(path, data, metadata, order, threads)
        else:
            backend = _load(path, data, metadata, device, threads)
        try:
            check_ports(metadata, backend.inputs, backend.outputs)
        except BadEngine:
            backend.close()
            raise
    except BadEngine as error:
        raise BadEngine(f"{name}: {error}") from None
    except Unavailable as error:
        if path.suffix == ".trt":
            from st.runtime.backends.tensorrt_requirements import cpu_alternative

            error.args = (f"{name}: {error}; {cpu_alternative(path)}",)
        raise
    return backend


def _warn_if_outdated(path: Path, metadata: Metadata) -> None:
    """Warn if the .onnx source of a TensorRT engine is newer and has other weights."""
    source = onnx_source(path)
    try:
        if source.stat().st_mtime <= path.stat().st_mtime:
            return
        newer = read_engine(source)[1]
    except (OSError, StError):
        return
    if newer.fingerprint != metadata.fingerprint:
        warnings.warn(
            f"{printable(path)}: {printable(source.name)} beside it is newer and from another "
            "network; build the TensorRT engine again to use that one",
            StWarning,
            stacklevel=3,
        )


def _load(path: Path, data: bytes, metadata: Metadata, device: str, threads: int) -> Backend:
    """Open an engine with the backend of its device. data: the contents of an .onnx file."""
    if path.suffix == ".trt":
        from st.runtime.backends.tensorrt import TensorRtBackend

        return TensorRtBackend(path)
    if device.startswith("openvino"):
        from st.runtime.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(data, metadata, device, threads)
    from st.runtime.backends.onnxruntime import OrtBackend

    return OrtBackend(data, metadata, device, threads)


def _first_that_runs(
    path: Path, data: bytes, metadata: Metadata, order: Sequence[str], threads: int
) -> Backend:
    """Open an engine on the first device of `order` that is available and runs it.

    Warns if OpenVINO is installed, but does not run the engine.
    """
    errors: dict[str, StError] = {}
    for device in order:
        try:
            backend = _load(path, data, metadata, device, threads)
        except Unavailable as error:
            errors[device] = error
        except BadEngine as error:
            if device != "openvino":
                raise
            errors[device] = error
        else:
            skipped = errors.get("openvino")
            if skipped and not isinstance(skipped, MissingExtra):
                line = f"OpenVINO does not run this engine, so ONNX Runtime does: {skipped}"
                warnings.warn(line, StWarning, stacklevel=4)
            return backend
    raise errors["cpu"]


def devices_of(path: Path) -> tuple[str, ...]:
    """The devices that run engines with this suffix. Raises BadEngine: not an engine's suffix."""
    if path.suffix == ".trt":
        return TRT_DEVICES
    if path.suffix == ".onnx":
        return ONNX_DEVICES
    raise BadEngine(f"{printable(path)}: not an engine; st runs .onnx and .trt files")


def expected_ports(metadata: Metadata) -> tuple[dict[str, Port], dict[str, Port]]:
    """(inputs, outputs) that a graph with this metadata must have."""
    height, width = metadata.fixed_size or (None, None)
    picture = Port("uint8", (None, height, width, 3))
    enlarged = [side and side * metadata.scale for side in (height, width)]
    every = {
        "content": picture,
        "style": picture,
        "weights": Port("float32", (1, len(metadata.styles))),
        "code": Port("float32", (1, metadata.code_size)),
        "strength": Port("float32", (1,)),
        "noise": Port("float32", (1, metadata.noise, height, width)),
        "hints": Port("float32", (1, 3, height, width)),
        "palette": Port("float32", (1, PALETTE)),
        "moments": Port("float32", (2, sum(metadata.norms))),
        "margins": Port("int64", (4,)),
    }
    maps = [Port("float32", (1, channels, None, None)) for channels, _ in metadata.maps]
    every |= {f"map_{k}": port for k, port in enumerate(maps)}
    inputs = {name: every[name] for name in metadata.inputs}
    if metadata.kind == "style-encoder":
        return inputs, {"code": every["code"]}
    if metadata.kind == "colorizer":
        return inputs, {"chroma": Port("float32", (None, 2, height, width))}
    norms = {f"moments_{i}": Port("float32", (2, n)) for i, n in enumerate(metadata.norms)}
    made = {f"new_map_{k}": port for k, port in enumerate(maps)}
    return inputs, {"stylized": Port("uint8", (None, *enlarged, 3)), **norms, **made}


def check_ports(
    metadata: Metadata, inputs: Mapping[str, Port], outputs: Mapping[str, Port]
) -> None:
    """Raises BadEngine unless the inputs and outputs of a graph match its metadata."""
    needed, more = {
        "stylizer": ({"content"}, {"weights", "code", "strength", "noise"}),
        "texture": ({"noise"}, {"weights"}),
        "colorizer": (COLORIZER, set()),
        "style-encoder": ({"style"}, set()),
        "tiles": ({"content", "moments", "margins"}, {"weights", "code", "strength"}),
    }[metadata.kind]
    needed = needed | {f"map_{k}" for k in range(len(metadata.maps))}
    allowed = needed | more
    named = set(metadata.inputs)
    if not needed <= named <= allowed or {"weights", "code"} <= named:
        raise BadEngine(
            f"a {metadata.kind} engine cannot have the inputs {', '.join(metadata.inputs)}"
        )
    for what, actual, expected in zip(
        ("input", "output"), (inputs, outputs), expected_ports(metadata), strict=True
    ):
        if set(actual) != set(expected):
            shown = printable(", ".join(sorted(actual)), 100)
            raise BadEngine(f"its graph has the {what}s {shown}; expected {_list(expected)}")
        for name, port in actual.items():
            if not _fits(port, expected[name]):
                raise BadEngine(
                    f"its {what} {name} is {_shown(port)}; expected {_shown(expected[name])}"
                )


def _fits(actual: Port, expected: Port) -> bool:
    """A dynamic size is accepted where a fixed one is expected, but not the other way round."""
    if actual.dtype != expected.dtype or len(actual.shape) != len(expected.shape):
        return False
    sizes = list(zip(actual.shape, expected.shape, strict=True))
    if len(sizes) == 4 and sizes[0] == (1, None):  # batch size 1: the Stylizer sends one picture
        sizes = sizes[1:]
    return all(have == want or (have is None and want is not None) for have, want in sizes)


def _shown(port: Port) -> str:
    return f"{port.dtype} ({', '.join('any' if n is None else str(n) for n in port.shape)})"


def _list(names: Mapping[str, Port]) -> str:
    return ", ".join(sorted(names)) if len(names) <= 8 else f"{len(names)} others"
