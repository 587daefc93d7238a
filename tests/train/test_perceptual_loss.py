"""The selectable loss networks: dependent settings, and the loss at several scales."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from st.runtime.errors import BadInput
from st.train.features import FeatureNetwork, SqueezeNet, open_network
from st.train.losses.basic import gram, moments, relative_distance, standardized
from st.train.losses.perceptual import StyleLoss, compare_style, rescaled
from st.train.method import Batch
from st.train.methods import cin, perceptual
from st.train.perceptual_loss import STYLE_LAYERS

Pair = tuple[Tensor, Tensor]


def a_batch(content: Tensor, step: int = 0, seed: int = 7) -> Batch:
    return Batch(content, torch.zeros(len(content), dtype=torch.int64), None, (3, 5), step, seed)


def test_defaults_follow_the_loss_network() -> None:
    plain, other = cin.Config(), cin.Config(loss_network="vgg16")
    assert (plain.loss_network, plain.content_layer, plain.content_weight) == (
        "squeezenet",
        "fire4",
        5.0,
    )
    assert plain.style_layers == STYLE_LAYERS["squeezenet"]
    assert plain.style_scales == (1.0, 0.5, 1.5)
    assert (other.content_layer, other.content_weight) == ("relu3_3", 1.7)
    assert (plain.contrast_weight, plain.content_distance) == (2.0, "standardized")
    assert (other.contrast_weight, other.content_distance) == (0.0, "relative")
    assert (other.style_layers, other.style_scales) == (STYLE_LAYERS["vgg16"], (1.0,))
    assert cin.Config(content_weight=9.0).content_weight == 9.0


def test_layers_choose_the_network() -> None:
    """As in checkpoints without a setting for the loss network."""
    old: dict[str, Any] = {"content_layer": "relu3_3", "style_layers": ("relu1_1", "relu4_3")}
    assert cin.Config(**old).loss_network == "vgg16"
    assert perceptual.Config(content_layer="fire5").loss_network == "squeezenet"
    with pytest.raises(BadInput, match="squeezenet has no layer relu3_3"):
        cin.Config(loss_network="squeezenet", content_layer="relu3_3")
    with pytest.raises(BadInput, match="vgg16 has no layer fire4"):
        cin.Config(style_layers=("relu1_1", "fire4"))


def test_open_network_refuses_unknown_networks_and_foreign_weights() -> None:
    with pytest.raises(BadInput, match="weights of VGG"):
        open_network("squeezenet", "vgg16.pth")
    with pytest.raises(BadInput, match="no such network"):
        open_network("alexnet")


@pytest.mark.parametrize("name", ["squeezenet", "vgg16"])
def test_minimum_side_of_each_network(
    name: str, squeezenet: FeatureNetwork, vgg: FeatureNetwork
) -> None:
    """At the minimum side every layer has a cell; one pixel less, and the deepest has none."""
    network = squeezenet if name == "squeezenet" else vgg
    for layer in network.names[:: 3 if name == "vgg16" else 1]:
        side = network.min_side([layer])
        assert min(network(torch.rand(1, 3, side, side), [layer])[layer].shape[2:]) >= 1
        if side > 1:
            with pytest.raises(RuntimeError):
                network(torch.rand(1, 3, side - 1, side - 1), [layer])


def test_scales_alternate() -> None:
    loss = StyleLoss(("conv1",), (1.0, 0.5, 1.5))
    assert [loss.scale(step) for step in range(4)] == [0.5, 1.5, 0.5, 1.5]
    assert StyleLoss(("conv1",)).scale(3) is None


def test_rescaled_sizes_rotations_and_slopes() -> None:
    picture = torch.linspace(0, 1, 60).expand(1, 3, 60, 60)
    half = rescaled(picture, 0.5)
    assert half.shape == (1, 3, 30, 30)
    torch.testing.assert_close(half.mean(), picture.mean(), atol=1e-3, rtol=0)
    assert rescaled(picture, 1.5).shape == (1, 3, 90, 90)
    parts = [rescaled(picture, 1.5, seed) for seed in (3, 3, 11)]
    assert parts[0].shape == (1, 3, 54, 54)  # of 36 pixels: no more than a crop's cost
    assert torch.equal(parts[0], parts[1])
    assert not torch.equal(parts[0], torch.rot90(parts[2], 1, (2, 3)))
    slope = parts[0].diff(dim=3)[..., 3:-3]
    torch.testing.assert_close(slope, torch.full_like(slope, 1 / 59 / 1.5), atol=1e-5, rtol=0)


def test_style_loss_by_hand(squeezenet: SqueezeNet, real_pair: Pair) -> None:
    content, style = real_pair
    loss = StyleLoss(("conv1", "fire2"), (1.0, 0.75))
    with torch.no_grad():
        targets = loss.of_styles(squeezenet, [style], 64)
        found = compare_style(squeezenet, content, loss, targets.__getitem__, (0, 7), ["fire3"])
        expected = []
        for scale in (1.0, 0.75):
            a, b = (squeezenet(rescaled(x, scale), loss.layers) for x in (content, style))
            expected += [relative_distance(gram(a[k]), gram(b[k])) for k in loss.layers]
    torch.testing.assert_close(found.style, torch.stack(expected).mean())
    assert set(found.features) == {"conv1", "fire2", "fire3"}
    assert float(loss.distance(squeezenet(style, loss.layers), targets[1.0])) < 1e-9


def test_style_loss_depends_on_contrast(squeezenet: SqueezeNet, real_pair: Pair) -> None:
    """A style at 75% contrast is nearly twice as far away as by Gram matrices."""
    style = real_pair[1]
    pale = style.mean((2, 3), keepdim=True).lerp(style, 0.75)
    found = []
    for contrast in (0.0, 2.0):
        loss = StyleLoss(("conv1", "fire2", "fire3"), contrast=contrast)
        with torch.no_grad():
            targets = loss.of_styles(squeezenet, [style], 64)[1.0]
            found.append(float(loss.distance(squeezenet(pale, loss.layers), targets)))
    a, b = (squeezenet(x, ["conv1", "fire2", "fire3"]) for x in (pale, style))
    deviations = [relative_distance(moments(a[k]).std, moments(b[k]).std) for k in a]
    assert found[1] - found[0] == pytest.approx(2 * float(sum(deviations)) / 3, rel=1e-4)
    assert found[1] > 1.8 * found[0]


def test_content_distance_ignores_contrast(squeezenet: SqueezeNet, real_pair: Pair) -> None:
    content, other = real_pair
    features, unlike = (squeezenet(x, ["fire4"])["fire4"].double() for x in (content, other))
    own = standardized(features)
    assert relative_distance(standardized(0.5 * features + 3), own) < 1e-6
    assert relative_distance(standardized(unlike), own) > 0.5


def test_small_crops_are_refused(squeezenet: SqueezeNet, real_pair: Pair) -> None:
    loss = StyleLoss(STYLE_LAYERS["squeezenet"], (1.0, 0.5))
    with pytest.raises(BadInput, match=r"6 pixels too small for fire7 at .* 0\.5"):
        loss.of_styles(squeezenet, [real_pair[1]], 56)
    loss.check(squeezenet, 62)
    with pytest.raises(BadInput):
        loss.check(squeezenet, 61)


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.8, 1.25)])
@pytest.mark.parametrize("name", ["squeezenet", "vgg16"])
def test_both_loss_networks_give_gradients(
    name: str, scales: tuple[float, ...], squeezenet: SqueezeNet, vgg: Any, real_pair: Pair
) -> None:
    content, style = real_pair
    network = squeezenet if name == "squeezenet" else vgg
    config = cin.Config(loss_network=name, style_scales=scales, size=64, shape="fastest")
    torch.manual_seed(0)
    net = cin.Network(config, ["wave"])
    with torch.no_grad():
        targets = cin.targets(net, network, [style], config)
    adam, totals = torch.optim.Adam(net.parameters(), 5e-3), []
    for step in range(6):
        terms = cin.step(net, network, targets, a_batch(content, 0, step), config)
        adam.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        adam.step()
        totals.append(float(terms["style"].detach() + terms["content"].detach()))
    assert totals[-1] < 0.9 * totals[0]
