"""The number of processors that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path


def usable_cpus(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> int:
    """The number of processors in this process's affinity, limited by the quotas of its cgroups.

    A quota of 1.5 processors gives 2, even on a machine with 64: more threads would only wait.
    membership: the file that lists this process's cgroups. root: where cgroups are mounted.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:  # macOS, Windows
        count = os.cpu_count() or 1
    quotas = [math.ceil(quota) for quota in _quotas(membership, root)]
    return max(1, min([count, *quotas]))


def _quotas(membership: Path, root: Path) -> Iterator[float]:
    """The quotas, in processors, of all cgroups (versions 1 and 2) that contain this process."""
    for line in _read(membership).splitlines():
        _, controllers, own = (*line.split(":", 2), "", "")[:3]
        # Check all parents too: a container may see its own group mounted as the root.
        groups = [own.strip("/"), *(str(p) for p in Path(own.strip("/")).parents)]
        if not controllers:
            for group in groups:
                quota, period = (*_read(root / group / "cpu.max").split(), "", "")[:2]
                yield from _ratio(quota, period)
        elif "cpu" in controllers.split(","):
            for group in groups:
                folder = root / "cpu" / group
                quota, period = (_read(folder / f"cpu.cfs_{k}_us") for k in ("quota", "period"))
                yield from _ratio(quota, period)


def _ratio(quota: str, period: str) -> Iterator[float]:
    """Yield the quota, unless it is "max", -1 or missing, which mean no limit."""
    try:
        limit = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return
    if limit > 0:
        yield limit


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):  # missing file, or an invalid name
        return ""
