"""Generated photographs and paintings, the real VGG-16, and small configurations of methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from st.train.data.pictures import to_tensor
from st.train.features import VGG, FeatureNetwork, load_squeezenet, load_vgg
from st.train.method import Method
from tests.support import photos


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def no_other_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ignore torchvision's weights if they are in this machine's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        yield


def photograph(seed: int, width: int = 96, height: int = 80) -> Image.Image:
    """A darkening sky, a hill, a house, and smooth noise on top."""
    random = np.random.default_rng(seed)
    sky = np.linspace((140, 180, 230), (220, 225, 235), height)[:, None].repeat(width, 1)
    image = Image.fromarray(sky.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    x = int(random.integers(width // 2))
    draw.ellipse((x - 20, height // 2, x + 60, 2 * height), fill=(60, 110 + seed % 60, 50))
    draw.rectangle((x + 20, height // 3, x + 40, height // 2 + 10), fill=(170, 60, 40))
    coarse = Image.fromarray(random.integers(0, 256, (10, 12, 3), dtype=np.uint8))
    return Image.blend(image, coarse.resize(image.size, Image.Resampling.BICUBIC), 0.25)


def painting(seed: int, side: int = 96) -> Image.Image:
    """Short thick strokes in few colors."""
    random = np.random.default_rng(1000 + seed)
    colors = [tuple(int(v) for v in c) for c in random.integers(0, 256, (4, 3))]
    image = Image.new("RGB", (side, side), colors[0])
    draw = ImageDraw.Draw(image)
    for _ in range(150):
        x, y = random.integers(0, side, 2)
        dx, dy = random.integers(-12, 13, 2)
        draw.line((x, y, x + dx, y + dy), fill=colors[random.integers(4)], width=4)
    return image


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(3):
        photograph(seed).save(folder / f"photo{seed}.png")
    return folder


@pytest.fixture(scope="session")
def paintings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paintings")
    for seed, name in enumerate(("strokes", "dashes")):
        painting(seed).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def vgg() -> VGG:
    """The default weights of training; downloaded once, then cached."""
    return load_vgg(16)


@pytest.fixture(scope="session")
def squeezenet() -> FeatureNetwork:
    return load_squeezenet()


@pytest.fixture(scope="session")
def network_of(vgg: VGG, squeezenet: FeatureNetwork) -> Callable[[Method, Any], FeatureNetwork]:
    """The loss network of a method for a Config."""
    opened = {"vgg16": vgg, "squeezenet": squeezenet}
    return lambda method, config: opened[method.loss_network(config)]


@pytest.fixture(scope="session")
def real_pair() -> tuple[Tensor, Tensor]:
    """A photograph and a style picture, (1, 3, 64, 64) each."""
    files = (photos.photograph(), photos.painting())
    images = [Image.open(file).convert("RGB") for file in files]
    content, style = (to_tensor(image.resize((64, 64)))[None] for image in images)
    return content, style


@pytest.fixture(scope="session")
def small() -> Callable[..., Any]:
    """A method's Config for a training of seconds; keywords change further settings."""

    def make(method: Method, **settings: Any) -> Any:
        entries = {entry.name for entry in dataclasses.fields(method.config)}
        values = {
            "steps": 6,
            "size": 48,
            "batch": 2,
            "style_scales": (1.0,),
            "style_size": 64,
            "style_crop": 64,
            "shape": "fast",
        }
        values |= {"width": 8, "kernel": 3, "scales": 3, "levels": ("3", "2")}
        if method.name == "colorize":  # all that it has learns from the first step on
            values |= {"size": 96, "encoder": "plain", "critic": 8, "alone": 0.0, "both": 1.0}
        values |= settings
        return method.config(**{k: v for k, v in values.items() if k in entries})

    return make
