"""Training pictures: folders to files, files to tensors, batches that depend on (seed, step)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from st.runtime.errors import BadInput, printable
from st.runtime.pictures.jpeg_scans import MOST as MOST_SCANS
from st.runtime.pictures.jpeg_scans import endless
from st.train.data.motion import Clip, Pair, filmed, moved
from st.train.losses.temporal import Motion
from st.train.method import SHIFT, Batch

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
# Whatever the suffix says: Pillow would hand PostScript to another program.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
THIN = 16  # a style picture's long side is at most so many times its short one


def list_pictures(folder: Path) -> list[Path]:
    """Every picture below a folder, in name order. Raises BadInput when there is none."""
    if not folder.is_dir():
        raise BadInput(f"{printable(folder)}: no such folder")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise BadInput(f"{printable(folder)}: no pictures in it ({', '.join(sorted(SUFFIXES))})")
    return found


def held_out(path: Path, one_in: int) -> bool:
    """Whether a picture is kept from training, to measure on: about one in so many, by a hash of
    its file's name, so the same in every folder and on every machine. 0: none."""
    digest = hashlib.sha256(path.name.encode(errors="surrogateescape")).digest()
    return one_in > 0 and int.from_bytes(digest[:8], "big") % one_in == 0


def style_files(given: Sequence[str]) -> list[tuple[str, Path]]:
    """Names and files, in the order given, of files, NAME=FILE pairs, or folders of files.

    Raises BadInput for what is none of these.
    """
    found: list[tuple[str, Path]] = []
    for item in given:
        name, equals, rest = item.partition("=")
        if Path(item).is_dir():
            found += [(path.stem, path) for path in list_pictures(Path(item))]
        elif Path(item).is_file():
            found.append((Path(item).stem, Path(item)))
        elif equals and Path(rest).is_file():
            found.append((name, Path(rest)))
        else:
            raise BadInput(f"{printable(item)}: no such style picture or folder")
    return found


def named_styles(given: Sequence[str]) -> dict[str, Path]:
    """Style pictures by name: `style_files`, where a name may stand once.

    Raises BadInput for two styles of one name, or an empty name.
    """
    styles: dict[str, Path] = {}
    for name, path in style_files(given):
        if not name or name in styles:
            problem = "two styles have this name" if name else "a style without a name"
            raise BadInput(f"{printable(name)!r}: {problem}, give it as --style NAME=FILE")
        styles[name] = path
    return styles


def open_rgb(path: Path) -> Image.Image:
    """A picture, upright or not, as 8-bit RGB. Raises BadInput when it is none."""
    try:
        if path.exists() and not path.is_file():
            raise OSError("not a regular file")
        with Image.open(path, formats=FORMATS) as image:
            if image.mode == "F":
                raise ValueError("32-bit float pixels have no fixed white")
            if endless(image):
                raise ValueError(f"a JPEG of over {MOST_SCANS} scans")
            return image.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds on damaged files
        why = printable(error, 80)
        raise BadInput(f"{printable(path)}: not a readable picture ({why})") from None


def to_tensor(image: Image.Image) -> Tensor:
    """(3, H, W), RGB, 0..1, float32."""
    array = np.asarray(image, dtype=np.float32) / 255
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()


def load_style(path: Path, short_side: int) -> Tensor:
    """A style picture with that short side: (1, 3, H, W), RGB, 0..1.

    Raises BadInput when it is none, or too thin to be scaled to that.
    """
    image = open_rgb(path)
    if max(image.size) > THIN * min(image.size):
        raise BadInput(f"{printable(path)}: {image.width}×{image.height} is too thin for a style")
    factor = short_side / min(image.size)
    size = (round(image.width * factor), round(image.height * factor))
    return to_tensor(image.resize(size, Image.Resampling.LANCZOS))[None]


