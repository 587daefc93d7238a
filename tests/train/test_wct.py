"""WCT: statistics of the style, and training without styles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from st.train.checkpoint import load_checkpoint
from st.train.command import main
from st.train.features import VGG
from st.train.methods import wct
from st.train.networks.whitening import covariance


@pytest.fixture(scope="module")
def network(small: Callable[..., Any], vgg: VGG, real_pair: tuple[Tensor, Tensor]) -> wct.Network:
    torch.manual_seed(0)
    config = small(wct.METHOD, levels=("2",), encoder="vgg16")
    made = wct.Network(config, ())
    with torch.no_grad():
        wct.METHOD.targets(made, vgg, real_pair, config)
    return made.eval()


def decoded(network: wct.Network, content: Tensor, code: Tensor, strength: float) -> Tensor:
    """The features that the decoder receives."""
    given: list[Tensor] = []
    handle = network.decoders["2"].register_forward_pre_hook(lambda _, x: given.append(x[0]))
    with torch.no_grad():
        network(content, code, torch.tensor([strength]))
    handle.remove()
    return given[0]


def test_transformed_features_have_the_styles_covariance(
    network: wct.Network, real_pair: tuple[Tensor, Tensor]
) -> None:
    content, style = real_pair
    with torch.no_grad():
        code = network.encode_style(style)
        wanted, own = (covariance(network.encode(x, 2)) for x in (style, content))
    got = covariance(decoded(network, content, code, 1.0))
    scale = wanted.covariance.norm()
    assert (got.covariance - wanted.covariance).norm() < 0.02 * scale
    assert (own.covariance - wanted.covariance).norm() > 0.2 * scale, "the same already"
    torch.testing.assert_close(got.mean, wanted.mean, rtol=1e-3, atol=1e-3)


def test_strength_blends_features(network: wct.Network, real_pair: tuple[Tensor, Tensor]) -> None:
    """α of section 3.2: linear in the features, without any style at 0."""
    content, style = real_pair
    with torch.no_grad():
        code = network.encode_style(style)
        own = network.encode(content, 2)
    none, half, full = (decoded(network, content, code, s) for s in (0.0, 0.5, 1.0))
    torch.testing.assert_close(none, own)
    torch.testing.assert_close(half, (own + full) / 2, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("encoder", ["squeezenet", "vgg16"])
@pytest.mark.parametrize("level", ["1", "3"])
def test_its_own_style_changes_nothing(
    small: Callable[..., Any], vgg: VGG, squeezenet: Any, real_pair: Any, encoder: str, level: str
) -> None:
    content, style = real_pair
    torch.manual_seed(0)
    config = small(wct.METHOD, levels=(level,), encoder=encoder)
    made = wct.Network(config, ())
    with torch.no_grad():
        wct.METHOD.targets(
            made, {"vgg16": vgg, "squeezenet": squeezenet}[encoder], real_pair, config
        )
        codes = made.encode_style(torch.cat([content, style]))
        own, other = (made(content, codes[n : n + 1], torch.ones(1)) for n in (0, 1))
        kept = made(content, codes[:1], torch.zeros(1))
    assert (own - kept).norm() < 0.01 * (other - kept).norm()


def test_a_black_picture_is_painted_equally_in_every_precision(
    small: Callable[..., Any], squeezenet: Any, real_pair: Any
) -> None:
    """Features of a single color vary only by rounding errors, which must not be whitened."""
    torch.manual_seed(0)
    config = small(wct.METHOD, levels=("2", "1"), encoder="squeezenet")
    made = wct.Network(config, ()).eval()
    with torch.no_grad():
        wct.METHOD.targets(made, squeezenet, real_pair, config)
        code, one = made.encode_style(real_pair[1]), torch.ones(1)
        black = torch.zeros(1, 3, 64, 64)
        painted = made(black, code, one)
        exact = made.double()(black.double(), code.double(), one.double())
    assert (painted - exact).abs().max() < 1 / 255


def test_energy_of_each_level_is_one(vgg: VGG, small: Callable[..., Any], real_pair: Any) -> None:
    """And scaling one level does not change the others."""
    config = small(wct.METHOD, levels=("4", "2", "1"), encoder="vgg16")
    made = wct.Network(config, ())
    with torch.no_grad():
        wct.METHOD.targets(made, vgg, real_pair, config)
        reflecting = type(vgg)(16, padding_mode="reflect", last="relu4_1")
        reflecting.load_state_dict({k: vgg.state_dict()[k] for k in reflecting.state_dict()})
        for level in made.levels:
            found = torch.cat([made.encode(x, level) for x in real_pair])
            plain = torch.cat(
                [reflecting(x, [f"relu{level}_1"])[f"relu{level}_1"] for x in real_pair]
            )
            assert float(found.square().mean()) == pytest.approx(1, rel=1e-3)
            torch.testing.assert_close(
                found, plain / plain.square().mean().sqrt(), rtol=1e-3, atol=1e-4
            )


@pytest.mark.parametrize("shown", [False, True])
def test_training_needs_no_styles(
    photographs: Path, paintings: Path, tmp_path: Path, shown: bool
) -> None:
    """Style pictures may be given for previews; the card lists none as trained."""
    arguments = ["wct", "--content", str(photographs), "-o", str(tmp_path / "a.pt")]
    arguments += ["--steps", "2", "--size", "32", "--batch", "1", "--width", "8", "--workers", "0"]
    arguments += ["--levels", "2", "--levels", "1", "--save-every", "1"]
    arguments += ["--style", str(paintings)] if shown else []
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    checkpoint = load_checkpoint(tmp_path / "a.pt")
    assert checkpoint.card["styles"] == ""
    assert {"loss fire3", "loss conv1"} <= checkpoint.card.keys()
    assert (tmp_path / "a.preview.jpg").is_file()
