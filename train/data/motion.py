"""Frame pairs for the temporal loss: warped photographs, and neighboring frames of clips.

A photograph is warped by a random pan, zoom, rotation and smooth deformation, with noise and a
change of exposure, as a sensor and a codec have them. Its flow is exact, and no videos are needed.
Clips add occlusions; their flow is OpenCV's DIS, used where forward and backward flow agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray
from PIL import Image

from st.runtime.errors import BadInput, printable
from st.runtime.painting.optical_flow import MIN_SEEN, backward_flow, inside, warp

Frame = NDArray[np.float32]  # (H, W, 3), RGB, 0..1

STILL = 0.2  # fraction of the pairs without motion, where flicker is most visible
PAN = 0.04  # maximum shift, as a fraction of the short side
ZOOM = 0.015  # standard deviation of the logarithm of the zoom
ROTATION = 0.015  # standard deviation of the angle, in radians
DEFORMATION = 0.01  # standard deviation at a node, as a fraction of the short side
NODES = 4  # control points of the deformation, along each side
NOISE = 4 / 255  # maximum standard deviation
BLOCKS = (1, 2, 4)  # pixels a side: noise of a sensor, and of a codec
EXPOSURE = 0.02  # standard deviation of the logarithm of the gain
MAX_FRAMES = 600  # decoded to reach a position in a clip


class Pair(NamedTuple):
    """Two frames with optical flow: later(x) shows the same point as earlier(x + flow(x)).

    earlier, later: (H, W, 3), RGB, 0..1. flow: (H, W, 2), in pixels, x and y. seen: (H, W), where
    the flow is valid.
    """

    earlier: Frame
    later: Frame
    flow: NDArray[np.float32]
    seen: NDArray[np.bool_]


def moved(picture: Frame, random: np.random.Generator) -> Pair:
    """A photograph and a randomly warped copy, with noise. Borders are filled by reflection.

    picture: (H, W, 3), RGB, 0..1; both sides at least 16.
    """
    height, width = picture.shape[:2]
    flow = np.zeros((height, width, 2), np.float32)
    if random.random() >= STILL:
        flow = random_flow(height, width, random)
    later = warp(picture, flow, cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101)
    later = later * np.float32(np.exp(random.normal(0, EXPOSURE))) + _noise(height, width, random)
    return Pair(picture, later.clip(0, 1, dtype=np.float32), flow, inside(flow))


def random_flow(height: int, width: int, random: np.random.Generator) -> NDArray[np.float32]:
    """The flow of a pan, zoom, rotation and smooth deformation: (H, W, 2), in pixels, x and y."""
    side = min(height, width)
    y, x = np.indices((height, width), dtype=np.float32)
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    direction, angle = random.uniform(0, 2 * np.pi), random.normal(0, ROTATION)
    pan = PAN * side * random.random() ** 2  # mostly slow
    zoom = np.exp(random.normal(0, ZOOM))
    nodes = random.normal(0, DEFORMATION * side * random.random(), (NODES, NODES, 2))
    deformation = cv2.resize(
        nodes.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    across = cosine * x - sine * y - x + pan * np.cos(direction)
    down = sine * x + cosine * y - y + pan * np.sin(direction)
    return (np.stack([across, down], axis=2) + deformation).astype(np.float32)


def _noise(height: int, width: int, random: np.random.Generator) -> Frame:
    """Zero-mean noise of random strength and block size: (H, W, 3)."""
    strength, block = random.uniform(0, NOISE), int(random.choice(BLOCKS))
    small = (-(-height // block), -(-width // block), 3)
    noise = random.normal(0, strength, small).astype(np.float32)
    return noise.repeat(block, 0).repeat(block, 1)[:height, :width]


@dataclass(frozen=True)
class Clip:
    """A video to take frame pairs from. seconds: its length."""

    path: Path
    seconds: float

    def pair(self, random: np.random.Generator) -> tuple[Image.Image, Image.Image] | None:
        """Two neighboring frames at a random time; None if they cannot be decoded."""
        try:
            with av.open(str(self.path)) as film:
                stream = film.streams.video[0]
                stream.codec_context.thread_count = 1  # there is one worker per core
                place = random.uniform(0, self.seconds) + _start(stream)
                film.seek(int(place * av.time_base))
                frames = _two(film.decode(stream), place)
                return (frames[0].to_image(), frames[1].to_image()) if frames else None
        except (FFmpegError, OSError, ValueError, IndexError):
            return None


def _start(stream: av.VideoStream) -> float:
    return float((stream.start_time or 0) * (stream.time_base or 0))


def _two(
    decoded: Iterator[av.VideoFrame], place: float
) -> tuple[av.VideoFrame, av.VideoFrame] | None:
    """The first two frames of which the second is after `place`, in seconds, or the last two."""
    last: tuple[av.VideoFrame, av.VideoFrame] | None = None
    before = None
    for _, frame in zip(range(MAX_FRAMES), decoded, strict=False):
        if before is not None:
            last = (before, frame)
            if frame.time is None or frame.time > place:
                break
        before = frame
    return last


def list_clips(folder: Path) -> list[Clip]:
    """The videos in a folder, in name order. Raises BadInput when there is none."""
    if not folder.is_dir():
        raise BadInput(f"{printable(folder)}: no such folder")
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    found = [clip for clip in map(_clip, files) if clip is not None]
    if not found:
        raise BadInput(f"{printable(folder)}: no videos in it")
    return found


def _clip(path: Path) -> Clip | None:
    """The clip in a file; None if it is not a video with at least two frames."""
    try:
        with av.open(str(path)) as film:
            seconds = (film.duration or 0) / av.time_base
    except (FFmpegError, OSError, ValueError):
        return None
    clip = Clip(path, seconds)
    return clip if seconds > 0 and clip.pair(np.random.default_rng(0)) is not None else None


def filmed(earlier: NDArray[np.uint8], later: NDArray[np.uint8]) -> Pair | None:
    """A pair of two video frames, (H, W, 3), RGB, 0..255; None across a cut."""
    flow, seen = backward_flow(earlier, later)
    if seen.mean() < MIN_SEEN:
        return None
    first, second = (np.float32(1 / 255) * frame for frame in (earlier, later))
    return Pair(first, second, flow, seen)
