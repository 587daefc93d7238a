"""Pretrained networks for losses, encoders and measures: VGG and SqueezeNet."""

from st.train.features.base import FeatureNetwork
from st.train.features.networks import NETWORKS, layer_names_of, open_network
from st.train.features.squeezenet import SqueezeNet, load_squeezenet
from st.train.features.vgg import VGG
from st.train.features.weights import load_vgg

__all__ = [
    "NETWORKS",
    "VGG",
    "FeatureNetwork",
    "SqueezeNet",
    "layer_names_of",
    "load_squeezenet",
    "load_vgg",
    "open_network",
]
