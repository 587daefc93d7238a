"""Lapstyle: Gatys' method with a Laplacian loss that preserves the content's edges.

Li, Xu, Nie and Chua, "Laplacian-steered neural style transfer", ACM MM 2017, arXiv:1707.01253.
Gatys' content loss ignores low-level detail, so fine edges are lost. A third loss compares the
Laplacians of content and painting (section 3): each picture is average-pooled over PxP pixels to
suppress noise, each RGB channel is filtered by the 3x3 Laplacian, and the channels are summed.
Several pooling sizes P preserve both fine and coarse edges.

The paper uses P = 4 and 16. In a picture of a few hundred pixels, these leave strokes inside the
pooled squares free to cross the content's edges, so the default adds 2.

    st-slow laplacian --content photo.jpg --style wave.jpg -o painted.jpg
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from st.runtime.errors import BadInput, printable
from st.train.features import FeatureNetwork
from st.train.losses.basic import relative_distance
from st.train.settings import option
from st.train.slow.gatys import Config as GatysConfig
from st.train.slow.gatys import gatys_terms, minimize_objective
from st.train.slow.networks import Network
from st.train.slow.optimize import Callback, Task
from st.train.slow.styles import Style, Styles, weighted


@dataclass(frozen=True)
class Config(GatysConfig):
    laplacian_weight: float = option(
        5.0, "Weight of the Laplacian term, gamma in the paper.", minimum=0
    )
    pools: tuple[str, ...] = option(
        ("2", "4", "16"),
        "P or P:WEIGHT: side of the average pooling, in pixels; repeat for several.",
    )


def laplacian(
    content: Tensor,
    style: Styles,
    config: Config | None = None,
    callback: Callback | None = None,
    vgg: FeatureNetwork | None = None,
) -> Tensor:
    """Paint and preserve the content's edges. Arguments and errors are those of `gatys`."""
    return minimize_objective(objective, content, style, config or Config(), callback, vgg)


def objective(vgg: Network, content: Tensor, styles: list[Style], config: Config) -> list[Task]:
    """The terms of Gatys' method and the Laplacian term at one size."""
    layers, terms = gatys_terms(vgg, content, styles, config)
    # The Laplacian needs three pooled pixels a side.
    pools = {
        p: w for p, w in pool_weights(config.pools).items() if 3 * p <= min(content.shape[-2:])
    }
    edges = {pool: filtered(content, pool) for pool in pools}

    def losses(picture: Tensor) -> dict[str, Tensor]:
        apart = picture.new_zeros(())
        for pool, weight in pools.items():
            apart = apart + weight * relative_distance(filtered(picture, pool), edges[pool])
        return {**terms(vgg(picture, layers)), "laplacian": config.laplacian_weight * apart}

    return [Task(losses)]


def filtered(image: Tensor, pool: int) -> Tensor:
    """D(x): average pooling, then the 3x3 Laplacian of each channel, summed over the channels.

    (N, 3, H, W) -> (N, 1, H // pool - 2, W // pool - 2): the filter is not padded.
    """
    kernel = image.new_tensor([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    return conv2d(avg_pool2d(image, pool), kernel.expand(1, 3, 3, 3))


def pool_weights(given: tuple[str, ...]) -> dict[int, float]:
    """{P: weight}. Raises BadInput for text that is neither P nor P:WEIGHT."""
    pools: dict[int, float] = {}
    for text in given:
        name, weight = weighted(text)
        if not name.isdecimal() or not int(name) or not 0 <= weight < float("inf"):
            raise BadInput(f"pool {printable(text)}: use P or P:WEIGHT, like 4 or 16:0.5")
        pools[int(name)] = weight
    return pools
