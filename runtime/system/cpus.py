"""The number of processors that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path


def usable_cpus(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> int:
    """Processors in this process's affinity, or fewer where a cgroup's quota allows only fewer.

    A container with a quota of 1.5 processors on a machine of 64 gives 2: a thread for each of the
    64 would only wait for its turn.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:  # macOS, Windows
        count = os.cpu_count() or 1
    quotas = [math.ceil(quota) for quota in _quotas(membership, root)]
    return max(1, min([count, *quotas]))


def _quotas(membership: Path, root: Path) -> Iterator[float]:
    """The quota, in processors, of every cgroup that holds this process, version 2 and 1."""
    for line in _read(membership).splitlines():
        _, controllers, own = (*line.split(":", 2), "", "")[:3]
        # A container may see its own group mounted as the root, so every parent is asked.
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
    """The quota; nothing for "max", -1 and missing files, which mean no limit."""
    try:
        limit = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return
    if limit > 0:
        yield limit


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):  # not there, or a name that cannot be
        return ""
