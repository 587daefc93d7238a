"""Make the k-th open, write, rename, flush, encode or inference of a command fail, or kill it.

File operations are intercepted below Python, so those of FFmpeg are included. faults.c is compiled
when it is first needed, and counts only operations in the folder of the run.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.hostile.runner import environment

HERE = Path(__file__).parent
CALLS = ("open", "write", "name", "sync", "encode", "run")  # name: rename, remove, mkdir


@dataclass(frozen=True)
class Fault:
    """The fault to inject.

    at: number of the call of its kind, from 1; for "full", the number of bytes that fit.
    how: "once"; "lasting", this call and all later ones; "kill", the process ends at this call as
        with kill -9; "full", the disk is full.
    """

    kind: str
    at: int
    how: str = "once"
    error: int = errno.EIO

    def __str__(self) -> str:
        if self.how == "full":
            return f"a disk with room for {self.at} bytes"
        return f"{self.kind} {self.at}, {self.how}"


@dataclass(frozen=True)
class Ended:
    """code: exit code, negative for a signal, None if it never ended. counts: calls by kind."""

    code: int | None
    out: str
    err: str
    counts: dict[str, int]

    @property
    def faults(self) -> list[str]:
        """Violations, whatever the fault was: a wrong exit code, or not one line of error."""
        found = []
        if self.code is None:
            found.append("it never ended")
        if "Traceback" in self.err:
            found.append(f"a traceback: {self.err.strip()[-300:]}")
        lines = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        if self.code in (1, 2) and len(lines) != 1:
            found.append(f"not one line of error: {self.err.strip()[-300:]!r}")
        if self.code not in (0, 1, 2, 128 + signal.SIGTERM, -signal.SIGTERM, -signal.SIGKILL, None):
            found.append(f"exit code {self.code}")
        return found


@cache
def library() -> Path | None:
    """The compiled faults.c; None without a C compiler or Linux."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    folder = Path(tempfile.mkdtemp(prefix="st-faults-"))
    made = folder / "faults.so"
    flags = ["-shared", "-fPIC", "-O1", "-o", str(made), str(HERE / "faults.c"), "-ldl"]
    done = subprocess.run([compiler, *flags], capture_output=True, check=False)
    return made if done.returncode == 0 else None


class Failing:
    """A process that runs commands in children with injected faults.

    part: frames per segment, so that short videos have several segments. planted: Python code to
        run first, to prove that the checks notice a bug in st.
    """

    def __init__(self, part: int = 7, planted: str = "") -> None:
        preload = library()
        assert preload is not None
        self._part = part
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "failing.py"), planted],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment() | {"LD_PRELOAD": str(preload)},
        )

    def run(
        self,
        words: list[str],
        folder: Path,
        fault: Fault | None = None,
        after: float | None = None,
        number: int = signal.SIGKILL,
    ) -> Ended:
        """Run a command line in `folder`. after: seconds until it receives the signal `number`."""
        asked = {
            "command": words[0],
            "words": words[1:],
            "folder": os.path.realpath(folder),
            "fault": asdict(fault) if fault else None,
            "after": after,
            "signal": int(number),
            "part": self._part,
        }
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return Ended(**told)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Failing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
