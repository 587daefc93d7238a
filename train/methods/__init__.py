"""The fast methods by name. To add one: a module here that ends in METHOD, and a line below."""

from st.train.method import Batch, Method
from st.train.methods import adain, cin, perceptual, stylebank

METHODS: dict[str, Method] = {
    module.METHOD.name: module.METHOD for module in (perceptual, cin, stylebank, adain)
}

__all__ = ["METHODS", "Batch", "Method"]
