"""The contrast of colors in bands of detail, as a part of the style loss."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from st.train.features import SqueezeNet
from st.train.losses.color_contrast import BANDS, LEAST, color_contrast
from st.train.losses.perceptual import COLOR, StyleLoss


def board(octave: int) -> Tensor:
    """Red and green cells of 2**octave pixels, (1, 3, 128, 128)."""
    cells = (torch.arange(128 >> octave)[:, None] + torch.arange(128 >> octave)) % 2
    wide = cells.repeat_interleave(2**octave, 0).repeat_interleave(2**octave, 1)
    return torch.stack([wide, 1 - wide, torch.zeros_like(wide)])[None].float()


@pytest.mark.parametrize("octave", range(BANDS))
def test_each_band_holds_detail_of_its_size(octave: int) -> None:
    found = color_contrast(board(octave))[0].exp() - LEAST
    red = found[:, 0]
    assert int(red.argmax()) == octave
    # Red and green deviate by 0.5 each, together by 0.5 · sqrt(2).
    assert float(red[octave]) == pytest.approx(0.5 * math.sqrt(2), rel=0.15)
    assert float(red[octave + 1 :].sum()) < 1e-3, "blocks are even"
    assert float(found[:, 1].max()) < 1e-3, "yellow and blue do not vary"
    gray = board(octave)[:, :1].expand(1, 3, -1, -1)
    torch.testing.assert_close(
        color_contrast(gray), torch.full((1, 4, 2), math.log(LEAST)), atol=0.05, rtol=0
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(16, 70), st.integers(16, 70), st.floats(0, 1))
def test_any_size_without_detail(height: int, width: int, gray: float) -> None:
    found = color_contrast(torch.full((2, 3, height, width), gray))
    torch.testing.assert_close(found, torch.full((2, 4, 2), math.log(LEAST)), atol=0.05, rtol=0)


def test_float64_and_half() -> None:
    images = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    double = color_contrast(images.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(color_contrast(images).double(), double, atol=1e-4, rtol=0)
    assert color_contrast(images.bfloat16()).dtype == torch.float32


def test_gradient() -> None:
    images = torch.rand(1, 3, 16, 18, dtype=torch.float64, generator=torch.manual_seed(0))
    assert torch.autograd.gradcheck(color_contrast, [images.requires_grad_()])
    even = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    color_contrast(even).sum().backward()
    assert even.grad is not None
    assert bool(even.grad.isfinite().all())


def faded(style: Tensor) -> Tensor:
    """The style with half of the blue in its finest detail."""
    blurred = functional.interpolate(
        functional.avg_pool2d(style, 2), scale_factor=2, mode="bilinear", align_corners=False
    )
    detail = (style - blurred) * torch.tensor([1.0, 1.0, 0.5]).view(3, 1, 1)
    return blurred + detail


def test_style_loss_sees_colors_of_fine_detail(
    squeezenet: SqueezeNet, real_pair: tuple[Tensor, Tensor]
) -> None:
    """Half of the blue in fine detail: hardly a distance without the term, a large one with it."""
    style = real_pair[1]
    pale = faded(style)
    found: list[float] = []
    for color in (0.0, 2.0):
        loss = StyleLoss(("conv1", "fire2", "fire3"), contrast=2.0, color=color)
        with torch.no_grad():
            targets = loss.of_styles(squeezenet, [style], 64)[1.0]
            found.append(float(loss.distance(loss.see(squeezenet, pale), targets)))
            assert float(loss.distance(loss.see(squeezenet, style), targets)) < 1e-9
    apart = color_contrast(pale) - color_contrast(style)
    assert found[1] - found[0] == pytest.approx(2 * float(apart.square().mean()), rel=1e-4)
    assert found[1] > 1.8 * found[0]
    assert COLOR not in StyleLoss(("conv1",)).grams(squeezenet(style, ["conv1"]))
