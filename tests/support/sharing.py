"""One Stylizer in many threads and in forked processes: checks for tests and benchmarks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from st.runtime import Stylizer

SETTINGS = [("soft", 1.0), ("hard", 1.0), ("hard", 0.5), ({"soft": 1, "hard": 3}, 0.25)]


def frame(number: int) -> NDArray[np.uint8]:
    height = 16 + number % 3 * 4
    return np.random.default_rng(number).integers(0, 256, (height, 24, 3), np.uint8)


def mixed_up(engine: Path, device: str, threads: int, count: int) -> tuple[int, int]:
    """Paint the same frames in many threads while the style keeps changing among `SETTINGS`.

    engine: made by `toys.tiles_pair`. Returns the number of results that equal no single setting
    painted alone, and the number of settings that occurred.
    """
    frames = [frame(n) for n in range(count)]
    with Stylizer(engine, device=device, threads=1) as alone:
        serial = []
        for style, strength in SETTINGS:
            alone.set_style(style, strength)
            serial.append([alone(one) for one in frames])
    with Stylizer(engine, device=device, threads=1) as shared:

        def work(thread: int) -> tuple[int, set[int]]:
            wrong, seen = 0, set()
            for number, one in enumerate(frames):
                shared.set_style(*SETTINGS[(thread + number) % len(SETTINGS)])
                painted = shared(one)
                matches = [
                    n for n, all_of in enumerate(serial) if np.array_equal(all_of[number], painted)
                ]
                wrong += not matches
                seen.update(matches)
            return wrong, seen

        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(work, range(threads)))
    return sum(wrong for wrong, _ in found), len(set().union(*(seen for _, seen in found)))


CHILD = """
import gc, os, sys
import numpy as np
from st.runtime import StError, Stylizer
path, device, what = sys.argv[1:]
frame = np.zeros((8, 8, 3), np.uint8)
paint = Stylizer(path, device=device, threads=8)
paint(frame)
child = os.fork()
if not child:
    if what == "close":
        paint.close()
    if what == "drop":
        del paint
        gc.collect()
    if what == "reopen":
        assert Stylizer(path, device=device, threads=8)(frame).min() == 255
    if what == "paint":
        try:
            paint(frame)
            sys.exit(1)
        except StError as error:
            assert "before a fork: open a new Stylizer" in str(error)
    sys.exit(0)
print(os.waitpid(child, 0)[1])
"""
FORKS = ("exit", "close", "drop", "reopen", "paint")


def forked(engine: Path, device: str, what: str, patience: float = 60) -> str:
    """Use the parent's Stylizer in a forked child. what: one of `FORKS`.

    engine: made by `toys.tint_engine`. Returns "0" if the child succeeds, else its wait status, ""
    if parent or child died, or "hangs".
    """
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(engine), device, what],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=patience)[0].strip()
    except subprocess.TimeoutExpired:
        return "hangs"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
