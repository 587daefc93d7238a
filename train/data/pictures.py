"""Training pictures: files to pixels, pixels to tensors and crops."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from st.runtime.errors import BadInput, printable
from st.runtime.pictures.io import read_picture
from st.runtime.pictures.resize import with_short_side

MAX_ASPECT = 16  # maximum ratio of a style picture's long side to its short side
ZOOM = 2.0  # maximum ratio of a scaled picture's short side to the side of its crops
MAX_BAD = 8  # unreadable files among the first 16 before the folder is rejected


def to_tensor(image: Image.Image | NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) RGB, 0..255 -> (3, H, W), 0..1, float32."""
    array = np.asarray(image, dtype=np.float32) / 255
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()


def load_style(path: str | os.PathLike[str], short_side: int) -> Tensor:
    """A style picture, scaled to that short side: (1, 3, H, W), RGB, 0..1.

    Raises BadInput when it cannot be read, or its sides differ by a factor over MAX_ASPECT.
    """
    pixels = read_picture(os.fspath(path), min_side=2 * short_side).rgb
    height, width = pixels.shape[:2]
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise BadInput(f"{printable(path)}: {width}×{height} is too narrow for a style picture")
    return to_tensor(with_short_side(pixels, short_side))[None]


def random_crop(
    image: Image.Image, size: int, random: np.random.Generator, zoom: float = ZOOM
) -> Image.Image:
    """A square crop of `size` pixels at a random place and scale, mirrored half of the time.

    The picture's short side is scaled to `size` to zoom·size pixels, and to at most 1.5 times what
    that of the file: enlarged photographs have no detail to learn from.
    """
    short = min(image.size)
    most = max(size, min(round(zoom * size), round(1.5 * short)))
    factor = random.integers(size, most + 1) / short
    width, height = (max(size, round(side * factor)) for side in image.size)
    x, y = random.integers(width - size + 1), random.integers(height - size + 1)
    left, right = (v / width * image.width for v in (x, x + size))
    top, bottom = (v / height * image.height for v in (y, y + size))
    box = (left, top, right, bottom)
    crop = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else crop


class PictureSource:
    """Pictures to take random crops from: read on demand, scaled down, cached within a budget.

    The result of `draw` depends only on the random state and the files, not on the cache.

    files: paths. short_side: pictures with a larger short side are scaled down to it.
    budget: bytes of the cache; pictures beyond it are read again each time.
    unreadable: by path, why a file could not be used.
    """

    def __init__(self, files: Sequence[str], short_side: int, budget: int) -> None:
        self.files, self.short_side = files, short_side
        self.unreadable: dict[str, str] = {}
        self._free = budget
        self._reported = 0
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self._readable: set[int] = set()

    def draw(self, count: int, random: np.random.Generator) -> list[Image.Image]:
        """`count` random pictures, RGB. An unreadable one is replaced by another.

        Raises BadInput when most files are unreadable.
        """
        chosen = [int(i) for i in random.integers(len(self.files), size=count)]
        pictures = []
        for first in chosen:
            number = first
            while (pixels := self._read(number)) is None:
                number = int(random.integers(len(self.files)))
            pictures.append(Image.fromarray(pixels))
        return pictures

    def new_problems(self) -> tuple[str, ...]:
        """Messages about unreadable files found since the last call."""
        new = tuple(self.unreadable.values())[self._reported :]
        self._reported += len(new)
        return new

    def _read(self, number: int) -> NDArray[np.uint8] | None:
        if (kept := self._kept.get(number)) is not None:
            return kept
        path = self.files[number]
        if path in self.unreadable:
            return None
        try:
            pixels = read_picture(path, min_side=self.short_side).rgb
        except BadInput as error:
            self._note(path, str(error))
            return None
        except MemoryError:
            self._note(path, f"{printable(path)}: too large for this machine's memory")
            return None
        self._readable.add(number)
        if min(pixels.shape[:2]) > self.short_side:
            pixels = with_short_side(pixels, self.short_side)
        if pixels.nbytes <= self._free:
            self._free -= pixels.nbytes
            self._kept[number] = pixels
        return pixels

    def _note(self, path: str, why: str) -> None:
        """Remember an unreadable file. Raises BadInput when most of the files are."""
        self.unreadable[path] = why
        bad, good = len(self.unreadable), len(self._readable)
        if 2 * bad > max(bad + good, min(len(set(self.files)), 2 * MAX_BAD)):
            raise BadInput(f"{bad} of {bad + good} pictures cannot be read, the last: {why}")
