"""The fast methods by name. To add one: a module here that ends in METHOD, and two lines below."""

from st.train.method import Batch, Method
from st.train.methods import (
    adain,
    avatarnet,
    cin,
    colorize,
    diversified,
    mgan,
    perceptual,
    prediction,
    stylebank,
    styleswap,
    superres,
    texture,
    wct,
)

MODULES = (
    texture,
    perceptual,
    mgan,
    superres,
    cin,
    stylebank,
    diversified,
    prediction,
    adain,
    avatarnet,
    styleswap,
    wct,
    colorize,
)
METHODS: dict[str, Method] = {module.METHOD.name: module.METHOD for module in MODULES}

__all__ = ["METHODS", "Batch", "Method"]
