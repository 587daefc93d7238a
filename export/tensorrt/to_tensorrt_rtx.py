"""ONNX to TensorRT-RTX: a portable engine, built on any machine and compiled when it is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from st.export.tensorrt.build import Progress, write_engine
from st.export.tensorrt.job import Settings
from st.export.tensorrt.profile import FrameSizes
from st.runtime.backends.tensorrt_library import check_installed
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.trt_file import Build
from st.runtime.errors import BadInput


def check(settings: Settings) -> None:
    """Raises MissingExtra: no TensorRT-RTX. BadInput: unsupported settings."""
    if settings.any_gpu:
        raise BadInput(
            "any GPU: is for tensorrt; tensorrt-rtx engines run on every GPU from 8.0 on"
        )
    check_installed("tensorrt-rtx")


def write(
    data: bytes,
    metadata: Metadata,
    path: Path,
    asked: FrameSizes,
    settings: Settings,
    progress: Progress,
) -> tuple[Metadata, Build]:
    """Build `path` (NAME.rtx.trt) and its JSON from an ONNX engine, without plugins.

    Raises as `build` does.
    """
    settings = replace(settings, flavor="tensorrt-rtx", plugin=False)
    return write_engine(data, metadata, path, asked, settings, progress)
