"""The pretrained networks by name, for `--loss-network` and `--encoder`."""

from __future__ import annotations

from collections.abc import Callable

from st.runtime.errors import BadInput, printable
from st.train.features.base import FeatureNetwork
from st.train.features.squeezenet import LAYERS, load_squeezenet
from st.train.features.vgg import layer_names
from st.train.features.weights import load_vgg

NETWORKS = ("squeezenet", "vgg16")


def layer_names_of(network: str) -> list[str]:
    """All layers of a network, from shallow to deep."""
    return list(LAYERS) if network == "squeezenet" else layer_names(16)


def open_network(
    name: str,
    source: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> FeatureNetwork:
    """A pretrained network, frozen.

    name: one of NETWORKS. source: a file or URL of torchvision's VGG-16 weights. say: receives a
    line when VGG's weights are not torchvision's.
    Raises BadInput for an unknown name, a file that holds no such weights, or a VGG file given for
    SqueezeNet; Unavailable when the weights cannot be fetched.
    """
    if name == "squeezenet":
        if source is not None:
            raise BadInput("weights of VGG were given, and the loss network is squeezenet")
        return load_squeezenet()
    if name == "vgg16":
        return load_vgg(16, source, say=say)
    raise BadInput(f"{printable(name, 40)!r}: no such network; use {' or '.join(NETWORKS)}")
