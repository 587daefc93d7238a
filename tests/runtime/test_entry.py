"""Ctrl-C at any time after a command starts prints one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

SCRIPTS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
    "scripts"
]
# As the generated scripts start, and a byte when the first module is imported. Pytest may have been
# started in the background, where SIGINT is ignored.
START = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import st.runtime.cli.entry as entry
os.write(1, b"!")
sys.argv[:] = sys.argv[1:]
getattr(entry, sys.argv[0].removeprefix("st-"))()
"""


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", START, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"!"
        yield process
    finally:
        process.kill()
        process.communicate()


def interrupted(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    return process.wait(timeout=60), said.strip()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0])
def test_ctrl_c_gives_one_line(delay: float) -> None:
    with started("st-image", "-") as process:  # it waits for a picture on standard input
        time.sleep(delay)
        code, said = interrupted(process)
    assert said == "Aborted!"
    assert code in (1, 130)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("name", sorted(set(SCRIPTS) - {"st-image"}))
def test_ctrl_c_while_any_command_is_imported(name: str) -> None:
    with started(name, "--help") as process:
        assert interrupted(process) == (130, "Aborted!")


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_runs_its_command(name: str) -> None:
    module, _, function = SCRIPTS[name].partition(":")
    assert function == name.removeprefix("st-")
    assert callable(getattr(import_module(module), function))


def test_background_jobs_still_ignore_ctrl_c() -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
    code += "import st.runtime.cli.entry; assert signal.getsignal(2) is signal.SIG_IGN"
    subprocess.run([sys.executable, "-c", code], check=True)
