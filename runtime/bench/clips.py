"""Frames for measurements: from a video, or of a moving texture."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.errors import BadInput, printable
from st.runtime.pictures.resize import to_size

Rgb = NDArray[np.uint8]  # (H, W, 3), 0..255


def frames(clip: Path, most: int, size: tuple[int, int] | None = None) -> list[Rgb]:
    """Decode up to `most` frames from the start of a video.

    size: (height, width) to scale to; by default the size of the video.
    Raises BadInput: no frame can be decoded.
    """
    import av  # only needed for videos
    from av.error import FFmpegError

    found: list[Rgb] = []
    try:
        with av.open(str(clip)) as film:
            for frame in film.decode(video=0):
                rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                height, width = size or (frame.height, frame.width)
                found.append(to_size(rgb, height, width))
                if len(found) == most:
                    break
    except (FFmpegError, OSError, IndexError) as error:
        if not found:
            why = printable(error, 80)
            raise BadInput(f"{printable(clip)}: not a video that can be read ({why})") from None
    if not found:
        raise BadInput(f"{printable(clip)}: no frame could be decoded")
    return found


def frames_of(clip: Path | None, size: tuple[int, int], count: int) -> list[Rgb]:
    """Return `count` frames of `size` (height, width) of a clip, or of a moving texture.

    A clip that is too short is repeated forward and backward. Raises BadInput: see `frames`.
    """
    if clip is None:
        return drifting(size, count)
    own = frames(clip, count, size)
    return list(itertools.islice(itertools.cycle(own + own[-2:0:-1]), count))


def drifting(size: tuple[int, int], count: int) -> list[Rgb]:
    """A blurred noise texture that moves by 2 pixels per frame. size: (height, width)."""
    height, width = size
    noise = np.random.default_rng(0).normal(0, 1, (height, width + 2 * count, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 4)
    texture = (soft / soft.std() * 50 + 128).clip(0, 255).astype(np.uint8)
    return [np.ascontiguousarray(texture[:, 2 * i : 2 * i + width]) for i in range(count)]
