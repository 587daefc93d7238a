"""A small photograph, a small style picture, and a loss network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from st.train.data.pictures import load_style
from st.train.features import VGG, load_vgg
from tests.support.photos import painting, photograph


@pytest.fixture(scope="session")
def vgg() -> VGG:
    return load_vgg()


@pytest.fixture(scope="session")
def pair() -> tuple[Tensor, Tensor]:
    """Content and style, (1, 3, H, W), short side 64."""
    return load_style(photograph(), 64).clamp(0, 1), load_style(painting(), 64).clamp(0, 1)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(5)