def random_crop(image: Image.Image, size: int, random: np.random.Generator) -> Image.Image:
    """A square of `size` pixels, mirrored half of the time, out of the picture at a random scale.

    The short side becomes 1 to 2 times `size`, but no more than 1.5 times what the file has:
    blown-up photographs have no detail to learn from.
    """
    short = min(image.size)
    most = max(size, min(2 * size, round(1.5 * short)))
    factor = random.integers(size, most + 1) / short
    width, height = (max(size, round(side * factor)) for side in image.size)
    x, y = random.integers(width - size + 1), random.integers(height - size + 1)
    left, right = (v / width * image.width for v in (x, x + size))
    top, bottom = (v / height * image.height for v in (y, y + size))
    box = (left, top, right, bottom)
    crop = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else crop


@dataclass(frozen=True)
class Batches(Dataset[Batch]):
    """batches[step] is the batch of that step: a pure function of (seed, rank, step).

    So resuming needs no saved random state, and workers need no coordination. Styles take turns:
    every style is seen equally often.

    pairs: how many of a batch's contents are followed by a later frame, in every `every`-th batch.
    clips: where half of these come from; the others, and all without clips, are photographs moved.
    """

    content: Sequence[Path]  # without any, the contents are black
    style: Sequence[Path]  # to crop from; empty for methods with named styles
    styles: int  # how many named styles
    size: int
    count: int
    seed: int = 0
    rank: int = 0
    pairs: int = 0
    every: int = 1
    clips: Sequence[Clip] = ()

    def __getitem__(self, step: int) -> Batch:
        random = np.random.default_rng((self.seed, self.rank, step))
        content = self._crops(self.content, random)
        style = self._crops(self.style, random) if self.style else None
        first = step * self.count
        index = [self._turn(first + i) for i in range(self.count)]
        y, x = (int(v) for v in random.integers(SHIFT, size=2))
        seed = int(random.integers(1 << 62))
        motion = None
        if self.pairs and step % self.every == 0:
            random = np.random.default_rng((self.seed, self.rank, 1 << 41, step))
            pairs = [self._pair(picture, random) for picture in content[: self.pairs]]
            content = torch.cat([_stacked([p.earlier for p in pairs]), content[self.pairs :]])
            later, flow = _stacked([p.later for p in pairs]), _stacked([p.flow for p in pairs])
            seen = _stacked([p.seen[..., None].astype(np.float32) for p in pairs])
            motion = Motion(later, flow, seen)
        return Batch(content, torch.tensor(index), style, (y, x), step, seed, motion)

    def _pair(self, photograph: Tensor, random: np.random.Generator) -> Pair:
        """Two frames of a clip, or a photograph (3, size, size) and the same moved."""
        if self.clips and random.random() < 0.5:
            frames = self.clips[int(random.integers(len(self.clips)))].pair(random)
            if frames is not None:
                seed = int(random.integers(1 << 62))  # the same crop of both
                crops = [random_crop(f, self.size, np.random.default_rng(seed)) for f in frames]
                pair = filmed(*(np.asarray(crop) for crop in crops))
                if pair is not None:
                    return pair
        return moved(photograph.permute(1, 2, 0).numpy(), random)

    def _turn(self, crop: int) -> int:
        """The style of the crop of that number: each round of all styles in an order of its own."""
        turn, place = divmod(crop, self.styles)
        random = np.random.default_rng((self.seed, self.rank, 1 << 40, turn))
        return int(random.permutation(self.styles)[place])

    def _crops(self, files: Sequence[Path], random: np.random.Generator) -> Tensor:
        if not files:
            return torch.zeros(self.count, 3, self.size, self.size)
        chosen = random.integers(len(files), size=self.count)
        crops = [random_crop(open_rgb(files[i]), self.size, random) for i in chosen]
        return torch.stack([to_tensor(crop) for crop in crops])


def _stacked(frames: Sequence[NDArray[np.float32]]) -> Tensor:
    """(H, W, C) each -> (N, C, H, W)."""
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()
