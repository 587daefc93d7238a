"""A checkpoint's engines: the one that paints, and its companions (style encoder, tiles)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from st.export.onnx.graphs import (
    ColorGraph,
    EncoderGraph,
    FrameGraph,
    TextureGraph,
    TileGraph,
    moments_of,
    onnx_instance_norm,
)
from st.export.onnx.to_onnx import picture_axes, to_onnx
from st.export.parity.compare_outputs import Parity, code_parity, picture_parity, trial_picture
from st.export.parity.trial_inputs import some_hints
from st.runtime.engine.metadata import PROPERTY, Metadata
from st.runtime.painting.chroma import palette_of
from st.runtime.painting.noise import draw_noise
from st.runtime.system.atomic_files import atomic_write
from st.train.checkpoint import Checkpoint
from st.train.method import ExportSpec
from st.train.methods import METHODS
from st.train.networks import color_net
from st.train.networks.transform import SHAPES, fold_upsampling

SIZES = ((64, 96), (120, 80), (200, 256))  # of the pictures that parity is measured on


@dataclass(frozen=True)
class Engine:
    """A written engine and its measured difference from PyTorch."""

    path: Path
    metadata: Metadata
    parity: Parity


def export(checkpoint: Checkpoint, output: Path) -> Iterator[Engine]:
    """Write `output` (NAME.onnx) and its companions NAME.encoder.onnx and NAME.tiles.onnx.

    Each is checked by onnx.checker, run on ONNX Runtime and compared with PyTorch before it takes
    its name. Raises ParityError when they differ by more than rounding, BadInput for a checkpoint
    whose parts do not fit.
    """
    network = checkpoint.network().float()
    spec = METHODS[checkpoint.method].export_spec(network)
    kind = "texture" if spec.texture else "stylizer"
    base = Metadata(
        method=checkpoint.method,
        kind="colorizer" if spec.render_factor else kind,
        inputs=spec.controls if spec.texture else ("content", *spec.controls),
        styles=checkpoint.styles if "weights" in spec.controls else (),
        code_size=spec.code_size,
        blends=spec.blends,
        multiple=spec.multiple,
        min_size=spec.min_size,
        scale=spec.scale,
        noise=spec.noise,
        render_factor=spec.render_factor,
        halo=spec.halo,
        fingerprint=fingerprint(checkpoint),
        card=tuple(sorted(_card(checkpoint).items())),
    )
    if spec.render_factor:
        yield _colors(network, base, output)
        return
    folded = fold_upsampling(network).eval()
    yield _frames(network, folded, spec, base, output)
    if spec.code_size:
        yield _encoder(network, folded, spec, base, output.with_suffix(".encoder.onnx"))
    if spec.norms:
        yield _tiles(folded, spec, base, output.with_suffix(".tiles.onnx"))


def _card(checkpoint: Checkpoint) -> dict[str, str | int | float]:
    """The training card, with the network's shape where it has no name: weights alone do not
    tell it to whoever reads the engine back (`st.train.bank.from_engine`)."""
    shape = checkpoint.config.get("shape")
    if not isinstance(shape, str) or shape in SHAPES:
        return checkpoint.card
    return {"shape": shape} | checkpoint.card


def fingerprint(checkpoint: Checkpoint) -> str:
    """SHA-256 over the names and values of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(checkpoint.state.items()):
        digest.update(name.encode() + b"\0")
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _inputs(
    network: nn.Module, spec: ExportSpec, base: Metadata, seed: int, picture: Tensor
) -> dict[str, Tensor]:
    """Example inputs: a picture (a texture engine gets its size alone), a blend of all styles, some
    picture's style code, a strength below 1, noise."""
    random = torch.Generator().manual_seed(seed)
    weights = torch.rand(1, max(1, len(base.styles)), generator=random)
    values = {
        "weights": weights / weights.sum(),
        "strength": torch.tensor([0.75]),
        "noise": torch.from_numpy(draw_noise(seed, spec.noise, *picture.shape[1:3]).copy()),
    }
    if spec.code_size:
        with torch.no_grad():
            values["code"] = EncoderGraph(network)(_pictures(base, 1, seed + len(SIZES))[0])
    content = {} if spec.texture else {"content": picture}
    return content | {name: values[name] for name in spec.controls}


