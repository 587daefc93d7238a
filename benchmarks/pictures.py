"""Pictures and frames for the benchmarks, named by their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from st.runtime.errors import BadInput, printable
from st.runtime.image_files import pictures_in
from st.runtime.resizing import to_size

Rgb = NDArray[np.uint8]  # (H, W, 3), 0..255


def named(items: Sequence[str]) -> dict[str, Path]:
    """Pictures by name, in order: files, NAME=FILE pairs, folders (not those within).

    Raises BadInput for what is neither, and for an empty folder.
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


def frames(clip: Path, most: int, size: tuple[int, int] | None = None) -> list[Rgb]:
    """The first frames of a film, at most that many; size: (width, height), or the film's own.

    Raises BadInput when nothing can be decoded.
    """
    found: list[Rgb] = []
    try:
        with av.open(str(clip)) as film:
            for frame in film.decode(video=0):
                rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                found.append(to_size(rgb, *(size or (frame.width, frame.height))))
                if len(found) == most:
                    break
    except (FFmpegError, OSError, IndexError) as error:
        if not found:
            why = printable(error, 80)
            raise BadInput(f"{printable(clip)}: no film that can be read ({why})") from None
    if not found:
        raise BadInput(f"{printable(clip)}: not one frame could be decoded")
    return found
