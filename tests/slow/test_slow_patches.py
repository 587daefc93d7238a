"""Nearest patches, reassembly and reuse penalty, compared with brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import fold, unfold

from st.train.losses.patch_reuse import (
    Grid,
    assign_greedily,
    assign_patches,
    correlations,
    guided_position,
)
from st.train.losses.patches import Bank, assemble, candidates, nearest, patch_distance


def maps(random: torch.Generator, *shapes: tuple[int, int]) -> list[Tensor]:
    return [torch.randn(1, 4, h, w, generator=random, dtype=torch.float64) for h, w in shapes]


def cut(features: Tensor) -> Tensor:
    """Patches by PyTorch's unfold: (M, C * 9)."""
    return unfold(features, 3)[0].T


def brute_force(features: Tensor, styles: list[Tensor]) -> Tensor:
    """All correlations at once: (N, M)."""
    mine, theirs = cut(features), torch.cat([cut(s) for s in styles])
    return (mine @ theirs.T) / mine.norm(dim=1)[:, None] / theirs.norm(dim=1)


def test_a_bank_cuts_every_patch_of_every_map(random):
    styles = maps(random, (5, 7), (2, 9), (4, 3))  # the second has none
    bank = Bank.of(styles)
    expected = torch.cat([cut(styles[0]), cut(styles[2])])
    assert len(bank) == 15 + 2
    assert torch.equal(bank.take(torch.arange(len(bank))).flatten(1), expected)
    torch.testing.assert_close(bank.norms(), expected.norm(dim=1))
    part = bank.subset(torch.tensor([16, 3]))
    assert torch.equal(part.take(torch.tensor([0, 1])).flatten(1), expected[[16, 3]])


@pytest.mark.parametrize("chunk", [1, 3, 16, 1000, None])
def test_nearest_patches_match_brute_force(random, chunk):
    features, styles = maps(random, (6, 9))[0], maps(random, (5, 7), (8, 4))
    expected = brute_force(features, styles).argmax(dim=1)
    assert torch.equal(nearest(features, Bank.of(styles), chunk), expected)


@pytest.mark.parametrize("chunk", [2, 7, None])
def test_candidates_match_brute_force(random, chunk):
    features, styles = maps(random, (6, 6))[0], maps(random, (5, 7))
    expected, order = brute_force(features, styles).sort(dim=1, descending=True)
    scores, indices = candidates(features, Bank.of(styles), 5, chunk=chunk)
    torch.testing.assert_close(scores, expected[:, :5])
    assert torch.equal(indices, order[:, :5])
    rows = torch.tensor([9, 2])
    scores, indices = candidates(features, Bank.of(styles), 5, rows, chunk)
    torch.testing.assert_close(scores, expected[rows, :5])
    assert torch.equal(indices, order[rows, :5])


def test_among_equal_patches_the_first_is_chosen():
    features = torch.ones(1, 1, 4, 4)
    assert nearest(features, Bank.of([torch.ones(1, 1, 5, 5)]), chunk=2).tolist() == [0] * 4


def test_overlapping_patches_match_unfold_and_fold(random):
    features, style = maps(random, (6, 7), (5, 5))
    bank = Bank.of([style])
    indices = torch.randint(len(bank), (20,), generator=random)
    weights = torch.rand(20, generator=random, dtype=torch.float64)
    votes = assemble(bank, indices, 6, 7, weights)
    chosen = cut(style)[indices]
    torch.testing.assert_close(votes.total, fold((weights[:, None] * chosen).T[None], (6, 7), 3))
    apart = (weights * (cut(features) - chosen).square().sum(1)).sum()
    scale = (weights * chosen.square().sum(1)).sum()
    torch.testing.assert_close(patch_distance(features, votes), apart / scale)


def test_a_picture_of_its_own_patches_is_at_distance_0(random):
    features = maps(random, (6, 7))[0]
    bank = Bank.of([features])
    votes = assemble(bank, nearest(features, bank), 6, 7)
    assert float(patch_distance(features, votes)) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(votes.mean(), features)


