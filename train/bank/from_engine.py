"""The checkpoint that an engine was exported from, read back out of its ONNX graph."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from st.runtime.engine.location import engine_path
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.onnx_file import read_engine
from st.runtime.errors import BadInput, MissingExtra, printable
from st.runtime.stylizer import Stylizer
from st.train.checkpoint import Checkpoint, load_checkpoint
from st.train.method import Method
from st.train.methods import METHODS
from st.train.networks.transform import SHAPES, InstanceNorm, parse_shape, unfold_upsampling

PREFIX = "network."  # the exporter's graphs hold the network under this name
LIMIT = 2  # steps of 1/255 between the engine's pictures and those of what is read back
TRIAL = (96, 128)


def load_any(source: str) -> Checkpoint:
    """A checkpoint, from its own file or out of an engine: a file, or a shipped engine's name.

    Raises BadInput: neither, or an engine that does not give its weights back.
    """
    if Path(source).suffix == ".pt":
        return load_checkpoint(Path(source))
    return engine_checkpoint(source)


def engine_checkpoint(engine: str | Path) -> Checkpoint:
    """What `engine` was exported from; it paints the same pictures, or BadInput is raised."""
    path = engine_path(engine)
    data, metadata = read_engine(path)
    shown = printable(path)
    if metadata.method not in METHODS:
        raise BadInput(f"{shown}: unknown method {printable(metadata.method, 40)!r}")
    method = METHODS[metadata.method]
    weights, norms = weights_of(data)
    for config in _configs(method, weights, metadata):
        network = method.build(config, metadata.styles)
        state = _state(network, weights | _of_norms(network, norms))
        if state is not None:
            break
    else:
        raise BadInput(f"{shown}: its weights are not laid out as {method.name} has them")
    checkpoint = Checkpoint(
        method.name, dataclasses.asdict(config), metadata.styles, state, dict(metadata.card)
    )
    _prove(checkpoint.network(), path, metadata)
    return checkpoint


def weights_of(data: bytes) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
    """The network's initializers by their names in its state dict, and the scale and shift of every
    instance norm that has its own, in the order they run: these lose their names on the way."""
    try:
        import onnx
        from onnx import numpy_helper
    except ModuleNotFoundError:
        raise MissingExtra("reading an engine's weights", "export") from None
    graph = onnx.load_from_string(data).graph
    arrays = {  # some are kept in half the bytes: st.export.onnx.storage
        entry.name.removesuffix(".half"): numpy_helper.to_array(entry)
        for entry in graph.initializer
    }
    found = {
        name: torch.from_numpy(array.astype(np.float32))
        for name, array in arrays.items()
        if np.issubdtype(array.dtype, np.floating)
    }
    norms = [node.input for node in graph.node if node.op_type == "InstanceNormalization"]
    pairs = [
        (found[scale], found[shift])
        for _, scale, shift in norms
        if scale in found and shift in found
    ]
    named = {k.removeprefix(PREFIX): v for k, v in found.items() if k.startswith(PREFIX)}
    return named, pairs


def _of_norms(network: nn.Module, pairs: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """The state of the network's own norms, which run in the order that it lists them in."""
    names = [name for name, module in network.named_modules() if isinstance(module, InstanceNorm)]
    state = {}
    for name, (scale, shift) in zip(names, pairs, strict=False):
        state |= {f"{name}.scale": scale[None], f"{name}.shift": shift[None]}
    return state


def _configs(
    method: Method, weights: dict[str, Tensor], metadata: Metadata
) -> typing.Iterator[typing.Any]:
    """Configs whose networks could have these weights: the engine tells only its weights, and its
    card a shape that has no name."""
    own = (value for name, value in metadata.card if name == "shape")
    shapes: list[str | None] = [text for text in own if isinstance(text, str) and _is_shape(text)]
    entries = {entry.name: entry for entry in dataclasses.fields(method.config)}
    first = next((w for w in weights.values() if w.ndim == 4), None)
    known = {}
    if first is not None:
        known = {"width": first.shape[0], "kernel": first.shape[-1]}
    known = {name: value for name, value in known.items() if name in entries}
    shapes = [*SHAPES, *shapes] if "shape" in entries else [None]
    for shape in shapes:
        yield method.config(**known, **({} if shape is None else {"shape": shape}))


def _is_shape(text: str) -> bool:
    try:
        parse_shape(text)
    except ValueError:
        return False
    return True


def _state(network: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """The network's state with these weights in it; None where they do not fit."""
    learned = dict(network.named_parameters())
    state = {}
    for name, own in network.state_dict().items():
        found = weights.get(name)
        if found is None:
            if name in learned:
                return None
            state[name] = own  # a buffer that no picture needs
            continue
        if found.shape != own.shape:
            found = unfold_upsampling(found) if found.shape[:1] == (4 * len(own),) else found
        if found.shape != own.shape:
            return None
        state[name] = found.clone()
    return state


def _prove(network: nn.Module, path: Path, metadata: Metadata) -> None:
    """Raises BadInput unless the network paints what the engine paints."""
    random = np.random.default_rng(0)
    step = 16
    coarse = random.integers(0, 256, (TRIAL[0] // step, TRIAL[1] // step, 3), dtype=np.uint8)
    picture = coarse.repeat(step, 0).repeat(step, 1)
    with Stylizer(path) as stylizer:
        if metadata.styles:
            stylizer.set_style({name: 1 + n for n, name in enumerate(metadata.styles)})
        theirs = stylizer(picture)
        inputs = stylizer.settings.inputs
        controls = [torch.from_numpy(inputs[name].copy()) for name in metadata.inputs[1:]]
    content = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        ours = network(content, *controls)[0].permute(1, 2, 0).clamp(0, 1) * 255
    if np.abs(ours.round().numpy() - theirs).max() > LIMIT:
        raise BadInput(f"{printable(path)}: its weights cannot be read back, give the checkpoint")
