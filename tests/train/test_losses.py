"""Losses computed by hand and in float64, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

from st.train.losses.basic import (
    gram,
    gram_and_deviations,
    moments,
    relative_distance,
    standardized,
    total_variation,
)
from st.train.methods.adain import adain, statistics
from st.train.networks.transform import EPS, instance_norm


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_gram_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    assert gram(features).tolist() == [[[5 / 4, 11 / 4], [11 / 4, 25 / 4]]]


@settings(deadline=None, max_examples=20)
@given(
    some.integers(1, 3),
    some.integers(1, 9),
    some.integers(1, 7),
    some.integers(1, 7),
)
def test_gram_matches_float64(n: int, c: int, h: int, w: int) -> None:
    features = noise(n, c, h, w)
    flat = features.reshape(n, c, -1).numpy()
    exact = np.einsum("nip,njp->nij", flat, flat) / (c * h * w)
    np.testing.assert_allclose(gram(features).numpy(), exact, atol=1e-12)
    np.testing.assert_allclose(gram(features.float()).numpy(), exact, rtol=1e-4, atol=1e-5)


def test_gram_of_bfloat16_is_summed_in_float32() -> None:
    features = noise(1, 4, 64, 64).bfloat16()
    torch.testing.assert_close(gram(features), gram(features.float()))
    with torch.autocast("cpu", torch.bfloat16):
        assert gram(features).dtype == torch.float32


def test_gradients() -> None:
    x, target = noise(2, 3, 3, 2).requires_grad_(), noise(2, 3, 3, 2, seed=1)
    assert torch.autograd.gradcheck(gram, (x,))
    # Not symmetric in what comes from above, which `gram` must not take for granted.
    assert torch.autograd.gradcheck(lambda x: gram(x) * noise(2, 3, 3, seed=2), (x,))
    assert torch.autograd.gradcheck(lambda x: relative_distance(x, target), (x,))
    assert torch.autograd.gradcheck(total_variation, (x,))
    assert torch.autograd.gradcheck(statistics, (x,))


def test_relative_distance() -> None:
    target = torch.tensor([[3.0, 4.0], [6.0, 8.0]])
    assert relative_distance(target, target) == 0
    assert relative_distance(torch.zeros(2, 2), target) == 1
    moved = target + torch.tensor([[5.0, 0.0], [0.0, 0.0]])  # 25 / 25 and 0 / 100
    assert relative_distance(moved, target) == pytest.approx(0.5)
    assert relative_distance(7 * moved, 7 * target) == pytest.approx(0.5)
    assert relative_distance(target, torch.zeros(2, 2)).isfinite()


def test_total_variation() -> None:
    board = (torch.arange(6)[:, None] + torch.arange(6)) % 2
    assert total_variation(torch.full((1, 3, 5, 5), 0.3)) == 0
    assert total_variation(board[None, None].float()) == 2
    assert total_variation(torch.tensor([[[[0.0, 0.5, 1.0]] * 2]])) == 0.25  # a ramp across


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_moments_match_float64(offset: float) -> None:
    features = noise(2, 5, 40, 30) * 2 + offset
    exact_mean = features.numpy().mean((2, 3), keepdims=True)
    exact_std = np.sqrt(features.numpy().var((2, 3), keepdims=True) + 1e-5)
    for wide, tolerance in ((features, 1e-12), (features.float(), 1e-5)):
        own = moments(wide)
        np.testing.assert_allclose(own.mean.numpy(), exact_mean, rtol=tolerance, atol=1e-6)
        np.testing.assert_allclose(own.std.numpy(), exact_std, rtol=tolerance)


@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_gram_and_deviations_match_float64(offset: float) -> None:
    features = noise(2, 5, 40, 30) * torch.arange(5.0)[:, None, None].double() + offset
    exact = np.sqrt(features.numpy().var((2, 3)) + 1e-5)
    for x, tolerance in ((features, 1e-10), (features.float(), 1e-4)):
        both = gram_and_deviations(x)
        np.testing.assert_allclose(both[..., -1].numpy(), exact, rtol=tolerance)
        assert torch.equal(both[..., :-1], gram(x))


def test_the_gradient_of_gram_and_deviations() -> None:
    """By finite differences. The gradient of a constant channel's deviation is 0 at any
    brightness."""
    x = noise(2, 3, 4, 5).requires_grad_()
    weights = noise(2, 3, 4, seed=1)
    assert torch.autograd.gradcheck(lambda x: gram_and_deviations(x) * weights, (x,))
    for level in (0.0, 7.0, 300.0):
        even = torch.full((1, 2, 30, 30), level, requires_grad=True)
        deviations = gram_and_deviations(even)[..., -1]
        torch.testing.assert_close(deviations, torch.full((1, 2), 1e-5**0.5))
        deviations.sum().backward()
        assert even.grad is not None
        assert even.grad.abs().max() == 0
    half = noise(2, 3, 8, 8).bfloat16().requires_grad_()
    gram_and_deviations(half).sum().backward()
    assert half.grad is not None
    assert half.grad.dtype == torch.bfloat16


def test_standardized_matches_float64() -> None:
    features = noise(2, 5, 40, 30) * torch.tensor([1.0, 3, 0.5, 2, 0])[:, None, None].double() + 7
    x = features.numpy()
    variance = x.var((2, 3), keepdims=True)
    exact = (x - x.mean((2, 3), keepdims=True)) / np.sqrt(
        variance + 0.01 * variance.mean(1, keepdims=True)
    )
    np.testing.assert_allclose(standardized(features).numpy(), exact, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(standardized(features.float()).numpy(), exact, atol=1e-4)
    assert standardized(features.bfloat16()).dtype == torch.float32
    assert np.abs(exact[:, 4]).max() == 0


def test_adain_gives_the_styles_statistics() -> None:
    content, style = noise(2, 6, 12, 9), 3 * noise(2, 6, 7, 11, seed=1) + 2
    styled = statistics(adain(content, statistics(style)))
    torch.testing.assert_close(styled, statistics(style), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(adain(content, statistics(content)), content)


def test_adain_in_half_precision_keeps_float32_statistics() -> None:
    """An offset of a hundred standard deviations, as in VGG's channels, must not destroy the
    result."""
    content, code = noise(1, 4, 32, 32, dtype=torch.float32), statistics(noise(1, 4, 9, 9))
    exact = adain(content.double() + 100, code)
    torch.testing.assert_close(
        adain(content + 100, code.float()).double(), exact, atol=1e-3, rtol=0
    )
    with torch.autocast("cpu", torch.bfloat16):
        half = adain(content.bfloat16(), code.float())
    assert half.dtype == torch.float32
    exact = adain(content.bfloat16().double(), code)
    torch.testing.assert_close(half.double(), exact, rtol=1e-5, atol=1e-5)


def test_instance_norm_matches_float64() -> None:
    x, scale, shift = noise(2, 3, 8, 5), noise(1, 3, seed=1), noise(1, 3, seed=2)
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, correction=0)
    exact = (x - mean) / (variance + EPS).sqrt() * scale[..., None, None] + shift[..., None, None]
    torch.testing.assert_close(instance_norm(x, scale, shift), exact)
    single = instance_norm(x.float(), scale.float(), shift.float())
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-5)
