"""Pictures and frames for the benchmarks, named by their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from st.runtime.bench.clips import Rgb, frames
from st.runtime.errors import BadInput, printable
from st.runtime.pictures.batch import pictures_in
from st.runtime.pictures.resize import parse_size

__all__ = ["Rgb", "frame_size", "frames", "named"]


def named(items: Sequence[str]) -> dict[str, Path]:
    """Pictures by name, in order, from files, NAME=FILE pairs and folders (without subfolders).

    Raises BadInput: an item is none of these, or a folder has no pictures.
    """
    found: dict[str, Path] = {}
    for item in items:
        name, equals, rest = item.partition("=")
        path = Path(item)
        if path.is_dir():
            inside = pictures_in(path)
            if not inside:
                raise BadInput(f"{printable(item)}: no pictures in this folder")
            found |= {picture.stem: picture for picture in inside}
        elif path.is_file():
            found[path.stem] = path
        elif equals and Path(rest).is_file():
            found[name] = Path(rest)
        else:
            raise BadInput(f"{printable(item)}: no such picture or folder")
    return found


def frame_size(text: str) -> tuple[int, int]:
    """(height, width) of --size WIDTHxHEIGHT, multiples of 4 for the engines. Raises BadInput."""
    height, width = parse_size(text)
    if height % 4 or width % 4:
        raise BadInput("--size: both sides must be multiples of 4")
    return height, width
