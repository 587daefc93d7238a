"""Style patches handed out so that each is used about once: matching with a price on reuse.

Gu, Chen, Liao and Yuan, CVPR 2018: a painting whose features are the style's, only moved about, has
the style's local and its global statistics both. So a patch that is taken costs more to take again,
and beyond a bound it cannot be taken at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from st.train.losses.patches import Bank, candidates

FLOATS = 1 << 24  # scores held at once: 64 MB
MAX_CANDIDATES = 512
PAIRS = 1 << 25  # patch pairs compared in full; beyond, the coarser layer's matches guide
REACH = 2  # cells around the guided place that are tried first


@dataclass(frozen=True)
class Handed:
    """chosen: (N,), the style patch of each place. uses: (M,), how often each was taken; int64."""

    chosen: Tensor
    uses: Tensor

    def used(self) -> float:
        """Which part of the style patches was taken, 0..1."""
        return float((self.uses > 0).float().mean())


@dataclass(frozen=True)
class Grid:
    """Where things stood on the coarser layer, for the layer with twice as many cells a side.

    chosen: (N,), of Handed. cells: (h, w) of the painting's features there; style_cells: of the
    style's.
    """

    chosen: Tensor
    cells: tuple[int, int]
    style_cells: tuple[int, int]


# (places still without a patch, patches still free, attempt) -> scores and indices, (n, K) each
Proposals = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def hand_out(
    features: Tensor, style: Tensor, max_uses: int, price: float, guide: Grid | None = None
) -> Handed:
    """A style patch for every patch of the features; none is used more than the bound.

    features: (1, C, h, w), style: (1, C, h', w'), 3x3 patches of both at stride 1. price: what each
    earlier use takes off a correlation. max_uses: the bound, where there are as many style patches
    as places; with fewer it is that many times ceil(places / patches). guide: the coarser layer's
    result; with it patches are sought around where it points, and time and memory grow with the
    places alone.
    """
    bank = Bank.of([style])
    rows, columns = features.shape[-2] - 2, features.shape[-1] - 2
    places = rows * columns
    bound = max_uses * -(-places // len(bank))
    if guide is None or places * len(bank) <= PAIRS:
        propose = everywhere(features, bank)
    else:
        propose = nearby(features, style, bank, guide)
    chosen = torch.full((places,), -1, dtype=torch.int64, device=features.device)
    uses = np.zeros(len(bank), np.int64)
    attempt = 0
    while len(left := (chosen < 0).nonzero()[:, 0]):
        free = torch.from_numpy(uses < bound).to(features.device)
        scores, indices = propose(left, free, attempt)
        taken = settle(scores.cpu().numpy(), indices.cpu().numpy(), uses, bound, price)
        chosen[left] = torch.from_numpy(taken).to(features.device)
        attempt += 1
    return Handed(chosen, torch.from_numpy(uses))


def settle(
    scores: NDArray[np.floating],
    indices: NDArray[np.int64],
    uses: NDArray[np.int64],
    bound: int,
    price: float,
) -> NDArray[np.int64]:
    """Let places choose among their candidates, the surest first: (n, K) -> (n,), -1: none left.

    A place takes the candidate of the highest score less `price` a use; `uses` is counted up.
    """
    taken = np.full(len(scores), -1, np.int64)
    for place in np.argsort(-scores.max(axis=1), kind="stable"):
        own = indices[place]
        count = uses[own]
        worth = np.where(count < bound, scores[place] - price * count, -np.inf)
        best = int(worth.argmax())
        if worth[best] > -np.inf:
            taken[place] = own[best]
            uses[own[best]] += 1
    return taken


def everywhere(features: Tensor, bank: Bank) -> Proposals:
    """Candidates out of all free patches, more of them at each attempt."""

    def propose(left: Tensor, free: Tensor, attempt: int) -> tuple[Tensor, Tensor]:
        numbers = free.nonzero()[:, 0]
        count = max(1, min(MAX_CANDIDATES << 2 * attempt, FLOATS // len(left)))
        rows = left if attempt else None  # the first time, all of them
        scores, where = candidates(features, bank.subset(numbers), count, rows)
        return scores, numbers[where]

    return propose


def nearby(features: Tensor, style: Tensor, bank: Bank, guide: Grid) -> Proposals:
    """Candidates around where the coarser layer's matches point, farther away at each attempt.

    When even the whole style picture has been walked over, the rest is sought everywhere.
    """
    columns, style_rows = features.shape[-1] - 2, style.shape[-2] - 2
    style_columns = style.shape[-1] - 2
    own = Bank.of([features])
    own_norms, norms = own.norms(), bank.norms()
    last = everywhere(features, bank)

    def propose(left: Tensor, free: Tensor, attempt: int) -> tuple[Tensor, Tensor]:
        reach = REACH << attempt
        if reach > max(style_rows, style_columns):
            return last(left, free, attempt)
        y, x = pointed_at(left, columns, guide)
        steps = torch.arange(-REACH, REACH + 1, device=left.device) * (reach // REACH)
        dy, dx = (d.flatten() for d in torch.meshgrid(steps, steps, indexing="ij"))
        row = (y[:, None] + dy).clamp(0, style_rows - 1)
        column = (x[:, None] + dx).clamp(0, style_columns - 1)
        indices = row * style_columns + column
        return correlations(own, own_norms, left, bank, norms, indices), indices

    return propose


def pointed_at(places: Tensor, columns: int, guide: Grid) -> tuple[Tensor, Tensor]:
    """Row and column of the style patch that the guide means for places of the finer layer."""
    height, width = guide.cells
    middle_y, middle_x = places // columns + 1, places % columns + 1
    coarse_y = (middle_y // 2).clamp(1, height - 2)  # middle of the coarse patch over this place
    coarse_x = (middle_x // 2).clamp(1, width - 2)
    match = guide.chosen[(coarse_y - 1) * (width - 2) + coarse_x - 1]
    style_y = match // (guide.style_cells[1] - 2) + 1
    style_x = match % (guide.style_cells[1] - 2) + 1
    return 2 * (style_y - coarse_y) + middle_y - 1, 2 * (style_x - coarse_x) + middle_x - 1


def correlations(
    own: Bank, own_norms: Tensor, places: Tensor, bank: Bank, norms: Tensor, indices: Tensor
) -> Tensor:
    """Normalized cross-correlation of each place's patch with its candidates: (n, K)."""
    scores = torch.zeros(indices.shape, dtype=own.flat.dtype, device=indices.device)
    chunk = max(1, FLOATS // (indices.shape[1] * own.flat.shape[1]))
    for first in range(0, len(places), chunk):
        part = slice(first, first + chunk)
        for dy in range(bank.size):
            for dx in range(bank.size):
                mine = own.cells(places[part], dy, dx)  # (n, C)
                theirs = bank.cells(indices[part].flatten(), dy, dx)  # (n * K, C)
                theirs = theirs.view(len(mine), -1, mine.shape[1])
                scores[part] += torch.einsum("nc,nkc->nk", mine, theirs)
    return scores / own_norms[places][:, None] / norms[indices]
