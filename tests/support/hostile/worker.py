"""Run commands, each as if in its own process. One line of JSON per command; see hostile.runner.

Input lines: {"command", "words", "folder"}. Output lines: {"code", "out", "err", "seconds",
"processor", "peak"}: exit code, terminal output (including that of C libraries), wall-clock and
processor seconds, and peak memory in MB.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

COMMANDS = {
    "st-image": "st.runtime.cli.image",
    "st-engines": "st.runtime.cli.engines",
    "st-video": "st.video.command",
    "st-export": "st.export.command",
    "st-train": "st.train.command",
}
MORE_MEMORY = 6 << 30  # bytes that a case may map before malloc fails, to spare the machine
LARGEST_FILE = 1 << 30


def main() -> None:
    asked = os.fdopen(os.dup(0), "r")
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    import torch

    torch.set_num_threads(1)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MORE_MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in asked:
        told.write(json.dumps(run(**json.loads(line))) + "\n")


def run(command: str, words: list[str], folder: str) -> dict[str, Any]:
    os.chdir(folder)
    tempfile.tempdir = str(Path(folder) / "tmp")
    with tempfile.TemporaryFile(dir="/tmp") as out, tempfile.TemporaryFile(dir="/tmp") as err:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak
        clock, processor = time.perf_counter(), time.process_time()
        code = call(command, words)
        spent = time.perf_counter() - clock, time.process_time() - processor
        out.seek(0)
        err.seek(0)
        return {
            "code": code,
            "out": out.read().decode(errors="replace"),
            "err": err.read().decode(errors="replace"),
            "seconds": spent[0],
            "processor": spent[1],
            "peak": _peak(),
        }


def call(command: str, words: list[str]) -> int:
    """Call a click command with streams as for a pipe; returns its exit code."""
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), errors="surrogateescape")
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), errors="backslashreplace")
    try:
        importlib.import_module(COMMANDS[command]).main.main(args=words, prog_name=command)
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdin, sys.stdout, sys.stderr = before


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    return 0


if __name__ == "__main__":
    main()
