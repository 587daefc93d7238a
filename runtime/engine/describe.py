"""What commands say of TensorRT and FP16 engines."""

from __future__ import annotations

from st.runtime.engine.metadata import Metadata, Size
from st.runtime.engine.trt_file import Build, title


def build_words(build: Build) -> list[str]:
    """Library, sizes, GPUs and extras of a TensorRT engine."""
    words = [f"{title(build.flavor)} {build.version}", profile_words(build)]
    words.append("GPUs of " + capability_words(build))
    if build.plugin:
        words.append("with st's kernels")
    return words


def profile_words(build: Build) -> str:
    least, best, most = (size_words(size) for size in build.profile)
    if least == most:
        return f"{least} only"
    return f"{least} to {most}, best at {best}"


def capability_words(build: Build) -> str:
    named = ", ".join(dotted(c) for c in build.capabilities)
    return f"{dotted(min(build.capabilities))} and later" if build.later else named


def rounding_words(metadata: Metadata) -> list[str]:
    """How far an engine in FP16 or INT8 is from FP32."""
    if metadata.rounding_error is None:
        return [metadata.precision.upper()]
    largest, mean = metadata.rounding_error
    name, unit = metadata.precision.upper(), error_unit(metadata)
    return [f"{name} differs from FP32 by at most {largest:.2g} (mean {mean:.2g}) {unit}"]


def error_unit(metadata: Metadata) -> str:
    """What its errors are in: "differs by … of 255"."""
    return "of its largest entry" if metadata.relative else "of 255"


def dotted(capability: int) -> str:
    """89 -> 8.9"""
    return f"{capability // 10}.{capability % 10}"


def size_words(size: Size) -> str:
    """(height, width) -> WIDTH×HEIGHT"""
    return f"{size[1]}×{size[0]}"
