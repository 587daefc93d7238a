"""Exports a checkpoint's engine and its companions (style encoder, tiles)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from st.export.onnx.graphs import (
    ColorGraph,
    EncoderGraph,
    FrameGraph,
    TextureGraph,
    onnx_instance_norm,
)
from st.export.onnx.opset import NEWEST
from st.export.onnx.tiles import tiles_model
from st.export.onnx.to_onnx import picture_axes, to_onnx
from st.export.parity.compare_outputs import (
    Parity,
    code_parity,
    picture_parity,
    tiles_parity,
)
from st.export.parity.sample_inputs import some_hints
from st.runtime.engine.describe import format_size
from st.runtime.engine.fields import Size
from st.runtime.engine.metadata import PROPERTY, Metadata
from st.runtime.errors import BadInput
from st.runtime.painting.chroma import palette_of
from st.runtime.painting.noise import draw_noise
from st.runtime.pictures.synthetic import synthetic_picture
from st.runtime.style_encoder import SHORT_SIDE
from st.runtime.system.atomic_files import atomic_write
from st.train.checkpoint import Checkpoint
from st.train.method import ExportSpec
from st.train.methods import METHODS
from st.train.networks import color_net
from st.train.networks.transform import fold_upsampling

SIZES = ((64, 96), (120, 80), (200, 256))  # (height, width) of the pictures for parity
STYLE_SIDE = SHORT_SIDE // 16 * 16  # of a fixed style picture


@dataclass(frozen=True)
class Engine:
    """A written engine and its measured difference from PyTorch."""

    path: Path
    metadata: Metadata
    parity: Parity


@dataclass(frozen=True)
class _Made:
    """An engine's bytes, before it is written."""

    engine: Engine
    data: bytes


@dataclass(frozen=True)
class Exportable:
    """A network to export. network: in evaluation mode, with the inputs of `spec` (`ExportSpec`).

    card: how it was trained, for display. state: its weights by name, for the fingerprint.
    """

    method: str
    network: nn.Module
    spec: ExportSpec
    styles: tuple[str, ...]
    card: dict[str, str | int | float]
    state: dict[str, Tensor]


def exportable(checkpoint: Checkpoint) -> Exportable:
    """A checkpoint's network. Raises BadInput: its weights do not match its settings."""
    method, network = METHODS[checkpoint.method], checkpoint.network().float()
    if method.before_export is not None:
        method.before_export(network)
    spec = method.export_spec(network)
    return Exportable(
        checkpoint.method, network, spec, checkpoint.styles, _card(checkpoint), checkpoint.state
    )


@dataclass(frozen=True)
class Target:
    """The limits of the runtime that an engine is for.

    opset: of the ONNX file, see `to_opset`. fixed_size: (height, width), or None for any size. With
    a fixed size, the style encoder takes squares of `STYLE_SIDE`, and there are no tiles.
    """

    opset: int = NEWEST
    fixed_size: Size | None = None


def export(
    source: Checkpoint | Exportable, output: Path, target: Target | None = None
) -> Iterator[Engine]:
    """Write `output` (NAME.onnx) and its companions NAME.encoder.onnx and NAME.tiles.onnx.

    Each is checked by onnx.checker, run on ONNX Runtime and compared with PyTorch before the first
    is written. Raises ParityError: they differ by more than rounding. BadInput: a checkpoint whose
    parts do not fit, or a size or opset that the engine cannot have.
    """
    model = exportable(source) if isinstance(source, Checkpoint) else source
    for made in list(_made(model, output, target or Target())):
        with atomic_write(made.engine.path) as part:
            part.write_bytes(made.data)
        yield made.engine


def _made(model: Exportable, output: Path, target: Target) -> Iterator[_Made]:
    network, spec, base = model.network, model.spec, _base(model, target)
    if spec.render_factor:
        yield _colors(network, base, target, output)
        return
    folded = fold_upsampling(network).eval()
    frames = _frames(network, folded, spec, base, target, output)
    yield frames
    if spec.code_size:
        yield _encoder(network, folded, spec, base, target, output.with_suffix(".encoder.onnx"))
    if spec.norms and target.fixed_size is None:
        yield _tiles(frames, network, spec, output.with_suffix(".tiles.onnx"))


def check_size(spec: ExportSpec, target: Target) -> None:
    """Raises BadInput: the engine cannot have this fixed size."""
    if size := target.fixed_size:
        steps = [side % spec.multiple for side in size]
        if any(steps) or min(size) < spec.min_size:
            raise BadInput(
                f"a fixed size of {format_size(size)}: this engine takes multiples of "
                f"{spec.multiple}, {spec.min_size} or more"
            )


def _base(model: Exportable, target: Target) -> Metadata:
    """The metadata that an engine and its companions share."""
    spec = model.spec
    kind = "texture" if spec.texture else "stylizer"
    check_size(spec, target)
    return Metadata(
        method=model.method,
        kind="colorizer" if spec.render_factor else kind,
        inputs=spec.controls if spec.texture else ("content", *spec.controls),
        styles=model.styles if "weights" in spec.controls else (),
        code_size=spec.code_size,
        blends=spec.blends,
        multiple=spec.multiple,
        min_size=spec.min_size,
        fixed_size=target.fixed_size,
        scale=spec.scale,
        noise=spec.noise,
        render_factor=spec.render_factor,
        halo=spec.halo,
        fingerprint=fingerprint(model.state),
        card=tuple(sorted(model.card.items())),
    )


