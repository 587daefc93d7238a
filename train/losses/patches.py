"""Nearest patches of features by normalized cross-correlation, computed as a convolution.

Li and Wand, CVPR 2016, section 3: NN(i) = argmax over j of <P_i, S_j> / (|P_i| |S_j|) (eq. 3). The
style patches, divided by their norms, are the filters of a convolution. Its response at i is the
correlation times |P_i|, which does not change the argmax. Filters are extracted in chunks, so that
memory does not grow with the product of the numbers of patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d

FLOATS = 1 << 25  # per chunk of filters or responses: 128 MB


@dataclass(frozen=True)
class Bank:
    """All size x size patches of feature maps, at stride 1, extracted on demand.

    flat: (cells, C), the cells of all maps, row by row. start: (M,), the index of each patch's top
    left cell. width: (M,), the row length of the map that the patch is from.
    """

    flat: Tensor
    start: Tensor
    width: Tensor
    size: int

    @classmethod
    def of(cls, maps: Sequence[Tensor], size: int = 3) -> Bank:
        """The patches of maps, each (1, C, h, w). Maps with a side under `size` have none."""
        starts, widths, cells = [], [], 0
        for features in maps:
            height, width = features.shape[-2:]
            if min(height, width) >= size:
                rows = torch.arange(height - size + 1)[:, None] * width
                starts.append((cells + rows + torch.arange(width - size + 1)).flatten())
                widths.append(torch.full_like(starts[-1], width))
            cells += height * width
        place = maps[0].device
        none = [torch.zeros(0, dtype=torch.int64)]
        flat = torch.cat([features.flatten(2)[0].T for features in maps])
        start, width = torch.cat(starts or none), torch.cat(widths or none)
        return cls(flat, start.to(place), width.to(place), size)

    def __len__(self) -> int:
        return len(self.start)

    def subset(self, indices: Tensor) -> Bank:
        """A bank of some of the patches, which shares the cells."""
        return Bank(self.flat, self.start[indices], self.width[indices], self.size)

    def cells(self, indices: Tensor, dy: int, dx: int) -> Tensor:
        """The cells at row dy, column dx of the patches: (n,) -> (n, C)."""
        return self.flat[self.start[indices] + dy * self.width[indices] + dx]

    def take(self, indices: Tensor) -> Tensor:
        """The patches with these indices: (n,) -> (n, C, size, size)."""
        side = range(self.size)
        columns = [self.cells(indices, dy, dx) for dy in side for dx in side]
        return torch.stack(columns, dim=2).unflatten(2, (self.size, self.size))

    def norms(self) -> Tensor:
        """Euclidean norms of the patches: (M,), above 0."""
        squares, every = self.flat.square().sum(1), torch.arange(len(self), device=self.flat.device)
        sums = Bank(squares[:, None], self.start, self.width, self.size).take(every)
        return sums.sum((1, 2, 3)).sqrt().clamp_min(1e-8)


@torch.no_grad()
def nearest(features: Tensor, bank: Bank, chunk: int | None = None) -> Tensor:
    """The index of the nearest patch of the bank for each patch of the features: (N,).

    features: (1, C, h, w); its patches are in row-major order. chunk: patches of the bank compared
    at once; affects memory and time, not the result. Ties go to the lower index.
    """
    return candidates(features, bank, 1, chunk=chunk)[1][:, 0]


@torch.no_grad()
def candidates(
    features: Tensor,
    bank: Bank,
    count: int,
    rows: Tensor | None = None,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The `count` nearest patches of the bank: correlations and indices, (n, count), best first.

    Correlations are -1..1. rows: indices of the patches of the features to match; all by default.
    `count` is limited to the size of the bank.
    """
    side = bank.size
    places = (features.shape[-2] - side + 1) * (features.shape[-1] - side + 1)
    filter_size = features.shape[1] * side * side
    chunk = chunk or max(1, FLOATS // max(places, filter_size))
    count = min(count, len(bank))
    own, norms = Bank.of([features], side), bank.norms()
    few = None if rows is None else own.take(rows).flatten(1)
    scores = features.new_zeros(places if rows is None else len(rows), 0)
    indices = own.start.new_zeros(scores.shape)
    for first in range(0, len(bank), chunk):
        part = torch.arange(first, min(first + chunk, len(bank)), device=features.device)
        filters = bank.take(part) / norms[part].view(-1, 1, 1, 1)
        if few is None:
            found = conv2d(features, filters)[0].flatten(1).T
        else:
            found = few @ filters.flatten(1).T
        if count == 1:
            top, where = found.max(dim=1, keepdim=True)
        else:
            top, where = found.topk(min(count, len(part)), dim=1)
        scores = torch.cat([scores, top], dim=1)
        indices = torch.cat([indices, part[where]], dim=1)
        # Earlier chunks come first and the sort is stable, so ties keep the lower index.
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :count]
        scores, indices = scores.gather(1, order), indices.gather(1, order)
    lengths = own.norms() if rows is None else own.norms()[rows]
    return scores / lengths[:, None], indices


@dataclass(frozen=True)
class Votes:
    """Sums over overlapping patches on a grid, sufficient for the squared distance to them.

    total: (1, C, h, w), the weighted sum of the patches at each cell. count: (1, 1, h, w), the sum
    of their weights. energy: scalar, the weighted sum of their squares.
    """

    total: Tensor
    count: Tensor
    energy: Tensor

    def __add__(self, other: Votes) -> Votes:
        return Votes(self.total + other.total, self.count + other.count, self.energy + other.energy)

    def mean(self) -> Tensor:
        """The mean of the patches at each cell: (1, C, h, w); 0 where there is no patch."""
        return self.total / self.count.clamp_min(1e-8)


@torch.no_grad()
def assemble(
    bank: Bank, indices: Tensor, height: int, width: int, weights: Tensor | None = None
) -> Votes:
    """Sum patch indices[i] of the bank at position i of a (height, width) grid, in row-major order.

    indices: (N,), N = (height - size + 1) * (width - size + 1). weights: (N,), 1 by default.
    """
    rows, columns = height - bank.size + 1, width - bank.size + 1
    weights = bank.flat.new_ones(len(indices)) if weights is None else weights
    total = bank.flat.new_zeros(height, width, bank.flat.shape[1])
    count = bank.flat.new_zeros(height, width, 1)
    energy = bank.flat.new_zeros(())
    for dy in range(bank.size):
        for dx in range(bank.size):
            held = bank.cells(indices, dy, dx)
            place = slice(dy, dy + rows), slice(dx, dx + columns)
            total[place] += (weights[:, None] * held).view(rows, columns, -1)
            count[place] += weights.view(rows, columns, 1)
            energy += (weights * held.square().sum(1)).sum()
    return Votes(total.permute(2, 0, 1)[None], count.permute(2, 0, 1)[None], energy)


def patch_distance(features: Tensor, votes: Votes) -> Tensor:
    """Eq. 2 relative to the energy of the assigned patches: (1, C, h, w) -> scalar.

    Equals the sum of squared differences between the patches of the features and those assigned to
    them, computed per cell in a ninth of the memory.
    """
    squares = (votes.count * features.square()).sum()
    return (squares - 2 * (features * votes.total).sum() + votes.energy) / votes.energy.clamp_min(
        1e-12
    )
