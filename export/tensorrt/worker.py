"""The worker process that builds one engine: `python -m st.export.tensorrt.worker JOB`.

TensorRT aborts its process on some graphs, so each build has a process of its own. Standard output
has one JSON object per line: {"start": phase, "of": parent, "steps": n}, {"step": phase, "at": i}
and {"finish": phase}. The last line is {"built": …} or {"error": …, "kind": …}.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from st.export import plugin
from st.export.tensorrt.job import Built, Job, Settings
from st.runtime.backends.gpu import find_gpu
from st.runtime.backends.tensorrt_library import load_tensorrt
from st.runtime.engine.trt_file import title
from st.runtime.errors import BadInput, StError, Unavailable, printable
from st.runtime.system.atomic_files import atomic_write

DEFAULT_CAPABILITIES = (80, 86, 89, 120)  # TensorRT-RTX also runs them on later GPUs
ANY_GPU = (80,)


def build(job: Job, tell: Any) -> Built:
    """Parse, configure, build and write one engine.

    Raises StError: TensorRT rejects the graph or builds no engine; the message quotes TensorRT.
    Unavailable: no GPU, or TensorRT cannot start. BadInput: an unknown compute capability.
    """
    trt = load_tensorrt(job.settings.flavor)
    settings = job.settings
    log = _logger(trt)
    gpu = find_gpu() if settings.flavor == "tensorrt" else None
    builder = _builder(trt, log)
    if settings.plugin:
        plugin.register(*ANY_GPU if settings.any_gpu else (gpu and gpu.capability,))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(job.model.read_bytes()):
        errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise StError(f"{title(settings.flavor)} rejects this graph: {_line(errors)}")
    config = builder.create_builder_config()
    config.progress_monitor = _monitor(trt, tell)
    _set_profile(builder, config, job)
    _set_flags(trt, config, settings)
    capabilities = _set_targets(trt, config, settings, gpu.capability if gpu else None)
    cache = _timing_cache(config, job.timing_cache) if job.timing_cache else None
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise StError(f"{title(settings.flavor)} built no engine: {_line(log.lines)}")
    with atomic_write(job.engine) as part:
        part.write_bytes(engine)
    if cache is not None and job.timing_cache:
        with atomic_write(job.timing_cache) as part:
            part.write_bytes(cache.serialize())
    later = settings.any_gpu or (settings.flavor == "tensorrt-rtx" and not settings.capabilities)
    return Built(
        trt.__version__, capabilities, later, gpu.name if gpu else "", int(network.num_layers)
    )


def _builder(trt: ModuleType, log: Any) -> Any:
    try:
        builder = trt.Builder(log)
    except Exception as error:  # pybind11 raises several types
        raise Unavailable(f"TensorRT cannot start: {_line([*log.lines, str(error)])}") from None
    return builder


def _set_profile(builder: Any, config: Any, job: Job) -> None:
    """Add the optimization profile. Inputs of a fixed size need none: the graph has their shape."""
    if not job.shapes:
        return
    profile = builder.create_optimization_profile()
    for name, shapes in job.shapes.items():
        profile.set_shape(name, *shapes)
    if config.add_optimization_profile(profile) < 0:
        raise StError("TensorRT rejects these sizes")


def _set_flags(trt: ModuleType, config: Any, settings: Settings) -> None:
    if settings.level is not None:
        config.builder_optimization_level = settings.level
    if settings.any_gpu:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS


def _set_targets(
    trt: ModuleType, config: Any, settings: Settings, here: int | None
) -> tuple[int, ...]:
    """Set the GPUs to build for. Returns their compute capabilities."""
    if settings.flavor == "tensorrt":
        assert here is not None
        return ANY_GPU if settings.any_gpu else (here,)
    if not settings.capabilities:
        return DEFAULT_CAPABILITIES
    known = {
        int(name[2:]): value
        for name, value in vars(trt.ComputeCapability).items()
        if name.startswith("SM") and name[2:].isdigit()
    }
    for capability in settings.capabilities:
        if capability not in known:
            shown = ", ".join(map(str, sorted(known)))
            raise BadInput(f"compute capability {capability}: TensorRT-RTX builds for {shown}")
    config.num_compute_capabilities = len(settings.capabilities)
    for i, capability in enumerate(settings.capabilities):
        if not config.set_compute_capability(known[capability], i):
            raise StError(
                f"compute capability {capability}: TensorRT-RTX cannot combine it with the others"
            )
    return settings.capabilities


def _timing_cache(config: Any, path: Path) -> Any:
    """The timing cache of earlier builds, which shortens a build from minutes to seconds."""
    cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")  # the file is from another version or GPU
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _logger(trt: ModuleType) -> Any:
    """A logger that keeps errors for the one-line error message."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            # Without a GPU, the CUDA runtime adds an error of its own to each one.
            if severity <= trt.ILogger.ERROR and "cudaError" not in message:
                self.lines.append(message)

    return Logger()


def _monitor(trt: ModuleType, tell: Any) -> Any:
    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            tell({"start": phase_name, "of": parent_phase or "", "steps": num_steps})

        def step_complete(self, phase_name: str, step: int) -> bool:
            tell({"step": phase_name, "at": step})
            return True

        def phase_finish(self, phase_name: str) -> None:
            tell({"finish": phase_name})

    return Monitor()


def _line(messages: list[str]) -> str:
    """The first message, on one line. The others follow from it."""
    found = [" ".join(m.split()) for m in messages if m.strip()]
    return printable(found[0] if found else "no reason given", 400)


def main(path: str) -> None:
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # keeps what the libraries print out of the JSON lines

    def tell(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")

    try:
        built = build(Job.parse(Path(path).read_text()), tell)
        tell({"built": asdict(built)})
    except StError as error:
        tell({"error": str(error), "kind": type(error).__name__})
    except Exception as error:
        tell({"error": f"{type(error).__name__}: {printable(error, 300)}", "kind": "StError"})


if __name__ == "__main__":
    main(sys.argv[1])
