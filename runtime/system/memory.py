"""The memory that is free for this process."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # this process's control group, as mounted in containers


def free_memory() -> int | None:
    """Bytes that can be allocated without swapping; None if unknown.

    On Linux, the smaller of MemAvailable and the rest below the control group's limit. Elsewhere,
    half of the physical memory.
    """
    if (available := _mem_available()) is None:
        return _half_of_all()
    room = cgroup_room()
    return available if room is None else min(available, room)


def _mem_available() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def cgroup_room(folder: Path = CGROUP) -> int | None:
    """Free bytes below the memory limit of a version 2 control group; None without a limit."""
    with suppress(OSError, ValueError):
        limit = int((folder / "memory.max").read_text())  # "max" without a limit
        used = int((folder / "memory.current").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
        cached = dict(line.split() for line in lines).get("inactive_file", "0")  # page cache
        return max(0, limit - used + int(cached))
    return None


def _half_of_all() -> int | None:
    with suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None
