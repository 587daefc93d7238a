"""The nearest-patch loss of a network: the fused statistics of `perceptual`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from st.train.features import SqueezeNet
from st.train.losses.patch_term import PATCHES, patch_loss, style_patches
from st.train.losses.patches import Bank
from st.train.method import Batch
from st.train.methods.perceptual import METHOD, Network, step, targets


def test_a_crop_of_the_style_has_zero_distance() -> None:
    torch.manual_seed(0)
    style = torch.rand(1, 6, 20, 22)
    assert float(patch_loss(style[..., 4:12, 5:16], Bank.of([style]))) < 1e-6
    assert len(style_patches(torch.rand(1, 4, 60, 60))) == PATCHES
    assert len(style_patches(style)) == 18 * 20


def test_the_patch_term_is_the_distance_to_the_nearest_patch() -> None:
    """Compared with patches that are extracted one by one, in float64."""
    torch.manual_seed(1)
    style, made = (torch.rand(1, 5, 9, 8, dtype=torch.float64) for _ in range(2))
    cut = torch.nn.functional.unfold
    theirs, ours = (cut(x, 3)[0].T for x in (style, made))
    unit = theirs / theirs.norm(dim=1, keepdim=True)
    chosen = theirs[(ours @ unit.T).argmax(1)]
    expected = (ours - chosen).square().sum() / chosen.square().sum()
    torch.testing.assert_close(patch_loss(made, style_patches(style)), expected)


def test_the_patch_term_has_gradients(
    small: Callable[..., Any], squeezenet: SqueezeNet, real_pair: tuple[Tensor, Tensor]
) -> None:
    config = small(METHOD, patch_weight=2.0, style_weight=0.0, content_weight=0.0, tv_weight=0.0)
    torch.manual_seed(0)
    network = Network(config, ("wave",))
    style = targets(network, squeezenet, [real_pair[1]], config)
    batch = Batch(real_pair[0], torch.tensor([0]))
    adam = torch.optim.Adam(network.parameters(), lr=3e-3)
    seen = []
    for _ in range(6):
        terms = step(network, squeezenet, style, batch, config)
        adam.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        adam.step()
        seen.append(float(terms["patches"].detach()))
    assert seen[-1] < 0.9 * seen[0]
