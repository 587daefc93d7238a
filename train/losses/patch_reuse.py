"""Patch assignment with a penalty on reuse, so that each style patch is used about once.

Gu, Chen, Liao and Yuan, CVPR 2018: a painting whose features are a permutation of the style's has
both the local and the global statistics of the style. Each use of a patch lowers its score for the
next use, and a bound limits the number of uses.
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
PAIRS = 1 << 25  # patch pairs compared exhaustively; with more, the coarser layer guides
REACH = 2  # cells around the guided position in the first attempt


@dataclass(frozen=True)
class Assignment:
    """Style patches assigned to positions.

    chosen: (N,), int64, the style patch of each position. uses: (M,), int64, the number of
    positions of each style patch.
    """

    chosen: Tensor
    uses: Tensor

    def used(self) -> float:
        """The fraction of the style patches in use, 0..1."""
        return float((self.uses > 0).float().mean())


@dataclass(frozen=True)
class Grid:
    """The assignment on the coarser layer, which has half as many cells a side.

    chosen: (N,), see Assignment. cells: (h, w) of the painting's features on that layer.
    style_cells: (h, w) of the style's.
    """

    chosen: Tensor
    cells: tuple[int, int]
    style_cells: tuple[int, int]


# (unassigned positions, which patches are below the bound, attempt) -> scores, indices: (n, K)
Proposals = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def assign_patches(
    features: Tensor, style: Tensor, max_uses: int, penalty: float, guide: Grid | None = None
) -> Assignment:
    """Assign a style patch to every patch of the features, 3x3 at stride 1.

    features: (1, C, h, w). style: (1, C, h', w'). penalty: subtracted from a correlation for each
    earlier use. max_uses: bound on the uses of a patch; multiplied by ceil(positions / patches) if
    there are fewer style patches than positions. guide: the assignment on the coarser layer; large
    layers search only around the patches it points to, in time linear in the positions.
    """
    bank = Bank.of([style])
    rows, columns = features.shape[-2] - 2, features.shape[-1] - 2
    positions = rows * columns
    bound = max_uses * -(-positions // len(bank))
    if guide is None or positions * len(bank) <= PAIRS:
        propose = everywhere(features, bank)
    else:
        propose = nearby(features, style, bank, guide)
    chosen = torch.full((positions,), -1, dtype=torch.int64, device=features.device)
    uses = np.zeros(len(bank), np.int64)
    attempt = 0
    while len(left := (chosen < 0).nonzero()[:, 0]):
        free = torch.from_numpy(uses < bound).to(features.device)
        scores, indices = propose(left, free, attempt)
        taken = assign_greedily(scores.cpu().numpy(), indices.cpu().numpy(), uses, bound, penalty)
        chosen[left] = torch.from_numpy(taken).to(features.device)
        attempt += 1
    return Assignment(chosen, torch.from_numpy(uses))


def assign_greedily(
    scores: NDArray[np.floating],
    indices: NDArray[np.int64],
    uses: NDArray[np.int64],
    bound: int,
    penalty: float,
) -> NDArray[np.int64]:
    """Greedy assignment in order of the best score: (n, K) candidates -> (n,), -1 for none.

    A position takes the candidate with the highest score - penalty * uses among those used less
    than `bound` times. `uses`, (M,), is updated.
    """
    taken = np.full(len(scores), -1, np.int64)
    for position in np.argsort(-scores.max(axis=1), kind="stable"):
        own = indices[position]
        count = uses[own]
        worth = np.where(count < bound, scores[position] - penalty * count, -np.inf)
        best = int(worth.argmax())
        if worth[best] > -np.inf:
            taken[position] = own[best]
            uses[own[best]] += 1
    return taken


def everywhere(features: Tensor, bank: Bank) -> Proposals:
    """Candidates among all free patches, more of them in each attempt."""

    def propose(left: Tensor, free: Tensor, attempt: int) -> tuple[Tensor, Tensor]:
        numbers = free.nonzero()[:, 0]
        count = max(1, min(MAX_CANDIDATES << 2 * attempt, FLOATS // len(left)))
        rows = left if attempt else None  # in the first attempt, all of them
        scores, where = candidates(features, bank.subset(numbers), count, rows)
        return scores, numbers[where]

    return propose


def nearby(features: Tensor, style: Tensor, bank: Bank, guide: Grid) -> Proposals:
    """Candidates around the position that the coarser layer points to, wider in each attempt.

    When the search covers the whole style picture, the remaining positions search everywhere.
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
        y, x = guided_position(left, columns, guide)
        steps = torch.arange(-REACH, REACH + 1, device=left.device) * (reach // REACH)
        dy, dx = (d.flatten() for d in torch.meshgrid(steps, steps, indexing="ij"))
        row = (y[:, None] + dy).clamp(0, style_rows - 1)
        column = (x[:, None] + dx).clamp(0, style_columns - 1)
        indices = row * style_columns + column
        return correlations(own, own_norms, left, bank, norms, indices), indices

    return propose


def guided_position(positions: Tensor, columns: int, guide: Grid) -> tuple[Tensor, Tensor]:
    """Row and column of the style patch that the guide points to, for positions of this layer."""
    height, width = guide.cells
    middle_y, middle_x = positions // columns + 1, positions % columns + 1
    coarse_y = (middle_y // 2).clamp(1, height - 2)  # center of the coarse patch at this position
    coarse_x = (middle_x // 2).clamp(1, width - 2)
    match = guide.chosen[(coarse_y - 1) * (width - 2) + coarse_x - 1]
    style_y = match // (guide.style_cells[1] - 2) + 1
    style_x = match % (guide.style_cells[1] - 2) + 1
    return 2 * (style_y - coarse_y) + middle_y - 1, 2 * (style_x - coarse_x) + middle_x - 1


def correlations(
    own: Bank, own_norms: Tensor, positions: Tensor, bank: Bank, norms: Tensor, indices: Tensor
) -> Tensor:
    """Normalized cross-correlation of each position's patch with its candidates: (n, K)."""
    scores = torch.zeros(indices.shape, dtype=own.flat.dtype, device=indices.device)
    chunk = max(1, FLOATS // (indices.shape[1] * own.flat.shape[1]))
    for first in range(0, len(positions), chunk):
        part = slice(first, first + chunk)
        for dy in range(bank.size):
            for dx in range(bank.size):
                mine = own.cells(positions[part], dy, dx)  # (n, C)
                theirs = bank.cells(indices[part].flatten(), dy, dx)  # (n * K, C)
                theirs = theirs.view(len(mine), -1, mine.shape[1])
                scores[part] += torch.einsum("nc,nkc->nk", mine, theirs)
    return scores / own_norms[positions][:, None] / norms[indices]
