"""File names that are free and that fit a file system."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

MAX_NAME = 255  # bytes, the limit of most file systems


def free_name(target: Path, taken: Callable[[Path], bool]) -> Path:
    """`target`, or with -2, -3, … after its stem if it is taken.

    taken: tells whether a path may not be used, such as `Path.exists`.
    """
    free, number = target, 2
    while taken(free):
        free = target.with_name(fitting_name(target.stem, f"-{number}", target.suffix))
        number += 1
    return free


def fitting_name(stem: str, ending: str, suffix: str) -> str:
    """`stem + ending + suffix`, with the stem shortened if the name would exceed MAX_NAME."""
    return shortened(stem, MAX_NAME - len(os.fsencode(ending + suffix))) + ending + suffix


def shortened(text: str, size: int) -> str:
    """The longest beginning of `text` that takes at most `size` bytes in a file name."""
    while len(os.fsencode(text)) > size:
        text = text[:-1]
    return text
