"""The slow methods by name, for the commands and comparisons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Entry:
    """A slow method.

    paint: (content, styles, config, callback, network) -> picture. config: the dataclass of its
    settings. title: a one-line description, for help texts.
    """

    paint: Callable[..., Tensor]
    config: type
    title: str


def entries() -> dict[str, Entry]:
    """The methods by name. Raises ModuleNotFoundError if torch is not installed."""
    from st.train.slow.cnnmrf import Config as CnnmrfConfig
    from st.train.slow.cnnmrf import cnnmrf
    from st.train.slow.gatys import Config as GatysConfig
    from st.train.slow.gatys import gatys
    from st.train.slow.histogram import Config as HistogramConfig
    from st.train.slow.histogram import histogram
    from st.train.slow.laplacian import Config as LaplacianConfig
    from st.train.slow.laplacian import laplacian
    from st.train.slow.reshuffle import Config as ReshuffleConfig
    from st.train.slow.reshuffle import reshuffle

    return {
        "gatys": Entry(
            gatys,
            GatysConfig,
            "Match Gram matrices of VGG or SqueezeNet features: Gatys et al., 2016",
        ),
        "laplacian": Entry(
            laplacian,
            LaplacianConfig,
            "Gatys' method with a loss that preserves edges: Li et al., 2017",
        ),
        "histogram": Entry(
            histogram, HistogramConfig, "Gatys' method with a histogram loss: Risser et al., 2017"
        ),
        "cnnmrf": Entry(
            cnnmrf, CnnmrfConfig, "Match each patch to its nearest style patch: Li and Wand, 2016"
        ),
        "reshuffle": Entry(
            reshuffle,
            ReshuffleConfig,
            "Rearrange the style's patches, each used about once: Gu et al., 2018",
        ),
    }
