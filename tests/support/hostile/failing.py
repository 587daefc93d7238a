"""Run commands, each in a forked child with an injected fault. One line of JSON per command.

`hostile.faults` starts this program with the library made from faults.c preloaded.

Input lines: {"command", "words", "folder", "fault", "after", "signal", "part"}. Output lines:
{"code", "out", "err", "counts"}: exit code (negative for a signal), output, and the number of calls
of each kind (none if the child was killed).
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import IO, Any

from av.error import FFmpegError
from worker import call

KINDS = ("open", "write", "name", "sync")  # those that faults.c counts
HOW = ("once", "lasting", "kill", "full")
CALLS = ("encode", "run")  # those that this program counts
PRELOADED = ("st.runtime.cli.image", "st.runtime.backends.onnxruntime", "st.video.command")
PATIENCE = 180.0  # seconds until a child is killed


class Calls:
    """Counts the calls of one kind, and makes one of them fail."""

    def __init__(self, fails_at: int, lasting: bool) -> None:
        self.count = 0
        self._at, self._lasting = fails_at, lasting

    def before(self, function: Callable[..., Any], error: Exception) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self._at or (self._lasting and self.count > self._at > 0):
                raise error
            return function(*args, **kwargs)

        return counted


class Encoder:
    """A PyAV encoder whose `encode` calls are counted."""

    def __init__(self, own: Any, calls: Calls) -> None:
        self._own = own
        self.encode = calls.before(own.encode, FFmpegError(22, "no more"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


def main() -> None:
    asked = os.fdopen(os.dup(0), "r")
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for module in PRELOADED:  # once for all children
        importlib.import_module(module)
    exec(sys.argv[1], {})
    for line in asked:
        told.write(json.dumps(run(**json.loads(line))) + "\n")


def run(
    command: str,
    words: list[str],
    folder: str,
    fault: dict[str, Any] | None,
    after: float | None,
    signal: int,
    part: int,
) -> dict[str, Any]:
    with (
        tempfile.TemporaryFile(dir="/tmp") as out,
        tempfile.TemporaryFile(dir="/tmp") as err,
        tempfile.TemporaryFile("w+", dir="/tmp") as counts,
    ):
        child = os.fork()
        if not child:
            _child(command, words, folder, fault, part, (out, err, counts))
        code = _ended(child, after, signal)
        for file in (out, err, counts):
            file.seek(0)
        return {
            "code": code,
            "out": out.read().decode(errors="replace"),
            "err": err.read().decode(errors="replace"),
            "counts": json.loads(counts.read() or "{}"),
        }


def _ended(child: int, after: float | None, number: int) -> int | None:
    """The exit code; None if it had to be killed. after: seconds until it gets the signal."""
    begun, sent = time.monotonic(), False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        passed = time.monotonic() - begun
        if after is not None and passed >= after and not sent:
            os.kill(child, number)
            sent = True
        if passed > PATIENCE:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        left = 0.005 if after is None or sent else min(0.005, max(0.0, after - passed))
        time.sleep(left)


def _child(
    command: str,
    words: list[str],
    folder: str,
    fault: dict[str, Any] | None,
    part: int,
    files: tuple[IO[Any], IO[Any], IO[Any]],
) -> None:
    code = 99
    try:
        out, err, counts = files
        os.chdir(folder)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        import st.video.jobs.segments

        st.video.jobs.segments.SEGMENT_FRAMES = part
        kind = fault["kind"] if fault else ""
        calls = {name: _counted(name, fault if name == kind else None) for name in CALLS}
        library = ctypes.CDLL(None)
        library.faults_watch(f"{folder}/".encode())
        if fault and kind in KINDS:
            how, at = HOW.index(fault["how"]), ctypes.c_long(fault["at"])
            library.faults_arm(KINDS.index(kind), at, how, fault["error"])
        code = call(command, words)
        told = {name: library.faults_count(number) for number, name in enumerate(KINDS)}
        library.faults_watch(b"")
        json.dump(told | {name: each.count for name, each in calls.items()}, counts)
        counts.flush()
    finally:
        os._exit(code)


def _counted(name: str, fault: dict[str, Any] | None) -> Calls:
    """Count the calls of this kind from now on; the call that `fault` names fails."""
    import cv2
    import onnxruntime
    from PIL import Image

    from st.video.film.writer import FilmSink

    calls = Calls(fault["at"] if fault else 0, bool(fault) and fault["how"] == "lasting")
    if name == "run":
        session: Any = onnxruntime.InferenceSession
        session.run = calls.before(session.run, RuntimeError("bad_alloc"))
        return calls
    image: Any = Image.Image
    image.save = calls.before(image.save, OSError("encoder error"))
    cv2.imencode = calls.before(cv2.imencode, cv2.error("encoder error"))
    sink: Any = FilmSink
    own = sink.encoder
    sink.encoder = lambda film: Encoder(own(film), calls)
    return calls


if __name__ == "__main__":
    main()
