"""Lapstyle: the content's edges drawn back into Gatys' painting.

Li, Xu, Nie and Chua, "Laplacian-steered neural style transfer", ACM MM 2017, arXiv:1707.01253.
Gatys' content loss leaves out low-level detail, so the style's own edges win. A third loss compares
the Laplacians of content and painting (section 3): each picture is averaged over PxP pixels, so
that noise does not count, filtered by the 3x3 Laplacian in each RGB channel, and the channels are
summed. Several P at once keep fine and coarse edges.

The paper has 4 and 16. With these alone a picture of a few hundred pixels meets the Laplacians by
the means of squares, inside which strokes still run across the content's edges: so 2 is with them.

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
from st.train.slow.gatys import gatys_terms
from st.train.slow.networks import Network, perceptual
from st.train.slow.optimize import Callback, Task, paint
from st.train.slow.styles import Style, Styles, weighted


@dataclass(frozen=True)
class Config(GatysConfig):
    laplacian_weight: float = option(
        5.0, "gamma, of the relative distance of Laplacians", minimum=0
    )
    pools: tuple[str, ...] = option(
        ("2", "4", "16"), "P or P:WEIGHT, pixels averaged before the Laplacian; may be repeated"
    )


def laplacian(
    content: Tensor,
    style: Styles,
    config: Config | None = None,
    callback: Callback | None = None,
    vgg: FeatureNetwork | None = None,
) -> Tensor:
    """Paint the content in the style and keep its edges. Arguments and errors as for `gatys`."""
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
    """Gatys' terms and the Laplacian's, at one size."""
    layers, terms = gatys_terms(vgg, content, styles, config)
    # A picture of fewer than three pools a side has no Laplacian inside.
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
    """D(x): mean over pool x pool pixels, 3x3 Laplacian of each channel, channels summed.

    (N, 3, H, W) -> (N, 1, H // pool - 2, W // pool - 2): the border, where the filter would see
    padding, is left out.
    """
    kernel = image.new_tensor([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    return conv2d(avg_pool2d(image, pool), kernel.expand(1, 3, 3, 3))


def pool_weights(given: tuple[str, ...]) -> dict[int, float]:
    """{P: weight}. Raises BadInput for what is no P or no weight."""
    pools: dict[int, float] = {}
    for text in given:
        name, weight = weighted(text)
        if not name.isdecimal() or not int(name) or not 0 <= weight < float("inf"):
            raise BadInput(f"pool {printable(text)}: use P or P:WEIGHT, like 4 or 16:0.5")
        pools[int(name)] = weight
    return pools
