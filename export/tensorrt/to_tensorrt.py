"""ONNX to TensorRT: an engine for this GPU, or with `any_gpu` for every GPU from 8.0 on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from st.export.tensorrt.build import Progress, write_engine
from st.export.tensorrt.job import Settings
from st.export.tensorrt.profile import FrameSizes
from st.runtime.backends.gpu import find_gpu
from st.runtime.backends.tensorrt_library import check_installed
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.trt_file import Build
from st.runtime.errors import BadInput, Unavailable


def check(settings: Settings) -> None:
    """Raises MissingExtra: no TensorRT. Unavailable: no GPU. BadInput: unsupported settings."""
    if settings.capabilities:
        raise BadInput(
            "compute capability: is for tensorrt-rtx; tensorrt builds for the GPU of this machine, "
            "or for any GPU from 8.0 on"
        )
    try:
        find_gpu()
    except Unavailable as error:
        raise Unavailable(
            f"TensorRT builds on the GPU that will run the engine: {error}. The format "
            "tensorrt-rtx builds without a GPU, and the .onnx runs on the CPU"
        ) from None
    check_installed("tensorrt")


def write(
    data: bytes,
    metadata: Metadata,
    path: Path,
    asked: FrameSizes,
    settings: Settings,
    progress: Progress,
) -> tuple[Metadata, Build]:
    """Build `path` (NAME.trt) and its JSON from an ONNX engine. Raises as `build` does."""
    settings = replace(settings, flavor="tensorrt")
    return write_engine(data, metadata, path, asked, settings, progress)
