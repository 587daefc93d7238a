"""Gatys' method with histogram losses, which remove the ambiguity of Gram matrices.

Risser, Wilmot and Barnes, "Stable and controllable neural texture synthesis and style transfer
using histogram losses", arXiv:1701.08893. Activations with different means and variances can have
the same Gram matrix (section 4.1), so contrast drifts and areas lose it. The histogram loss matches
the whole histogram of every channel (section 4.2), which determines both. The method adds total
variation, coarse-to-fine synthesis, and automatic weights from the terms' gradients (section 4.4).

    st-slow histogram --content photo.jpg --style wave.jpg -o painted.jpg

The paper rescales the gradients in every iteration. Here each term is rescaled once per size, so
that L-BFGS minimizes a fixed function: see `balance`.
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
from st.train.slow.gatys import Features, gatys_terms, minimize_objective
from st.train.slow.histogram_match import histogram_distance, sorted_rows
from st.train.slow.networks import Network
from st.train.slow.optimize import Callback, Task
from st.train.slow.styles import Style, Styles, region, resize, shares, weighted_layers


@dataclass(frozen=True)
class Config(GatysConfig):
    content_weight: float = option(
        0.03, "Weight of the content term, relative to the other terms.", minimum=0
    )
    style_weight: float = option(1.0, "Weight of the Gram term.", minimum=0)
    histogram_weight: float = option(1.0, "Weight of the histogram term.", minimum=0)
    tv_weight: float = option(0.005, "Weight of the total variation.", minimum=0)
    histogram_layers: tuple[str, ...] = by_network(
        {"vgg16": ("relu1_1", "relu4_1"), "squeezenet": ("conv1", "fire4")},
        "LAYER or LAYER:WEIGHT of the histogram term; repeat for several.",
    )


def histogram(
    content: Tensor,
    style: Styles,
    config: Config | None = None,
    callback: Callback | None = None,
    vgg: FeatureNetwork | None = None,
) -> Tensor:
    """Match Gram matrices and histograms. Arguments and errors are those of `gatys`."""
    return minimize_objective(objective, content, style, config or Config(), callback, vgg)


def objective(vgg: Network, content: Tensor, styles: list[Style], config: Config) -> list[Task]:
    """The balanced content, Gram, histogram and total variation terms at one size."""
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
    """The loss of section 4.2 over all layers, each style in its region: activations -> scalar."""
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
                        continue  # the region is smaller than a cell of this layer
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
    """A factor for each term that makes the magnitudes of the gradients comparable.

    With its factor, the mean absolute gradient of a term per unit of weight equals that of the
    Gram term, whose factor is 1. The gradients are measured at the content picture, where most
    terms are far from their minimum; those of the terms in `elsewhere` at the picture given there.
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
