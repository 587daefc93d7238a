"""Intact inputs of every family, from which the bad ones are made."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.video.frame import VideoFrame
from PIL import Image

from st.runtime.engine.style_code import StyleCode
from st.train.checkpoint import Checkpoint
from st.train.methods import METHODS
from tests.support import toys

PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM", "JPEG2000")
SIZE = (32, 48)  # (height, width)
RATE = 12


@dataclass(frozen=True)
class Goods:
    """folder: holds picture.png, tint.onnx, code.onnx, photos/ and model.pt.

    files: contents by family.
    """

    folder: Path
    files: dict[str, list[bytes]]

    @classmethod
    def make(cls, folder: Path) -> Goods:
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
        image = Image.fromarray(pixels)
        image.save(folder / "picture.png")
        (folder / "photos").mkdir(exist_ok=True)
        image.resize((96, 80)).save(folder / "photos" / "photo.png")
        engines = [
            toys.tint_engine(folder / "tint.onnx"),
            toys.code_engine(folder / "code.onnx"),
            toys.tiles_pair(folder / "pair.onnx"),
        ]
        StyleCode(np.ones(3, np.float32), "mean").save(folder / "code.npz")
        make_checkpoint().save(folder / "model.pt")
        films = [
            film(folder / "film.mp4", "libx264"),
            film(folder / "film.mkv", "libx264"),
            film(folder / "film.mpeg", "mpeg4"),
            film(folder / "film.gif", "gif", "rgb8"),
        ]
        files = {
            "picture": [picture(image, name) for name in PICTURE_FORMATS],
            "film": [path.read_bytes() for path in films],
            "engine": [path.read_bytes() for path in engines],
            "checkpoint": [(folder / "model.pt").read_bytes()],
            "code": [(folder / "code.npz").read_bytes()],
            "settings": [b'size = 32\nseed = 3\nstyle-layers = ["relu1_2"]\n'],
        }
        return cls(folder, files)


def picture(image: Image.Image, form: str) -> bytes:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    settings: dict[str, Any] = {"exif": exif} if form in ("PNG", "JPEG", "WEBP", "TIFF") else {}
    image.save(out, form, **settings)
    return out.getvalue()


def film(
    path: Path,
    codec: str,
    pixels: str = "yuv420p",
    frames: int = 6,
    size: tuple[int, int] = SIZE,
    sound: bool = False,
) -> Path:
    """A moving bar on a brightening field with noise; `sound` adds a tone in AAC."""
    random = np.random.default_rng(0)
    form = "mpegts" if path.suffix == ".mpeg" else None
    with av.open(str(path), "w", format=form) as target:
        stream: Any = target.add_stream(codec, rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        stream.codec_context.thread_count = 1
        tone: Any = target.add_stream("aac", rate=48000, layout="mono") if sound else None
        for number in range(frames):
            grain = random.integers(0, 32, (*size, 3), np.uint8)
            rgb = grain + np.uint8(20 * number % 224)
            rgb[:, 4 * number % size[1] :][:, :8] = 255
            frame = VideoFrame.from_ndarray(rgb).reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            target.mux(stream.encode(frame))
            if tone:
                target.mux(tone.encode(_tone(number)))
        for track in (stream, tone) if tone else (stream,):
            target.mux(track.encode(None))
    return path


def _tone(number: int) -> av.AudioFrame:
    samples = 48000 // RATE
    t = np.arange(number * samples, (number + 1) * samples) / 48000
    wave = (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(wave, "s16", "mono")
    frame.sample_rate, frame.pts, frame.time_base = 48000, number * samples, Fraction(1, 48000)
    return frame


def make_checkpoint() -> Checkpoint:
    """A checkpoint of a small untrained network."""
    method = METHODS["perceptual"]
    config = method.config(shape="fast", size=32, steps=3)
    torch.manual_seed(0)
    network = method.build(config, ["wave"])
    state = dict(network.state_dict())
    return Checkpoint("perceptual", dataclasses.asdict(config), ("wave",), state, {"steps": 3})
