"""Descriptions of TensorRT, FP16 and INT8 engines, for the commands."""

from __future__ import annotations

from st.runtime.engine.fields import Size
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.trt_file import Build, title


def describe_build(build: Build) -> list[str]:
    """Library, sizes, GPUs and extras of a TensorRT engine."""
    words = [f"{title(build.flavor)} {build.version}", format_profile(build)]
    words.append("GPUs of " + format_capabilities(build))
    if build.plugin:
        words.append("with st's kernels")
    return words


def format_profile(build: Build) -> str:
    least, best, most = (format_size(size) for size in build.profile)
    if least == most:
        return f"{least} only"
    return f"{least} to {most}, best at {best}"


def format_capabilities(build: Build) -> str:
    named = ", ".join(format_capability(c) for c in build.capabilities)
    return f"{format_capability(min(build.capabilities))} and later" if build.later else named


def describe_rounding(metadata: Metadata) -> list[str]:
    """The difference between an FP16 or INT8 engine and its FP32 original."""
    if metadata.rounding_error is None:
        return [metadata.precision.upper()]
    largest, mean = metadata.rounding_error
    name, unit = metadata.precision.upper(), error_unit(metadata)
    return [f"{name} differs from FP32 by at most {largest:.2g} (mean {mean:.2g}) {unit}"]


def error_unit(metadata: Metadata) -> str:
    """The unit of an engine's rounding error, as in "differs by … of 255"."""
    return "of its largest entry" if metadata.relative else "of 255"


def format_capability(capability: int) -> str:
    """89 -> 8.9"""
    return f"{capability // 10}.{capability % 10}"


def format_size(size: Size) -> str:
    """(height, width) -> WIDTH×HEIGHT"""
    return f"{size[1]}×{size[0]}"