def _pictures(base: Metadata, count: int, first: int = 0) -> list[Tensor]:
    """Trial pictures of sizes that the engine takes. first: the seed of the first."""

    def side(pixels: int) -> int:
        return -(-max(pixels, base.min_size) // base.multiple) * base.multiple

    return [
        torch.from_numpy(trial_picture(side(h), side(w), seed)).repeat(count, 1, 1, 1)
        for seed, (h, w) in enumerate(SIZES, first)
    ]


def _frames(
    network: nn.Module, folded: nn.Module, spec: ExportSpec, base: Metadata, path: Path
) -> Engine:
    of = TextureGraph if spec.texture else FrameGraph
    graph = of(folded, onnx_instance_norm if spec.norms else None)
    example = _inputs(folded, spec, base, 0, _pictures(base, 2)[0])
    axes = picture_axes(base.multiple, base.min_size, batch=True)
    model = to_onnx(graph, example, ["stylized"], axes, base)
    plain = of(network, None)
    trials = [
        _inputs(folded, spec, base, seed, picture)
        for seed, picture in enumerate(_pictures(base, 1))
    ]
    parity = picture_parity(model, base, plain, trials, spec.rounding)
    return _write(model, path, base, parity)


def _colors(network: Any, base: Metadata, path: Path) -> Engine:
    trials = [
        {
            "content": picture,
            "hints": torch.from_numpy(some_hints(*picture.shape[1:3])),
            "palette": torch.from_numpy(palette_of(picture[0].numpy())),
        }
        for picture in _pictures(base, 1)
    ]
    example = trials[0] | {"content": _pictures(base, 2)[0]}
    axes = picture_axes(base.multiple, base.min_size, batch=True)
    model = to_onnx(
        ColorGraph(color_net.folded(network.generator)), example, ["chroma"], axes, base
    )
    parity = code_parity(model, base, ColorGraph(network.generator), trials, "engine")
    return _write(model, path, base, parity)


def _encoder(
    network: nn.Module, folded: nn.Module, spec: ExportSpec, base: Metadata, path: Path
) -> Engine:
    metadata = replace(base, kind="style-encoder", inputs=("style",), styles=(), halo=0)
    pictures, axes = _pictures(base, 1), picture_axes(base.multiple, base.min_size, batch=False)
    if side := spec.style_size:
        metadata, axes = replace(metadata, fixed_size=(side, side)), {}
        pictures = [torch.from_numpy(trial_picture(side, side, seed)) for seed in range(len(SIZES))]
    model = to_onnx(EncoderGraph(folded), {"style": pictures[0]}, ["code"], axes, metadata)
    trials = [{"style": picture} for picture in pictures]
    return _write(
        model, path, metadata, code_parity(model, metadata, EncoderGraph(network), trials)
    )


def _tiles(folded: nn.Module, spec: ExportSpec, base: Metadata, path: Path) -> Engine:
    channels = tuple(c for c, _ in spec.norms)
    metadata = replace(
        base, kind="tiles", inputs=(*base.inputs, "moments", "margins"), norms=channels
    )
    graph = TileGraph(folded, spec.norms)
    outputs = ["stylized", *(f"moments_{i}" for i in range(len(channels)))]
    random = torch.Generator().manual_seed(0)
    margins = torch.tensor([2, 1, 0, 1]) * base.multiple
    trials: list[dict[str, Tensor]] = []
    for seed, picture in enumerate(_pictures(base, 1)):
        inputs = _inputs(folded, spec, base, seed, picture)
        # Near those that the picture has, as a tile's are; far from them all would be far too loud.
        apart = 0.8 + 0.4 * torch.rand(2, sum(channels), generator=random)
        moments = apart * moments_of(folded, *inputs.values())
        trials.append(inputs | {"moments": moments, "margins": margins})
    axes = picture_axes(base.multiple, base.min_size, batch=False)
    model = to_onnx(graph, trials[0], outputs, axes, metadata)
    return _write(model, path, metadata, picture_parity(model, metadata, graph, trials))


def _write(model: bytes, path: Path, metadata: Metadata, parity: Parity) -> Engine:
    import onnx

    metadata = replace(metadata, max_error=parity.largest)
    proto = onnx.load_from_string(model)
    del proto.metadata_props[:]
    proto.metadata_props.add(key=PROPERTY, value=metadata.dump())
    with atomic_write(path) as part:
        part.write_bytes(proto.SerializeToString())
    return Engine(path, metadata, parity)
