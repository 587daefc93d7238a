"""Pairs of neighboring frames to learn steadiness from: photographs set in motion, and clips.

A photograph that is moved has a flow that is known exactly, and costs no film: pans, zooms, turns,
bends, and what a sensor and a codec add, noise and a trifle of light. What it lacks, things that
hide each other, clips show; their flow is OpenCV's DIS, where it leads back.
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

STILL = 0.2  # of the pairs do not move at all: flicker shows most before a tripod
PAN = 0.04  # of the picture's side, at most
ZOOM = 0.015  # standard deviation of the zoom's logarithm
TURN = 0.015  # and of the angle, radians
BEND = 0.01  # and of a smooth deformation, of the side
NODES = 4  # a side, of that deformation
GRAIN = 4 / 255  # standard deviation of the noise, at most
BLOCKS = (1, 2, 4)  # pixels of a grain: a sensor's, and a codec's
LIGHT = 0.02  # standard deviation of the exposure's change
MAX_FRAMES = 600  # decoded on the way to a place in a clip


class Pair(NamedTuple):
    """Two frames: later(x) shows what earlier(x + flow(x)) does, where seen.

    earlier, later: (H, W, 3), RGB, 0..1. flow: (H, W, 2), pixels in x and y. seen: (H, W).
    """

    earlier: Frame
    later: Frame
    flow: NDArray[np.float32]
    seen: NDArray[np.bool_]


def moved(picture: Frame, random: np.random.Generator) -> Pair:
    """The picture, and the same a moment later. What comes in at the border mirrors what was there.

    picture: (H, W, 3), RGB, 0..1; both sides 16 or more.
    """
    height, width = picture.shape[:2]
    flow = np.zeros((height, width, 2), np.float32)
    if random.random() >= STILL:
        flow = random_flow(height, width, random)
    later = warp(picture, flow, cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101)
    later = later * np.float32(np.exp(random.normal(0, LIGHT))) + _grain(height, width, random)
    return Pair(picture, later.clip(0, 1, dtype=np.float32), flow, inside(flow))


def random_flow(height: int, width: int, random: np.random.Generator) -> NDArray[np.float32]:
    """A pan, zoom and turn, and a smooth bend: (H, W, 2), pixels in x and y."""
    side = min(height, width)
    y, x = np.indices((height, width), dtype=np.float32)
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    way, angle = random.uniform(0, 2 * np.pi), random.normal(0, TURN)
    pan = PAN * side * random.random() ** 2  # mostly slow
    zoom = np.exp(random.normal(0, ZOOM))
    nodes = random.normal(0, BEND * side * random.random(), (NODES, NODES, 2))
    bend = cv2.resize(nodes.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    across = cosine * x - sine * y - x + pan * np.cos(way)
    down = sine * x + cosine * y - y + pan * np.sin(way)
    return (np.stack([across, down], axis=2) + bend).astype(np.float32)


def _grain(height: int, width: int, random: np.random.Generator) -> Frame:
    """Noise of a strength and coarseness drawn anew: (H, W, 3), around 0."""
    strength, block = random.uniform(0, GRAIN), int(random.choice(BLOCKS))
    small = (-(-height // block), -(-width // block), 3)
    noise = random.normal(0, strength, small).astype(np.float32)
    return noise.repeat(block, 0).repeat(block, 1)[:height, :width]


@dataclass(frozen=True)
class Clip:
    """A film to take pairs of frames from. seconds: of it."""

    path: Path
    seconds: float

    def pair(self, random: np.random.Generator) -> tuple[Image.Image, Image.Image] | None:
        """Two neighboring frames from anywhere in it; None where it cannot be decoded."""
        try:
            with av.open(str(self.path)) as film:
                stream = film.streams.video[0]
                stream.codec_context.thread_count = 1  # a loader's process is one of many
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
    """The first frames of which the second is after `place` (seconds), or the last two."""
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
    """The films in a folder, in name order. Raises BadInput when there is none."""
    if not folder.is_dir():
        raise BadInput(f"{printable(folder)}: no such folder")
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    found = [clip for clip in map(_clip, files) if clip is not None]
    if not found:
        raise BadInput(f"{printable(folder)}: no films in it")
    return found


def _clip(path: Path) -> Clip | None:
    """None for what is no film of two frames or more."""
    try:
        with av.open(str(path)) as film:
            seconds = (film.duration or 0) / av.time_base
    except (FFmpegError, OSError, ValueError):
        return None
    clip = Clip(path, seconds)
    return clip if seconds > 0 and clip.pair(np.random.default_rng(0)) is not None else None


def filmed(earlier: NDArray[np.uint8], later: NDArray[np.uint8]) -> Pair | None:
    """A pair of a film's frames, (H, W, 3), RGB; None across a cut."""
    flow, seen = backward_flow(earlier, later)
    if seen.mean() < MIN_SEEN:
        return None
    first, second = (np.float32(1 / 255) * frame for frame in (earlier, later))
    return Pair(first, second, flow, seen)