def _card(checkpoint: Checkpoint) -> dict[str, str | int | float]:
    """The training card, plus the settings that differ from the method's defaults, as JSON.

    `st.train.bank.from_engine` needs them to read the engine back."""
    usual = dataclasses.asdict(METHODS[checkpoint.method].config())
    settings = {
        name: value
        for name, value in checkpoint.config.items()
        if value != usual.get(name) and name != "teacher"  # a path on the machine that trained it
    }
    if not settings:
        return checkpoint.card
    return {"settings": json.dumps(settings, sort_keys=True)} | checkpoint.card


def fingerprint(state: dict[str, Tensor]) -> str:
    """SHA-256 over the names and values of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
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
    """Trial pictures in sizes that the engine accepts. first: the seed of the first."""

    def side(pixels: int) -> int:
        return -(-max(pixels, base.min_size) // base.multiple) * base.multiple

    sizes = [base.fixed_size or (side(height), side(width)) for height, width in SIZES]
    return [
        torch.from_numpy(synthetic_picture(*size, seed)).repeat(count, 1, 1, 1)
        for seed, size in enumerate(sizes, first)
    ]


def _axes(base: Metadata, batch: bool) -> dict[int, Any]:
    return {} if base.fixed_size else picture_axes(base.multiple, base.min_size, batch)


def _example(base: Metadata) -> Tensor:
    """The example picture for tracing: a batch of two if the batch is dynamic."""
    return _pictures(base, 1 if base.fixed_size else 2)[0]


def _frames(
    network: nn.Module,
    folded: nn.Module,
    spec: ExportSpec,
    base: Metadata,
    target: Target,
    path: Path,
) -> _Made:
    of = TextureGraph if spec.texture else FrameGraph
    graph = of(folded, onnx_instance_norm if spec.norms else None)
    example = _inputs(folded, spec, base, 0, _example(base))
    axes = _axes(base, batch=True)
    model = to_onnx(graph, example, ["stylized"], axes, base, target.opset)
    plain = of(network, None)
    trials = [
        _inputs(folded, spec, base, seed, picture)
        for seed, picture in enumerate(_pictures(base, 1))
    ]
    parity = picture_parity(model, base, plain, trials, spec.rounding)
    return _measured(model, path, base, parity)


def _colors(network: Any, base: Metadata, target: Target, path: Path) -> _Made:
    trials = [
        {
            "content": picture,
            "hints": torch.from_numpy(some_hints(*picture.shape[1:3])),
            "palette": torch.from_numpy(palette_of(picture[0].numpy())),
        }
        for picture in _pictures(base, 1)
    ]
    example = trials[0] | {"content": _example(base)}
    graph = ColorGraph(color_net.folded(network.generator))
    model = to_onnx(graph, example, ["chroma"], _axes(base, batch=True), base, target.opset)
    parity = code_parity(model, base, ColorGraph(network.generator), trials, "engine")
    return _measured(model, path, base, parity)


def _encoder(
    network: nn.Module,
    folded: nn.Module,
    spec: ExportSpec,
    base: Metadata,
    target: Target,
    path: Path,
) -> _Made:
    metadata = replace(base, kind="style-encoder", inputs=("style",), styles=(), halo=0)
    side = spec.style_size or (STYLE_SIDE if target.fixed_size else 0)
    metadata = replace(metadata, fixed_size=(side, side) if side else None)
    pictures, axes = _pictures(metadata, 1), _axes(metadata, batch=False)
    graph = EncoderGraph(folded)
    model = to_onnx(graph, {"style": pictures[0]}, ["code"], axes, metadata, target.opset)
    trials = [{"style": picture} for picture in pictures]
    parity = code_parity(model, metadata, EncoderGraph(network), trials)
    return _measured(model, path, metadata, parity)


def _tiles(frames: _Made, network: nn.Module, spec: ExportSpec, path: Path) -> _Made:
    """The tiles companion of an engine, compared with the network on whole pictures."""
    base = frames.engine.metadata
    model, metadata = tiles_model(frames.data, base)
    if metadata.norms != tuple(channels for channels, _ in spec.norms):
        raise BadInput(f"{base.method}: its graph has other instance norms than it declares")
    trials = [
        _inputs(network, spec, base, seed, picture)
        for seed, picture in enumerate(_pictures(base, 1))
    ]
    parity = tiles_parity(model, metadata, FrameGraph(network, None), trials, spec.rounding)
    return _measured(model, path, metadata, parity)


def _measured(model: bytes, path: Path, metadata: Metadata, parity: Parity) -> _Made:
    """The model with its measured error stored in its metadata."""
    metadata = replace(metadata, max_error=parity.largest)
    proto = onnx.load_from_string(model)
    del proto.metadata_props[:]
    proto.metadata_props.add(key=PROPERTY, value=metadata.dump())
    return _Made(Engine(path, metadata, parity), proto.SerializeToString())
