"""Inputs for measuring engines: textured pictures, and extreme ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st.runtime.backends.onnxruntime import OrtBackend
from st.runtime.engine.metadata import Metadata
from st.runtime.painting.chroma import palette_of
from st.runtime.painting.frames import fitted_size
from st.runtime.painting.hints import make_hints
from st.runtime.painting.noise import draw_noise
from st.runtime.pictures.synthetic import noise_picture, synthetic_picture, uniform_picture
from st.runtime.style_encoder import as_style
from st.runtime.system.cpus import usable_cpus

Inputs = dict[str, NDArray[Any]]
SIZES = ((96, 128), (160, 96))
FLAT = (0, 128, 255)


def some_hints(height: int, width: int) -> NDArray[np.float32]:
    """A map with two color hints: (1, 3, H, W)."""
    hints = make_hints([("20%", "30%", "olive"), ("70%", "60%", "#3060c0")])
    return hints.at((height, width), (height, width))


def codes_of(
    encoder: bytes, metadata: Metadata, pictures: Sequence[NDArray[np.uint8]] = ()
) -> list[NDArray[np.float32]]:
    """Style codes of pictures (H, W, 3), or of synthetic ones, from a style encoder."""
    backend = OrtBackend(encoder, metadata, "cpu", usable_cpus())
    styles = [{"style": as_style(picture, metadata)} for picture in pictures]
    try:
        trials = styles or textured_inputs(metadata, [])
        return [backend.run(inputs, ["code"])[0] for inputs in trials]
    finally:
        backend.close()


def textured_inputs(
    metadata: Metadata,
    codes: Sequence[NDArray[np.float32]],
    sizes: Sequence[tuple[int, int]] = SIZES,
) -> list[Inputs]:
    """Inputs with textured pictures. codes: style codes, for an engine that takes one."""
    fitted = [fitted_size(metadata, *_within(metadata, size)) for size in sizes]
    pictures = [synthetic_picture(*size, seed) for seed, size in enumerate(fitted)]
    return [inputs_of(metadata, one, codes, seed) for seed, one in enumerate(pictures)]


def stress_inputs(metadata: Metadata, codes: Sequence[NDArray[np.float32]]) -> list[Inputs]:
    """Inputs with full-contrast noise and with uniform pictures."""
    size = fitted_size(metadata, *_within(metadata, (64, 64)))
    pictures = [noise_picture(*size), *(uniform_picture(*size, value) for value in FLAT)]
    return [inputs_of(metadata, one, codes, seed) for seed, one in enumerate(pictures)]


def _within(metadata: Metadata, size: tuple[int, int]) -> tuple[int, int]:
    return metadata.fixed_size or size


def inputs_of(
    metadata: Metadata,
    content: NDArray[np.uint8],
    codes: Sequence[NDArray[np.float32]],
    seed: int,
) -> Inputs:
    """A picture with controls: a blend of all styles, one of the codes, full strength."""
    weights = np.random.default_rng(seed).random((1, max(1, len(metadata.styles))), np.float32)
    norms = sum(metadata.norms)
    every: dict[str, NDArray[Any]] = {
        "content": content,
        "style": content,
        "weights": weights / weights.sum(),
        "strength": np.ones(1, np.float32),
        "noise": draw_noise(seed, metadata.noise, *content.shape[1:3]),
        "hints": some_hints(*content.shape[1:3]),
        "palette": palette_of(synthetic_picture(64, 64, seed)[0]),
        "moments": np.stack([np.zeros(norms), np.ones(norms)]).astype(np.float32),
        "margins": np.zeros(4, np.int64),
    }
    for k, (channels, stride) in enumerate(metadata.maps):
        shape = (1, channels, *(side // stride for side in content.shape[1:3]))
        every[f"map_{k}"] = np.zeros(shape, np.float32)
    if codes:
        every["code"] = codes[seed % len(codes)]
    return {name: every[name] for name in metadata.inputs}
