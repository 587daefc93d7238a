"""Run bad inputs through the real commands, in a worker that may die, and judge the results."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.hostile.entry_points import BEFORE, ENTRY_POINTS, Case
from tests.support.hostile.goods import Goods

MAX_SECONDS = 10.0
MAX_MEMORY = 2000  # MB
IDLE = 10.0  # seconds that a worker may wait for something
BUSY = 30.0  # processor seconds that a case may take
TICK = 0.5  # seconds between checks
ALONE = 120.0  # seconds for a command in its own process
WORKER = [sys.executable, str(Path(__file__).with_name("worker.py"))]
TERMINAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # control characters, but tab and newline
LONGEST_LINE = 1300
KEPT = "tmp/torchinductor"  # a cache that torch makes at import


@dataclass(frozen=True)
class Outcome:
    """The result of a case. code: exit code, negative for a signal, None if it never ended.

    seconds: processor time, or wall-clock time if it never ended. peak: memory in MB.
    faults: violations of what st promises, in words.
    """

    case: Case
    code: int | None
    seconds: float
    peak: int
    line: str
    faults: tuple[str, ...]


class Worker:
    """A process that runs commands; it is replaced when it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, command: str, words: Sequence[str], folder: Path) -> dict[str, Any]:
        process = self._alive()
        assert process.stdin
        assert process.stdout
        asked = {"command": command, "words": list(words), "folder": str(folder)}
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
        code, spent = None, 0.0
        if answers(process.pid, process.stdout.fileno()):
            if line := process.stdout.readline():
                return json.loads(line)
            code = process.wait()
        else:
            spent = processor_seconds(process.pid)
        self.close()
        return {"code": code, "out": "", "err": "", "processor": spent, "peak": 0}

    def close(self) -> None:
        if self._process:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.communicate()
            self._process = None

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                WORKER,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment(),
                stderr=subprocess.DEVNULL,
            )
        return self._process


def answers(pid: int, stream: int) -> bool:
    """Wait until a process writes or ends; False if it sleeps or works for too long.

    Measured in its own processor time, since the wall clock means little on a busy machine.
    """
    begun = before = processor_seconds(pid)
    idle = 0.0
    while not select.select([stream], [], [], TICK)[0]:
        now = processor_seconds(pid)
        idle = idle + TICK if now == before and not waits_for_its_turn(pid) else 0.0
        if idle > IDLE or now - begun > BUSY:
            return False
        before = now
    return True


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def waits_for_its_turn(pid: int) -> bool:
    """Whether one of its threads is runnable or reads from a disk."""
    tasks = Path(f"/proc/{pid}/task")
    states = [
        (task / "stat").read_text().rpartition(")")[2].split()[0]
        for task in tasks.iterdir()
        if task.exists()
    ]
    return bool({"R", "D"} & set(states))


def environment() -> dict[str, str]:
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return os.environ | one | {"PYTHONWARNINGS": "ignore"}


def run_cases(cases: Sequence[Case], good: Goods, folder: Path) -> Iterator[Outcome]:
    """Run each case in its own folder, which is removed afterwards."""
    worker = Worker()
    try:
        for number, case in enumerate(cases):
            place = folder / f"case{number}"
            words = case.prepare(place, good)
            before = listing(place)
            result = worker.run(ENTRY_POINTS[case.entry].command, words, place)
            yield judged(case, result, place, before)
            shutil.rmtree(place)
    finally:
        worker.close()


def run_alone(case: Case, good: Goods, place: Path) -> Outcome:
    """Run one case with the installed command, in its own process."""
    words = case.prepare(place, good)
    before = listing(place)
    program = Path(sys.executable).with_name(ENTRY_POINTS[case.entry].command)
    try:
        done = subprocess.run(
            [str(program), *words],
            cwd=place,
            env=environment() | {"TMPDIR": str(place / "tmp")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ALONE,
            check=False,
        )
        code, out, err = done.returncode, done.stdout.decode(), done.stderr.decode()
    except subprocess.TimeoutExpired:
        code, out, err = None, "", ""
    result = {"code": code, "out": out, "err": err, "processor": 0.0, "peak": 0}
    return judged(case, result, place, before)


def listing(place: Path) -> list[str]:
    found = (str(path.relative_to(place)) for path in place.rglob("*"))
    return sorted(name for name in found if not name.startswith(KEPT))


def judged(case: Case, result: dict[str, Any], place: Path, before: list[str]) -> Outcome:
    faults = [*_faults_of_end(case, result), *_faults_of_text(result)]
    out = ENTRY_POINTS[case.entry].out
    added = sorted(set(listing(place)) ^ set(before))
    if result["code"] == 0:
        added = [name for name in added if not re.match(r"(in/)?out\.", name)]
    elif out and (place / out).read_bytes() != BEFORE:
        faults.append("the file that stood there is changed")
    if added:
        faults.append(f"left in the folder: {added[:4]}")
    if (place / "canary").exists():
        faults.append("the canary is there: it ran what the file says")
    lines = result["err"].strip().splitlines()
    return Outcome(
        case,
        result["code"],
        result["processor"],
        result["peak"],
        lines[-1] if lines else "",
        tuple(faults),
    )


def _faults_of_end(case: Case, result: dict[str, Any]) -> Iterator[str]:
    code = result["code"]
    if code is None:
        yield "it never ended"
    elif code < 0:
        yield f"died of {signal.Signals(-code).name}"
    elif code == 1 and _memory(result) and case.kind.family == "engine":
        return  # only running the engine shows its memory use
    elif code != 2 and not (code == 0 and (case.kind.usable or ENTRY_POINTS[case.entry].glances)):
        yield f"exit code {code}: {result['err'].strip()[-300:]}"
    elif code and result["processor"] > MAX_SECONDS:
        yield f"took {result['processor']:.0f} s"
    if result["peak"] > MAX_MEMORY:
        yield f"took {result['peak']} MB"


def _memory(result: dict[str, Any]) -> bool:
    return "out of memory" in result["out"] + result["err"]


def _faults_of_text(result: dict[str, Any]) -> Iterator[str]:
    text = result["out"] + result["err"]
    if "Traceback" in text:
        yield f"a traceback: {text.strip()[-300:]}"
    if found := TERMINAL.search(text.replace("\r\n", "\n")):
        yield f"writes {found[0]!r} to the terminal"
    lines = result["err"].strip().splitlines()
    errors = [line for line in lines if line.startswith("Error: ")]
    if result["code"] == 0:
        if errors:
            yield "an error, and exit code 0"
    elif result["code"] is not None and result["code"] > 0:
        if len(errors) != 1 or lines[-1] != errors[0]:
            yield f"not one line of error: {lines[-4:]}"
        elif len(errors[0]) > LONGEST_LINE:
            yield f"a line of {len(errors[0])} characters"
        others = [line for line in lines[:-1] if not _may_stand_before(line)]
        if others:
            yield f"more than its line: {others[:3]}"


def _may_stand_before(line: str) -> bool:
    """Lines that may precede an error: warnings, click's usage, and st-train's progress."""
    told = r"[Ww]arning: |Usage: |Try '|Using bfloat16|VGG-16 weights|torchvision's own|$"
    return bool(re.match(told, line))
