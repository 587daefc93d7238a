"""Whitening and coloring by matrix products, compared with eigendecomposition in float64, on real
features."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from st.train.features import VGG
from st.train.networks.whitening import EPS, _scales, covariance, roots, whiten_and_color

TINY = 2e-7  # next to no limit on the amplification
LAYERS = [f"relu{level}_1" for level in range(1, 6)]
# At 64 pixels relu3_1 has as many places as channels, relu4_1 an eighth, relu5_1 a 32nd: the last
# two covariances have no full rank.


@pytest.fixture(scope="module")
def features(vgg: VGG, real_pair: tuple[Tensor, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Features of a photograph and a painting by layer, with a mean square of 1."""
    seen = [vgg(picture, LAYERS) for picture in real_pair]
    return {
        layer: tuple(found[layer] / found[layer].square().mean().sqrt() for found in seen)  # pyright: ignore
        for layer in LAYERS
    }


def apart(x: Tensor, reference: Tensor) -> float:
    return float((x.double() - reference).norm() / reference.norm())


def moments64(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(pixels less their mean (C, P), mean (C, 1), covariance (C, C)) in float64."""
    flat = x[0].double().flatten(1)
    mean = flat.mean(1, keepdim=True)
    centered = flat - mean
    return centered, mean, centered @ centered.T / flat.shape[1]


def power(matrix: Tensor, exponent: float, least: float) -> Tensor:
    """The power of a matrix by its eigenvectors, without eigenvalues below `least`."""
    values, vectors = torch.linalg.eigh(matrix)
    powers = torch.where(values > least, values.clamp_min(least) ** exponent, 0.0)
    return vectors * powers @ vectors.T


@pytest.mark.parametrize("layer", LAYERS)
def test_matrix_roots_match_the_eigendecomposition(
    features: dict[str, tuple[Tensor, Tensor]], layer: str
) -> None:
    for x in features[layer]:
        centered, _, exact = moments64(x)
        regular = exact + EPS * exact.norm() * torch.eye(len(exact), dtype=torch.float64)
        found = roots(covariance(x))
        assert apart(covariance(x).covariance[0], exact) < 1e-5
        assert apart(found.root[0], power(regular, 0.5, 0)) < 1e-3
        # Where a covariance is 0 its rounding is a part of EPS; features have nothing there.
        whitened = power(regular, -0.5, 0) @ centered
        assert apart(found.inverse[0].double() @ centered, whitened) < 1e-2
        assert apart(found.inverse[0], power(regular, -0.5, 0)) < 5e-2


@pytest.mark.parametrize("layer", LAYERS)
def test_the_transform_matches_the_paper(
    features: dict[str, tuple[Tensor, Tensor]], layer: str
) -> None:
    """Eq. 2 and 3 as written, without eigenvalues below 1e-5, as in the authors' code."""
    content, style = features[layer]
    centered, _, own = moments64(content)
    _, mean, wanted = moments64(style)
    expected = power(wanted, 0.5, 1e-5) @ power(own, -0.5, 1e-5) @ centered + mean
    given = covariance(style)
    got = whiten_and_color(content, given.mean, roots(given, TINY).root, TINY)
    assert got.shape == content.shape
    assert apart(got[0].flatten(1), expected) < 1e-2
    # With the limit on amplification that float32 needs in a chain of levels:
    limited = whiten_and_color(content, given.mean, roots(given).root)
    assert apart(limited[0].flatten(1), expected) < 8e-2


def test_a_batch_equals_its_samples(features: dict[str, tuple[Tensor, Tensor]]) -> None:
    content, style = features["relu2_1"]
    given = covariance(style)
    root = roots(given).root
    both = whiten_and_color(torch.cat([content, style]), given.mean, root)
    for one, picture in zip(both, (content, style), strict=True):
        assert apart(one, whiten_and_color(picture, given.mean, root)[0].double()) < 1e-3


def test_a_uniform_picture_becomes_the_mean_of_the_style(
    features: dict[str, tuple[Tensor, Tensor]],
) -> None:
    _, style = features["relu3_1"]
    given = covariance(style)
    flat = torch.full_like(style, 0.37)
    got = whiten_and_color(flat, given.mean, roots(given).root)
    torch.testing.assert_close(
        got, given.mean[..., None, None].expand_as(got), rtol=1e-3, atol=1e-3
    )
    # And a style of one color paints one color.
    plain = covariance(flat)
    got = whiten_and_color(style, plain.mean, roots(plain).root)
    torch.testing.assert_close(got, flat, rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("eps", [TINY, EPS, 1e-2])
def test_the_iterations_converge_for_the_smallest_eigenvalue(eps: float) -> None:
    """All singular values from sqrt(eps) to 1 become 1."""
    x = torch.logspace(math.log10(eps) / 2, 0, 200, dtype=torch.float64)
    for a in _scales(eps):
        x = 0.5 * a * x * (3 - (a * x) ** 2)
    torch.testing.assert_close(x, torch.ones_like(x), rtol=0, atol=1e-6)