def test_greedy_assignment_penalizes_reuse_and_keeps_the_bound():
    scores = np.array([[0.9, 0.5], [0.8, 0.75], [0.7, 0.1], [0.6, 0.2]])
    indices = np.array([[0, 1], [0, 1], [0, 1], [0, 1]])
    uses = np.zeros(2, np.int64)
    # Position 1 would pay 0.1 for patch 0 and takes 1; position 2 pays it; then 0 is full.
    assert assign_greedily(scores, indices, uses, 2, 0.1).tolist() == [0, 1, 0, 1]
    assert uses.tolist() == [2, 2]
    assert assign_greedily(scores[:1], indices[:1], uses, 2, 0.1).tolist() == [-1]


@pytest.mark.parametrize("max_uses", [1, 2])
@pytest.mark.parametrize("penalty", [0.0, 0.05])
def test_reuse_is_bounded_even_if_all_places_prefer_one_patch(max_uses, penalty):
    random = torch.Generator().manual_seed(3)
    features = torch.ones(1, 3, 12, 14) + 0.01 * torch.rand(1, 3, 12, 14, generator=random)
    style = torch.rand(1, 3, 14, 13, generator=random)
    assigned = assign_patches(features, style, max_uses, penalty)
    counted = torch.bincount(assigned.chosen, minlength=12 * 11)
    assert torch.equal(counted, assigned.uses)
    assert assigned.uses.max() <= max_uses
    assert assigned.used() >= 1 / max_uses * 120 / 132 - 1e-6


def test_fewer_style_patches_than_places_are_used_equally():
    random = torch.Generator().manual_seed(4)
    features, style = (
        torch.rand(1, 3, 14, 14, generator=random),
        torch.rand(1, 3, 6, 6, generator=random),
    )
    assigned = assign_patches(features, style, 1, 0.05)
    assert len(assigned.chosen) == 144
    assert assigned.uses.tolist() == [9] * 16  # 144 / 16


def test_a_higher_penalty_uses_more_of_the_style():
    random = torch.Generator().manual_seed(6)
    features, style = (
        torch.rand(1, 3, 14, 14, generator=random),
        torch.rand(1, 3, 14, 14, generator=random),
    )
    used = [assign_patches(features, style, 50, penalty).used() for penalty in (0, 0.01, 1)]
    assert used[0] < used[1] < used[2] == 1


def test_a_guide_selects_the_patch_it_points_to(monkeypatch):
    # The painting is the style moved by (4, 6) cells; coarse matches say (2, 3).
    random = torch.Generator().manual_seed(7)
    whole = torch.rand(1, 3, 24, 28, generator=random)
    features, style = whole[..., 4:20, 6:22], whole[..., :20, :22]
    y, x = torch.arange(36) // 6, torch.arange(36) % 6  # patches of 8x8 cells
    guide = Grid((y + 2) * 9 + x + 3, (8, 8), (10, 11))
    places = torch.arange(14 * 14)
    row, column = guided_position(places, 14, guide)
    assert torch.equal(row, places // 14 + 4)
    assert torch.equal(column, places % 14 + 6)
    monkeypatch.setattr("st.train.losses.patch_reuse.PAIRS", 0)  # as on large layers
    assigned = assign_patches(features, style, 1, 0.05, guide)
    assert torch.equal(assigned.chosen, (places // 14 + 4) * 20 + places % 14 + 6)
    assert assigned.uses.max() == 1


def test_a_guide_that_misleads_still_finds_a_patch_for_every_place(monkeypatch):
    monkeypatch.setattr("st.train.losses.patch_reuse.PAIRS", 0)
    random = torch.Generator().manual_seed(8)
    features, style = (
        torch.rand(1, 2, 16, 16, generator=random),
        torch.rand(1, 2, 16, 16, generator=random),
    )
    guide = Grid(torch.zeros(36, dtype=torch.int64), (8, 8), (8, 8))  # all to one corner
    assigned = assign_patches(features, style, 1, 0.05, guide)
    assert assigned.uses.tolist() == [1] * 196


def test_local_correlations_match_brute_force(random):
    features, style = maps(random, (6, 9), (5, 7))
    own, bank = Bank.of([features]), Bank.of([style])
    places, indices = torch.tensor([3, 20]), torch.tensor([[0, 14, 3], [5, 5, 1]])
    found = correlations(own, own.norms(), places, bank, bank.norms(), indices)
    expected = brute_force(features, [style])[places].gather(1, indices)
    torch.testing.assert_close(found, expected)
