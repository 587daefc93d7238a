"""Losses of the slow methods: gradients, and values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor
from torch.autograd import gradcheck

from st.runtime.errors import BadInput
from st.train.losses.basic import gram, relative_distance, total_variation
from st.train.losses.patches import Bank, assemble, nearest, patch_distance
from st.train.slow.gatys import masked_gram, style_distance
from st.train.slow.histogram_match import histogram_distance, remap, sorted_rows
from st.train.slow.laplacian import filtered, pool_weights
from st.train.slow.styles import Style, shares, weighted


def draw(random: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=random, dtype=torch.float64).requires_grad_(True)


def test_gradient_of_the_content_and_tv_terms(random):
    x, target = draw(random, 1, 3, 4, 5), draw(random, 1, 3, 4, 5).detach()
    assert gradcheck(lambda x: relative_distance(x, target), x)
    assert gradcheck(total_variation, x)


def test_gradient_of_the_style_term_of_two_masked_styles(random):
    x = draw(random, 1, 3, 4, 6)
    mask = torch.zeros(1, 1, 8, 12, dtype=torch.float64)
    mask[..., :5] = 1
    styles = [
        Style(torch.rand(1, 3, 4, 4), 0.7, mask),
        Style(torch.rand(1, 3, 4, 4), 0.3, 1 - mask),
    ]
    targets = [{"relu1_1": gram(draw(random, 1, 3, 5, 5).detach())} for _ in styles]
    assert gradcheck(lambda x: style_distance({"relu1_1": x}, styles, targets, {"relu1_1": 1.0}), x)


def test_gradient_of_the_laplacian_term(random):
    x = draw(random, 1, 3, 12, 13)
    edges = filtered(draw(random, 1, 3, 12, 13).detach(), 2)
    assert gradcheck(lambda x: relative_distance(filtered(x, 2), edges), x)


def test_gradient_of_the_histogram_term(random):
    # R(O) is constant as long as the order of the values is, so numbers agree with autograd.
    x, style = draw(random, 1, 2, 4, 5), sorted_rows(draw(random, 1, 2, 3, 3).detach())
    assert gradcheck(lambda x: histogram_distance(x, style), x)


def test_gradient_of_the_patch_term(random):
    x, style = draw(random, 1, 2, 5, 6), draw(random, 1, 2, 6, 5).detach()
    bank = Bank.of([style])
    votes = assemble(bank, nearest(x.detach(), bank), 5, 6)
    assert gradcheck(lambda x: patch_distance(x, votes), x)


def test_laplacian_of_one_bright_pixel():
    image = torch.zeros(1, 3, 5, 5)
    image[:, :, 2, 2] = torch.tensor([1.0, 2.0, 4.0])
    expected = torch.tensor([[0.0, -7, 0], [-7, 28, -7], [0, -7, 0]])
    assert torch.equal(filtered(image, 1)[0, 0], expected)


def test_laplacian_pools_before_filtering():
    small = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    large = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(filtered(large, 4), filtered(small, 1))


def test_laplacian_of_a_ramp_is_zero():
    ramp = torch.arange(48.0).expand(1, 3, 48, 48) / 48
    assert filtered(ramp, 4).abs().max() < 1e-5


def test_the_gram_matrix_of_a_region_ignores_other_pixels():
    features = torch.rand(1, 4, 6, 8, generator=torch.Generator().manual_seed(2))
    mask = torch.zeros(1, 1, 6, 8)
    mask[..., :4] = 1
    torch.testing.assert_close(masked_gram(features, mask), gram(features[..., :4]))


def test_style_distance_weighs_layers_and_styles():
    ones = torch.ones(1, 2, 3, 3)
    found = {"relu1_1": ones, "relu2_1": 2 * ones}
    styles = [Style(ones, 3.0), Style(ones, 1.0)]
    zero_apart, one_apart = gram(ones), 2 * gram(ones)  # |G - 2G|² / |2G|² = 1/4
    targets = [
        {"relu1_1": zero_apart, "relu2_1": gram(2 * ones)},
        {"relu1_1": one_apart, "relu2_1": gram(ones)},
    ]
    # second style, weight 1/4: relu1_1 is 1/4 away, relu2_1 is |4G - G|² / |G|² = 9 away
    weights = {"relu1_1": 0.5, "relu2_1": 0.5}
    expected = 0.25 * (0.5 * 0.25 + 0.5 * 9)
    assert float(style_distance(found, styles, targets, weights)) == pytest.approx(expected)


def test_shares_of_regions_are_their_areas():
    left = torch.zeros(1, 1, 4, 8)
    left[..., :2] = 1
    picture = torch.rand(1, 3, 4, 4)
    assert shares([Style(picture, 1.0, left), Style(picture, 1.0, 1 - left)]) == [0.25, 0.75]
    assert shares([Style(picture, 3.0), Style(picture, 1.0)]) == [0.75, 0.25]


@given(some.integers(1, 40), some.integers(1, 40), some.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_histogram_matching_agrees_with_numpy(count, given_count, seed):
    random = np.random.default_rng(seed)
    values, style = random.normal(size=(3, count)), random.normal(size=(3, given_count))
    at = ((np.arange(count) + 0.5) * given_count / count - 0.5).clip(0, given_count - 1)
    expected = np.empty_like(values)
    for c in range(3):
        quantiles = np.interp(at, np.arange(given_count), np.sort(style[c]))
        expected[c, np.argsort(values[c], kind="stable")] = quantiles
    sorted_style = torch.from_numpy(np.sort(style, axis=1))
    found = remap(torch.from_numpy(values), sorted_style).numpy()
    if count == given_count:
        assert np.array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_histogram_distance_by_hand():
    # 3, 1, 2 take the places of 10, 20, 40 by rank: 40, 10, 20.
    features = torch.tensor([3.0, 1.0, 2.0]).view(1, 1, 1, 3)
    style = torch.tensor([[10.0, 20.0, 40.0]])
    expected = (37**2 + 9**2 + 18**2) / (40**2 + 10**2 + 20**2)
    assert float(histogram_distance(features, style)) == pytest.approx(expected)
    inside = torch.tensor([True, False, True])  # two values: the quantiles 12.5 and 35
    expected = ((3 - 35) ** 2 + (2 - 12.5) ** 2) / (35**2 + 12.5**2)
    assert float(histogram_distance(features, style, inside)) == pytest.approx(expected)


def test_weights_are_parsed_after_a_colon():
    assert weighted("relu4_1:0.5") == ("relu4_1", 0.5)
    assert weighted("relu4_1") == ("relu4_1", 1.0)
    assert weighted("C:style.jpg") == ("C:style.jpg", 1.0)
    assert pool_weights(("4", "16:0.5")) == {4: 1.0, 16: 0.5}
    for bad in ("0", "x", "4:-1", "4.5"):
        with pytest.raises(BadInput):
            pool_weights((bad,))
