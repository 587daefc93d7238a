"""Handle Ctrl-C and SIGTERM: finish cleanly, or at least remove unfinished files."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets. A second Ctrl-C interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return

    def request(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Ended(SystemExit):
    """Exit caused by SIGTERM."""


@contextmanager
def tidy_end() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that unfinished files are removed.

    A nested `stoppable` takes precedence. The exit code is 143, as in a shell.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        raise _Ended(128 + signal.SIGTERM)

    def once_more(lost: sys.UnraisableHookArgs) -> None:
        if not isinstance(lost.exc_value, _Ended):
            told(lost)
            return
        # Raised in a destructor, where Python drops exceptions: send the signal again.
        again = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGTERM))
        again.daemon = True
        again.start()

    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    told, sys.unraisablehook = sys.unraisablehook, once_more
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.unraisablehook = told


@contextmanager
def quick_interrupt() -> Iterator[None]:
    """Make Ctrl-C exit at once, with one line. Use it around imports that take seconds.

    KeyboardInterrupt does not work there: some extension modules turn it into other errors. No file
    may be half written at the time.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        os.write(2, b"Aborted!\n")
        os._exit(128 + signal.SIGINT)

    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
