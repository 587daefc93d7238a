"""G15: threads, forks, CPU affinity and quotas."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.trust.bench import Bench, Reached, tell
from st.runtime import Stylizer
from tests.support import toys
from tests.support.sharing import FORKS, SETTINGS, forked, mixed_up

THREADS, FRAMES = 8, 200
IDLE_SHARE = 0.2  # limit for the threads of an idle engine, in processors
GROUPS = Path("/sys/fs/cgroup")

# Prints the number of processors that st would use, and of threads that an engine adds.
CHILD = """
import os, sys
import numpy as np
path, cpus, group = sys.argv[1:]
if group:
    try:
        open(group, "w").write(str(os.getpid()))
    except OSError:
        sys.exit("no group")
if cpus:
    os.sched_setaffinity(0, {int(n) for n in cpus.split(",")})
from st.runtime import Stylizer
from st.runtime.system.cpus import usable_cpus
import st.runtime.backends.onnxruntime
before = len(os.listdir("/proc/self/task"))
paint = Stylizer(path, device="cpu")
paint(np.zeros((64, 64, 3), np.uint8))
print(usable_cpus(), len(os.listdir("/proc/self/task")) - before)
"""


def threads(bench: Bench) -> Reached:
    wrong: list[str] = []
    pair, tint = (
        toys.tiles_pair(bench.folder / "pair.onnx"),
        toys.tint_engine(bench.folder / "tint.onnx"),
    )
    devices = ["cpu", *(["openvino"] if find_spec("openvino") else [])]
    frames = bench.scaled(FRAMES, 20)
    for device in devices:
        mixed, seen = mixed_up(pair, device, THREADS, frames)
        if mixed or seen != len(SETTINGS):
            wrong.append(f"{device}: {mixed} paintings of no setting, {seen} settings met")
        for what in FORKS:
            if (end := forked(tint, device, what)) != "0":
                wrong.append(f"{device}, {what} after a fork: {end or 'died'}")
    if (share := idle_share(tint)) > IDLE_SHARE:
        wrong.append(f"idle threads use {share:.0%} of a processor")
    if not hasattr(os, "sched_setaffinity"):
        return Reached("not measured: affinity and quotas are Linux's", False)
    one = str(min(os.sched_getaffinity(0)))
    if (used := _used(tint, cpus=one)) != "1 0":
        wrong.append(f"on one processor: {used} processors and threads")
    quota = "no cgroup could be made for a quota"
    with _quota_of_one() as group:
        if group is not None:
            used = _used(tint, group=str(group))
            if used != "no group":
                quota = "a quota of one processor"
                if used != "1 0":
                    wrong.append(f"in {quota}: {used} processors and threads")
    tell(wrong)
    figure = f"{THREADS} threads × {frames} frames and {len(FORKS)} ends of a fork on "
    figure += f"{', '.join(devices)}; affinity; {quota}: {len(wrong)} wrong"
    return Reached(figure, not wrong)


def idle_share(engine: Path, seconds: float = 0.5) -> float:
    """The processor time per second that four threads use between two runs: they must not spin."""
    with Stylizer(engine, device="cpu", threads=4) as paint:
        paint(np.zeros((720, 1280, 3), np.uint8))
        before = time.process_time()
        time.sleep(seconds)
        return (time.process_time() - before) / seconds


def _used(engine: Path, cpus: str = "", group: str = "") -> str:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(engine), cpus, group],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip()[-200:]


@contextmanager
def _quota_of_one() -> Iterator[Path | None]:
    """The file to which a process writes its id to be limited to one processor's time.

    None without the permission to make a cgroup.
    """
    one, two = GROUPS / "cpu", GROUPS
    folder = (one if one.is_dir() else two) / f"st-trust-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        yield None
        return
    try:
        try:
            if one.is_dir():
                (folder / "cpu.cfs_period_us").write_text("100000")
                (folder / "cpu.cfs_quota_us").write_text("100000")
            else:
                (folder / "cpu.max").write_text("100000 100000")
        except OSError:
            yield None
        else:
            yield folder / "cgroup.procs"
    finally:
        folder.rmdir()
