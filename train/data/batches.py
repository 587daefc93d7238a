"""Batches of training crops, determined by (seed, rank, step)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from st.train.data.motion import Clip, Pair, filmed, moved
from st.train.data.pictures import ZOOM, PictureSource, random_crop, to_tensor
from st.train.losses.temporal import Motion
from st.train.method import SHIFT, Batch

WHOLE = 1.3  # zoom of style pictures that are seen nearly whole


@dataclass(frozen=True)
class Batches(Dataset[Batch]):
    """batches[step] is the batch of that step: a pure function of (seed, rank, step).

    Resuming therefore needs no saved random state, and workers no coordination. Every style occurs
    equally often.

    content: files of the photographs; if empty, contents are black.
    style: files to crop style pictures from; empty for methods with named styles.
    styles: number of named styles.
    size: side of the crops, in pixels. count: crops per batch.
    pairs: number of contents with a later frame, in every `every`-th batch.
    clips: videos for half of these pairs; the others are warped photographs.
    style_crop: side of the crops of style pictures, which are nearly whole (see `WHOLE`); 0 to crop
        them like photographs.
    memory: bytes of the picture cache in each worker process.
    """

    content: Sequence[str]
    style: Sequence[str]
    styles: int
    size: int
    count: int
    seed: int = 0
    rank: int = 0
    pairs: int = 0
    every: int = 1
    clips: Sequence[Clip] = ()
    style_crop: int = 0
    memory: int = 0

    def __getitem__(self, step: int) -> Batch:
        random = np.random.default_rng((self.seed, self.rank, step))
        content = self._crops(self._photographs, random, self.size, ZOOM)
        style = None
        if self.style:
            zoom = WHOLE if self.style_crop else ZOOM
            style = self._crops(self._paintings, random, self.style_crop or self.size, zoom)
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
        problems = self._photographs.new_problems() + self._paintings.new_problems()
        return Batch(content, torch.tensor(index), style, (y, x), step, seed, motion, problems)

    @cached_property
    def _photographs(self) -> PictureSource:
        return PictureSource(self.content, 2 * self.size, self._share)

    @cached_property
    def _paintings(self) -> PictureSource:
        side = math.ceil(WHOLE * self.style_crop) or 2 * self.size
        return PictureSource(self.style, side, self._share)

    @property
    def _share(self) -> int:
        return self.memory // 2 if self.content and self.style else self.memory

    def _pair(self, photograph: Tensor, random: np.random.Generator) -> Pair:
        """Two frames of a clip, or a photograph, (3, size, size), and a warped copy."""
        if self.clips and random.random() < 0.5:
            frames = self.clips[int(random.integers(len(self.clips)))].pair(random)
            if frames is not None:
                seed = int(random.integers(1 << 62))  # the same crop for both
                crops = [random_crop(f, self.size, np.random.default_rng(seed)) for f in frames]
                pair = filmed(*(np.asarray(crop) for crop in crops))
                if pair is not None:
                    return pair
        return moved(photograph.permute(1, 2, 0).numpy(), random)

    def _turn(self, crop: int) -> int:
        """The style index of a crop: each round of all styles has a new order."""
        turn, place = divmod(crop, self.styles)
        random = np.random.default_rng((self.seed, self.rank, 1 << 40, turn))
        return int(random.permutation(self.styles)[place])

    def _crops(
        self, source: PictureSource, random: np.random.Generator, size: int, zoom: float
    ) -> Tensor:
        if not source.files:
            return torch.zeros(self.count, 3, size, size)
        pictures = source.draw(self.count, random)
        return torch.stack([to_tensor(random_crop(p, size, random, zoom)) for p in pictures])


def _stacked(frames: Sequence[NDArray[np.float32]]) -> Tensor:
    """(H, W, C) each -> (N, C, H, W)."""
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()
