"""Texture networks: noise at all scales, no borders, and textures without a content picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from st.export.onnx.engines import export
from st.runtime.stylizer import Stylizer
from st.train.checkpoint import load_checkpoint
from st.train.features import SqueezeNet
from st.train.loop.run import Run
from st.train.loop.trainer import train
from st.train.methods.texture import METHOD, CircularConv, Network
from st.train.networks.noise import draw, every


def a_network(small: Callable[..., Any], **settings: Any) -> Network:
    torch.manual_seed(0)
    return Network(small(METHOD, **{"scales": 3, "width": 4} | settings), ("wave",))


def test_noise_depends_on_the_seed_only() -> None:
    like = torch.zeros(2, 3, 8, 12)
    one = draw(like, 5, seed=4)
    assert one.shape == (2, 5, 8, 12)
    assert torch.equal(draw(like, 5, seed=4), one)
    assert not torch.equal(draw(like, 5, seed=5), one)
    assert torch.equal(every(one, 4), one[:, :, ::4, ::4])
    assert torch.equal(every(one, 1), one)


@torch.no_grad()
def test_circular_convolutions_have_no_border() -> None:
    conv, x = CircularConv(3, 4, 3), torch.rand(1, 3, 6, 8)
    turned = x.roll((2, 3), (2, 3))
    torch.testing.assert_close(conv(turned), conv(x).roll((2, 3), (2, 3)))


@torch.no_grad()
def test_every_noise_scale_affects_the_output(small: Callable[..., Any]) -> None:
    network = a_network(small, mode="texture")
    noise = torch.rand(1, network.noise, 16, 24)
    made = network(None, noise)
    assert made.shape == (1, 3, 16, 24)
    for scale in range(3):
        other = noise.clone()
        other[:, 3 * scale : 3 * scale + 3] = torch.rand(1, 3, 16, 24)
        assert (network(None, other) - made).abs().max() > 1e-3, scale
    # A turn of the noise by whole steps of the coarsest turns the texture: it tiles.
    turned = network(None, noise.roll((4, 8), (2, 3)))
    torch.testing.assert_close(turned, made.roll((4, 8), (2, 3)), rtol=1e-3, atol=1e-4)


def test_a_texture_is_trained_and_exported(
    small: Callable[..., Any], paintings: Path, tmp_path: Path, squeezenet: SqueezeNet
) -> None:
    """No photographs are needed; the engine makes a texture of any size from a seed."""
    styles, output = (str(paintings / "strokes.png"),), tmp_path / "model.pt"
    run = Run((), styles, output, device="cpu", precision="32-true", workers=0)
    config = small(METHOD, mode="texture", scales=2, width=4, steps=3)
    losses = [p.losses for p in train(METHOD, config, run, lambda: squeezenet)]
    assert all(set(step) == {"style", "tv"} for step in losses)
    checkpoint = load_checkpoint(output)
    assert checkpoint.card["content"] == "none, noise alone"
    (engine,) = export(checkpoint, tmp_path / "model.onnx")
    make = Stylizer(engine.path)
    assert make.metadata.kind == "texture"
    noise = torch.rand(1, make.metadata.noise, 24, 30)
    with torch.no_grad():
        expected = checkpoint.network()(None, noise)[0].permute(1, 2, 0).numpy() * 255
    (made,) = make._engine.backend.run({"noise": noise.numpy()}, ["stylized"])
    assert np.abs(made[0] - np.round(expected)).max() <= 1
    assert make.texture(50, 33).shape == (50, 33, 3)
    assert not np.array_equal(make.texture(50, 33), make.set_seed(1).texture(50, 33))


def test_stylizing_needs_photographs(
    small: Callable[..., Any], paintings: Path, tmp_path: Path, squeezenet: SqueezeNet
) -> None:
    from st.runtime.errors import BadInput

    run = Run((), (str(paintings / "strokes.png"),), tmp_path / "m.pt", device="cpu", workers=0)
    with pytest.raises(BadInput, match="no photographs given"):
        next(train(METHOD, small(METHOD), run, lambda: squeezenet))
