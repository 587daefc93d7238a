"""Entry points of the commands' scripts: Ctrl-C gives one line, even during imports.

A command's imports take up to seconds, and Python would answer Ctrl-C with a traceback from the
middle of one. So the handler is installed first, and this module imports nothing that takes time.
"""

from __future__ import annotations

import os
import signal
from importlib import import_module
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT


def _abort(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"Aborted!\n")
    os._exit(INTERRUPTED)  # an exception could be caught by the module that is being imported


# Where SIGINT is ignored, as in a shell's background jobs, it stays so.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _abort)


def _run(module: str) -> None:
    """Import a command and run it with Python's own handler, so that it can tidy up."""
    try:
        command = import_module(module).main
        if signal.getsignal(signal.SIGINT) is _abort:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        command()
    except KeyboardInterrupt:  # between the handlers, or after click's own
        _abort(signal.SIGINT, None)


def compare() -> None:
    _run("st.export.compare.command")


def engines() -> None:
    _run("st.runtime.cli.engines")


def export() -> None:
    _run("st.export.command")


def image() -> None:
    _run("st.runtime.cli.image")


def slow() -> None:
    _run("st.train.slow.command")


def train() -> None:
    _run("st.train.command")


def video() -> None:
    _run("st.video.command")


def webcam() -> None:
    _run("st.video.webcam_command")
