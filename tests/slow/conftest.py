"""A real photograph and a real painting, small, and the network that sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from st.train.data.pictures import load_style
from st.train.features import VGG, load_vgg

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def vgg() -> VGG:
    return load_vgg()


@pytest.fixture(scope="session")
def pair() -> tuple[Tensor, Tensor]:
    """Content and style, (1, 3, H, W), short side 64."""
    photo, painting = DATA / "content" / "chicago.jpg", DATA / "style" / "wave.jpg"
    if not photo.is_file() or not painting.is_file():
        pytest.skip("no pictures beside the checkout (../shared/data)")
    return load_style(photo, 64).clamp(0, 1), load_style(painting, 64).clamp(0, 1)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(5)
