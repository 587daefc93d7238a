"""Histogram losses: the instability of Gram matrices removed.

Risser, Wilmot and Barnes, "Stable and controllable neural texture synthesis and style transfer
using histogram losses", arXiv:1701.08893. Activations of another mean and variance can have the
same Gram matrix (section 4.1): contrast drifts and areas wash out. A loss that matches the whole
histogram of every channel (section 4.2) pins both down. With it come total variation, synthesis
from coarse to fine, and weights that follow from the size of the terms' gradients instead of by
hand (section 4.4).

    st-slow histogram --content photo.jpg --style wave.jpg -o painted.jpg

The paper rescales gradients at every iteration. Here each term is rescaled once a size, so that
L-BFGS sees one function: by its gradient where it is far from fulfilled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from st.train.features import FeatureNetwork
from st.train.losses.basic import total_variation
from st.train.settings import by_network, option
from st.train.slow.gatys import Config as GatysConfig
from st.train.slow.gatys import Features, gatys_terms
from st.train.slow.histogram_match import histogram_distance, sorted_rows
from st.train.slow.networks import Network, perceptual
from st.train.slow.optimize import Callback, Task, paint
from st.train.slow.styles import Style, Styles, region, resize, shares, weighted_layers


@dataclass(frozen=True)
class Config(GatysConfig):
    content_weight: float = option(0.03, "pull of the content term beside the others", minimum=0)
    style_weight: float = option(1.0, "pull of the Gram term", minimum=0)
    histogram_weight: float = option(1.0, "pull of the histogram term", minimum=0)
    tv_weight: float = option(0.005, "pull of the total variation", minimum=0)
    histogram_layers: tuple[str, ...] = by_network(
        {"vgg16": ("relu1_1", "relu4_1"), "squeezenet": ("conv1", "fire4")},
        "LAYER or LAYER:WEIGHT whose histograms are matched; repeat for several.",
    )


def histogram(
    content: Tensor,
    style: Styles,
    config: Config | None = None,
    callback: Callback | None = None,
    vgg: FeatureNetwork | None = None,
) -> Tensor:
    """Paint the content with the style's Gram matrices and histograms. Arguments as for `gatys`."""
    config = config or Config()
    network = perceptual(vgg, content, config.pooling, config.loss_network)
    return paint(
        content,
        style,
        config,
        lambda c, s: objective(network, c, s, config),
        callback,
        min_side=network.min_side,
    )


def objective(vgg: Network, content: Tensor, styles: list[Style], config: Config) -> list[Task]:
    """Gram, histogram and content terms and total variation at one size, balanced."""
    gatys_layers, gatys = gatys_terms(vgg, content, styles, config)
    weights = weighted_layers(config.histogram_layers, vgg)
    layers = gatys_layers | set(weights)
    matched = histogram_term(vgg, styles, weights)

    def terms(picture: Tensor) -> dict[str, Tensor]:
        found = vgg(picture, layers)
        return {
            **gatys(found),
            "histogram": config.histogram_weight * matched(found),
            "tv": config.tv_weight * total_variation(picture),
        }

    other = resize(styles[0].picture, content.shape[-2], content.shape[-1])
    scales = balance(terms, {"content": other}, content, config)

    def losses(picture: Tensor) -> dict[str, Tensor]:
        return {name: scales[name] * term for name, term in terms(picture).items()}

    return [Task(losses)]


def histogram_term(
    vgg: Network, styles: list[Style], weights: Mapping[str, float]
) -> Callable[[Features], Tensor]:
    """Section 4.2's loss over the layers, each style in its region: activations -> scalar."""
    with torch.no_grad():
        targets = [
            {name: sorted_rows(seen) for name, seen in vgg(style.picture, weights).items()}
            for style in styles
        ]

    def distance(found: Features) -> Tensor:
        total = next(iter(found.values())).new_zeros(())
        for style, share, target in zip(styles, shares(styles), targets, strict=True):
            for name, weight in weights.items():
                inside = None
                if style.mask is not None:
                    inside = region(style.mask, found[name]).flatten() > 0.5
                    if not inside.any():
                        continue  # a region too small for this layer's cells
                apart = histogram_distance(found[name], target[name], inside)
                total = total + weight * share * apart
        return total

    return distance


def balance(
    terms: Callable[[Tensor], dict[str, Tensor]],
    elsewhere: Mapping[str, Tensor],
    content: Tensor,
    config: Config,
) -> dict[str, float]:
    """A factor for each term, so that its weight alone says how hard it pulls on the pixels.

    Gradients are compared where a term has work to do: on the content, or for the terms named in
    `elsewhere` on the picture given there. Each factor brings the mean absolute gradient, but for
    the weight, to that of the Gram term, whose own factor is 1.
    """
    weights = {
        "content": config.content_weight,
        "style": config.style_weight,
        "histogram": config.histogram_weight,
        "tv": config.tv_weight,
    }
    pulls = {}
    for place in [content, *elsewhere.values()]:
        picture = place.detach().clone().requires_grad_(True)
        found = terms(picture)
        for name, term in found.items():
            if elsewhere.get(name, content) is place and weights[name]:
                (gradient,) = torch.autograd.grad(term, picture, retain_graph=True)
                pulls[name] = float(gradient.abs().mean()) / weights[name]
    reference = pulls.get("style") or 1.0
    return {name: reference / pulls[name] if pulls.get(name) else 1.0 for name in weights}
