"""Read and write numbered pictures as a video: frames/%05d.png, or a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from st.runtime.errors import BadInput, StError, printable
from st.runtime.pictures.io import read_picture
from st.runtime.system.atomic_files import atomic_write
from st.video.film.color import Converter, RgbFrame
from st.video.film.constant_rate import ConstantRate, time_of
from st.video.film.picture_format import VideoFormat
from st.video.film.raw import SRGB

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
_NUMBER = re.compile(r"%0?(\d*)d")


def is_sequence(path: Path) -> bool:
    """Whether the path is a folder or a pattern such as frames/%05d.png.

    An existing file is not a pattern. Only names of pictures are: my%20dog.mp4 is not.
    """
    return path.is_dir() or (is_pattern(path) and not path.exists())


def is_pattern(path: Path) -> bool:
    """Whether the name contains a number field such as %05d."""
    return path.suffix.lower() in SUFFIXES and bool(_NUMBER.search(path.name))


def pictures_of(path: Path) -> list[Path]:
    """The pictures of a folder or of a pattern such as frames/%05d.png, in order.

    The pictures of a folder are sorted by name, with numbers in numeric order; those of a pattern
    by their number. Numbers may be missing.

    Raises BadInput: there are none.
    """
    if path.is_dir():
        found = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != "."]
        found.sort(key=_natural)
    elif path.parent.is_dir():
        pattern = _pattern(path)
        matches = ((pattern.fullmatch(p.name), p) for p in path.parent.iterdir())
        found = [p for _, p in sorted((int(m[1]), p) for m, p in matches if m)]
    else:
        found = []
    if not found:
        raise BadInput(f"{printable(path)}: no pictures there ({' '.join(SUFFIXES)})")
    return found


def _natural(path: Path) -> list[Any]:
    parts = re.split(r"(\d+)", path.name)
    return [(int(p), "") if p.isdigit() else (-1, p) for p in parts]


def _pattern(path: Path) -> re.Pattern[str]:
    place = _NUMBER.search(path.name)
    if place is None or len(_NUMBER.findall(path.name)) > 1:
        raise BadInput(f"{printable(path)}: needs one number field, like frames/%05d.png")
    digits = f"\\d{{{place[1]},}}" if place[1] else r"\d+"
    before, after = path.name[: place.start()], path.name[place.end() :]
    return re.compile(f"{re.escape(before)}({digits}){re.escape(after)}")


class ImageSequenceSource:
    """Reads pictures as frames. All must have the size of the first."""

    damaged = 0

    def __init__(self, path: Path, rate: Fraction) -> None:
        """Raises BadInput: no pictures, or the first cannot be read."""
        self._files = pictures_of(path)
        self.expected = len(self._files)
        first = read_picture(self._files[0])
        height, width = first.rgb.shape[:2]
        self.video_format = VideoFormat(
            height, width, SRGB, rate, time_base=1 / rate, alpha=first.alpha is not None
        )

    def items(self) -> Iterator[VideoFrame]:
        for number, file in enumerate(self._files):
            picture = read_picture(file)
            if picture.rgb.shape[:2] != (self.video_format.height, self.video_format.width):
                height, width = picture.rgb.shape[:2]
                raise BadInput(
                    f"{printable(file)}: is {width}×{height}, but the first picture is "
                    f"{self.video_format.width}×{self.video_format.height}; resize all to one size"
                )
            pixels: NDArray[Any] = picture.rgb
            if picture.alpha is not None:
                pixels = cv2.merge([picture.rgb, picture.alpha])  # type: ignore[assignment]
            frame = VideoFrame.from_ndarray(pixels, "rgb24" if picture.alpha is None else "rgba")
            SRGB.stamp(frame)
            frame.pts, frame.time_base = number, self.video_format.time_base
            yield frame

    def close(self) -> None:
        """Nothing to close: each picture is read at once."""


class ImageSequenceSink:
    """Writes frames as PNG files, at a constant rate, so that sound can be added in sync."""

    def __init__(self, path: Path, video_format: VideoFormat) -> None:
        """path: a pattern, or a folder (created if missing) for 00001.png, 00002.png, …

        Raises BadInput: another picture format than PNG, or such files exist already.
        """
        self._folder, self._name = _place(path)
        self._folder.mkdir(parents=True, exist_ok=True)
        pattern = _pattern(Path(self._name))
        if any(pattern.fullmatch(p.name) for p in self._folder.iterdir()):
            raise BadInput(
                f"{printable(self._folder)}: has such pictures already; give an empty folder"
            )
        self.video_format = video_format.upright().square()
        self._rotation = video_format.rotation
        self._timing = ConstantRate(video_format.rate)
        self._count = 0

    def prepare_frame(
        self,
        converter: Converter,
        rgb: NDArray[np.uint8],
        opened: RgbFrame,
        source: VideoFrame,
    ) -> tuple[bytes, Fraction]:
        alpha = opened.alpha
        if alpha is None:
            pixels = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        else:
            alpha = self._rotation.apply(alpha)
            pixels = cv2.merge([*reversed(cv2.split(rgb)), alpha])
        # The lowest compression is four times as fast and a tenth larger.
        done, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not done:
            raise StError("a frame could not be written as PNG")
        return data.tobytes(), time_of(source)

    def write(self, prepared: tuple[bytes, Fraction]) -> None:
        for data in self._timing.frames(*prepared):
            self._save(data)

    def copy(self, packet: Packet[Any]) -> None:
        """Do nothing: pictures have no sound."""

    def close(self) -> None:
        """Nothing to finish: each picture is complete when it is written."""

    def abandon(self) -> None:
        """Nothing to release."""

    def _save(self, data: bytes) -> None:
        self._count += 1
        with atomic_write(self._folder / (self._name % self._count), fsync=False) as part:
            part.write_bytes(data)


def _place(path: Path) -> tuple[Path, str]:
    if not is_pattern(path):
        return path, "%05d.png"
    _pattern(path)
    # No other "%" is allowed, since the name is used as a format string.
    if path.suffix.lower() != ".png" or path.name.count("%") != 1:
        raise BadInput(f"{printable(path)}: pictures are written as PNG, like frames/%05d.png")
    return path.parent, path.name
