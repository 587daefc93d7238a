"""The rank of this process among those that train together."""

from __future__ import annotations

import os

# Environment variables with this process's number, of Fabric, torchrun and Slurm.
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")


def is_main_process() -> bool:
    """Whether this process prints and writes; the others only compute."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)
