"""Perceptual networks: VGG for losses and encoders, SqueezeNet for evaluation only."""

from st.train.features.vgg import VGG
from st.train.features.weights import load_vgg

__all__ = ["VGG", "load_vgg"]
