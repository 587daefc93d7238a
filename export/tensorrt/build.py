"""Build a TensorRT engine from an ONNX engine in a separate process."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from st.export import plugin
from st.export.tensorrt.graph import for_tensorrt
from st.export.tensorrt.job import Built, Job, Settings, Shape
from st.export.tensorrt.profile import FrameSizes, Profile, profile_of
from st.runtime import errors
from st.runtime.backends.tensorrt_requirements import system
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.trt_file import Build, title, write_trt
from st.runtime.errors import StError, printable
from st.runtime.system.atomic_files import cache_folder

Progress = Callable[[dict[str, Any]], None]  # a message of st.export.tensorrt.worker
KINDS = {kind.__name__: kind for kind in (StError, errors.BadInput, errors.BadEngine)}
KINDS |= {"Unavailable": errors.Unavailable}


def write_engine(
    data: bytes,
    metadata: Metadata,
    path: Path,
    asked: FrameSizes,
    settings: Settings,
    progress: Progress,
) -> tuple[Metadata, Build]:
    """Build `path` and its JSON from an ONNX engine. Raises as `build` does."""
    engine, metadata, made = build(data, metadata, profile_of(metadata, asked), settings, progress)
    write_trt(path, engine, metadata, made)
    return metadata, made


def build(
    data: bytes,
    metadata: Metadata,
    profile: Profile,
    settings: Settings,
    progress: Progress,
) -> tuple[bytes, Metadata, Build]:
    """Build an engine; return its bytes, metadata and build description.

    settings.plugin: use st's own kernels where the graph has statistics that they compute.
    Raises StError: TensorRT refuses the graph, or the build process dies. BadEngine: the graph has
    operators that TensorRT lacks. Unavailable: no library, or no GPU where one is needed.
    """
    metadata = _sized(metadata, profile)
    model = for_tensorrt(data, metadata, turing=75 in settings.capabilities)
    if settings.plugin:
        model = plugin.prepare(model)
        settings = replace(settings, plugin=plugin.has_nodes(model))
    with tempfile.TemporaryDirectory(prefix="st-build-") as name:
        folder = Path(name)
        job = Job(
            folder / "model.onnx",
            folder / "engine.trt",
            _shapes(metadata, profile),
            settings,
            _timing_cache(settings),
        )
        job.model.write_bytes(model)
        (folder / "job.json").write_text(job.dump())
        built = _run(folder / "job.json", settings, progress)
        engine = job.engine.read_bytes()
    return engine, metadata, _described(engine, profile, settings, built)


def _shapes(metadata: Metadata, profile: Profile) -> dict[str, tuple[Shape, Shape, Shape]]:
    """Minimum, optimum and maximum shapes of the inputs that vary with the frame size."""
    if profile.fixed:
        return {}
    minimum, optimum, maximum = profile.minimum, profile.optimum, profile.maximum

    def three(shape: Callable[[int, int], Shape]) -> tuple[Shape, Shape, Shape]:
        return shape(*minimum), shape(*optimum), shape(*maximum)

    shapes = {
        "content": three(lambda height, width: (1, height, width, 3)),
        "style": three(lambda height, width: (1, height, width, 3)),
        "noise": three(lambda height, width: (1, metadata.noise, height, width)),
        "hints": three(lambda height, width: (1, 3, height, width)),
    }
    for k, size in enumerate(metadata.maps):
        shapes[f"map_{k}"] = three(
            lambda height, width, size=size: (1, size[0], height // size[1], width // size[1])
        )
    return {name: shapes[name] for name in metadata.inputs if name in shapes}


def _sized(metadata: Metadata, profile: Profile) -> Metadata:
    if profile.fixed:
        return replace(metadata, fixed_size=profile.minimum)
    return replace(metadata, sizes=(profile.minimum, profile.maximum))


def _described(engine: bytes, profile: Profile, settings: Settings, built: Built) -> Build:
    portable = settings.flavor == "tensorrt-rtx"
    return Build(
        flavor=settings.flavor,
        version=built.version,
        capabilities=built.capabilities,
        later=built.later,
        platform="any" if portable else system(),
        profile=(profile.minimum, profile.optimum, profile.maximum),
        size=len(engine),
        sha256=hashlib.sha256(engine).hexdigest(),
        plugin=settings.plugin,
        device=built.device,
    )


def _run(job: Path, settings: Settings, progress: Progress) -> Built:
    command = [sys.executable, "-P", "-m", "st.export.tensorrt.worker", str(job)]
    last: dict[str, Any] = {}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
        assert process.stdout is not None
        try:
            for line in process.stdout:
                last = json.loads(line)
                progress(last)
            process.wait()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        said.seek(0)
        words = deque(said.read().decode(errors="replace").split("\n"), maxlen=20)
    if "built" in last:
        values = last["built"]
        return Built(**values | {"capabilities": tuple(values["capabilities"])})
    if "error" in last:
        raise KINDS.get(last["kind"], StError)(last["error"])
    raise StError(_death(settings, process.returncode, [w for w in words if w.strip()]))


def _death(settings: Settings, code: int, words: list[str]) -> str:
    """The message for a build process that died without reporting an error."""
    how = f"exit code {code}"
    if code < 0:
        how = signal.Signals(-code).name
    why = f": {printable(words[-1], 300)}" if words else ""
    return f"{title(settings.flavor)} ended its process on this graph ({how}){why}"


def _timing_cache(settings: Settings) -> Path | None:
    """The timing cache's file; TensorRT-RTX does not time kernels when it builds."""
    return cache_folder() / "tensorrt.timing" if settings.flavor == "tensorrt" else None
