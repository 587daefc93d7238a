"""Measure the start-up of a new process, up to its first painted frame."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from st.runtime.errors import StError, printable
from st.runtime.stylizer import Stylizer

FRAMES = 8  # painted by the process, after which its memory no longer grows
_PAINTED = "painted"
_CODE = (
    "import json, sys; from st.runtime.bench.startup import paint; paint(*json.loads(sys.argv[1]))"
)


@dataclass(frozen=True)
class StartupCost:
    """Start-up cost of a process.

    seconds: time to the first painted frame. mebibytes: peak resident memory, including Python and
    all libraries; None where the system does not report it (Windows).
    """

    seconds: float
    mebibytes: float | None


def measure_startup(
    engine: str, device: str, threads: int | None, height: int, width: int
) -> StartupCost:
    """Start-up cost of a process that opens an engine and paints. Raises StError: it failed."""
    return measure_process(_CODE, json.dumps([engine, device, threads, height, width]))


def measure_process(code: str, *arguments: str) -> StartupCost:
    """Start-up cost of Python code that calls `report` after its first frame. Raises StError."""
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout is not None
        with process.stdout as told:
            seconds = None
            for line in told:
                if line.strip() == _PAINTED:
                    seconds = time.perf_counter() - began
                    break
            rest = told.read()
        if process.wait() or seconds is None:
            errors.seek(0)
            why = printable((errors.read() or rest).strip().rpartition("\n")[2], 200)
            raise StError(f"the measured process failed: {why}")
    peak = rest.strip().rpartition("\n")[2]
    return StartupCost(seconds, float(peak) / 1024 if peak.isdigit() else None)


def report() -> None:
    """Call this in the measured process after the first frame; it reports memory at exit."""
    print(_PAINTED, flush=True)
    atexit.register(lambda: print(_peak() or ""))


def _peak() -> int | None:
    """Peak resident memory of this process in KiB, or None.

    On Linux `getrusage` is wrong here, because it starts with the peak of the parent process.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return None


def paint(engine: str, device: str, threads: int | None, height: int, width: int) -> None:
    """The measured process: open an engine and paint."""
    frame = np.zeros((height, width, 3), np.uint8)
    with Stylizer(engine, device=device, threads=threads) as stylizer:
        give_style(stylizer)
        for number in range(FRAMES):
            paint_one(stylizer, frame)
            if number == 0:
                report()


def give_style(stylizer: Stylizer) -> None:
    """Set an arbitrary style on an engine that needs one."""
    if not stylizer.styles and "code" in stylizer.metadata.inputs:
        stylizer.set_style(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8))


def paint_one(stylizer: Stylizer, frame: np.ndarray) -> np.ndarray:
    """Paint a frame; with a texture engine, make a texture of its size."""
    if stylizer.metadata.kind == "texture":
        return stylizer.texture(*frame.shape[:2])
    return stylizer(frame)
