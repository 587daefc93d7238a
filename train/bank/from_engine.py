"""Reading a trained network back from an engine: config and weights, verified by running both."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from st.runtime.engine.location import engine_path
from st.runtime.engine.metadata import PALETTE, Metadata
from st.runtime.engine.onnx_file import read_engine
from st.runtime.errors import BadInput, MissingExtra, printable
from st.runtime.pictures.synthetic import synthetic_picture
from st.train.checkpoint import Checkpoint, load_checkpoint, make_config
from st.train.method import ExportSpec, Method
from st.train.methods import METHODS
from st.train.networks.chroma import luma_of
from st.train.networks.color_net import SpectralConv
from st.train.networks.transform import SHAPES, InstanceNorm, parse_shape, unfold_upsampling
from st.train.settings import settings_before

PREFIX = "network."  # of the weights' names in the exporter's graphs
HALF = (".half", "_half")  # suffixes of weights stored as float16: see st.export.onnx.storage
SPECTRAL = "parametrizations.weight"
ITEMS = [f"getitem_{n}" for n in range(1, 64)]  # the scalars of an unpacked vector, in order
MEAN_LIMIT = 1.0  # mean difference of the pictures, in steps of 1/255; methods limit the largest
RELATIVE_LIMIT = 0.01  # the same for style codes and chroma, relative to the largest value
VGG_ENCODER = "encoder.conv1_1.weight"  # a weight that only engines with a VGG encoder have
TRIAL = (96, 128)  # height and width of the trial picture

Norms = list[tuple[Tensor, Tensor]]  # scale and shift


def load_any(source: str) -> Checkpoint:
    """Load a checkpoint from a .pt file or from an engine, given as a file or a shipped name.

    Raises BadInput: no such file, or the weights of the engine cannot be read back.
    """
    if Path(source).suffix == ".pt":
        return load_checkpoint(Path(source))
    if Path(source).suffix == ".trt":
        raise BadInput(f"{printable(source)}: a TensorRT engine; give the .onnx it was built from")
    return engine_checkpoint(source)


def engine_checkpoint(engine: str | Path) -> Checkpoint:
    """The network that `engine` was exported from, as a checkpoint without training state.

    Parts that are not exported, such as a discriminator, have random weights. Raises BadInput
    unless the network computes the same pictures as the engine.
    """
    path = engine_path(engine)
    data, metadata = read_engine(path)
    shown = printable(path)
    if metadata.method not in METHODS:
        raise BadInput(f"{shown}: unknown method {printable(metadata.method, 40)!r}")
    if metadata.kind in ("style-encoder", "tiles"):
        raise BadInput(f"{shown}: is only a part of an engine; give the engine itself")
    if metadata.precision == "int8":
        raise BadInput(
            f"{shown}: an INT8 engine, whose weights are rounded too far to train on; give the "
            "FP32 or FP16 engine, or the checkpoint"
        )
    method = METHODS[metadata.method]
    weights, norms = weights_of(data)
    encoder = path.with_suffix(".encoder.onnx")
    if metadata.code_size and encoder.is_file():
        weights |= weights_of(read_engine(encoder)[0])[0]
    for config in _configs(method, weights, metadata):
        network = method.build(config, metadata.styles)
        state = _state(network, weights | _of_norms(_norms_in_order(method, network), norms))
        if state is not None:
            break
    else:
        origin = dict(metadata.card).get("weights")
        if origin is not None:
            raise BadInput(
                f"{shown}: was made from {printable(origin, 100)}, a network that st does not train"
            )
        raise BadInput(f"{shown}: its weights do not fit the network of {method.name}")
    settings = dataclasses.asdict(config)
    card = {name: value for name, value in metadata.card if name != "settings"}
    checkpoint = Checkpoint(method.name, settings, metadata.styles, state, card)
    _verify(checkpoint, path, encoder, metadata)
    return checkpoint


def weights_of(data: bytes) -> tuple[dict[str, Tensor], Norms]:
    """The weights of an ONNX file, and the scales and shifts of its instance norms, float32.

    The weights are by their names in the network's state dict. Instance norms are in order of
    execution, since the export drops their names.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ModuleNotFoundError:
        raise MissingExtra("reading an engine's weights", "export") from None
    graph = onnx.load_from_string(data).graph
    found: dict[str, Tensor] = {}
    for entry in graph.initializer:
        array = numpy_helper.to_array(entry)
        if np.issubdtype(array.dtype, np.floating):
            name = entry.name
            for suffix in HALF:
                name = name.removesuffix(suffix)
            found[name] = torch.from_numpy(array.astype(np.float32))
    pairs = _norm_pairs(graph.node, found)
    return {name.removeprefix(PREFIX): value for name, value in found.items()}, pairs


def _norm_pairs(nodes: Iterable[Any], found: dict[str, Tensor]) -> Norms:
    """Scale and shift of each instance norm, including those applied by a Mul and an Add after it.

    Only methods with tiles export both as inputs of the norm; torch exports the others as a plain
    norm, a Mul and an Add.
    """
    users: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            users.setdefault(name, []).append(node)
    pairs: Norms = []
    for node in nodes:
        if node.op_type != "InstanceNormalization" or not {*node.input[1:]} <= found.keys():
            continue
        scale, shift = (found[name] for name in node.input[1:])
        factor, node = _per_channel("Mul", node, users, found, len(scale))
        if factor is not None:
            scale, shift = scale * factor, shift * factor
        offset, node = _per_channel("Add", node, users, found, len(scale))
        pairs.append((scale, shift if offset is None else shift + offset))
    return pairs


def _per_channel(
    operation: str, node: Any, users: dict[str, list[Any]], found: dict[str, Tensor], channels: int
) -> tuple[Tensor | None, Any]:
    """The weights (C,) that `operation` alone applies to the node's output, and its node.

    None and the node itself if something else uses the output.
    """
    output = node.output[0]
    match users.get(output, []):
        case [user] if user.op_type == operation:
            for name in user.input:
                value = found.get(name)
                if value is not None and value.shape == (1, channels, 1, 1):
                    return value.flatten(), user
    return None, node


def _norms_in_order(method: Method, network: Any) -> list[str]:
    """Names of the network's instance norms, in order of execution."""
    norms = [
        (n, module) for n, module in network.named_modules() if isinstance(module, InstanceNorm)
    ]
    if not norms:
        return []
    order: list[str] = []
    hooks = [
        norm.register_forward_hook(lambda *_, name=name: order.append(name)) for name, norm in norms
    ]
    content = torch.zeros(1, 3, *_trial_size(method.export_spec(network)))
    with torch.no_grad():
        method.paint(network, content, content, 0)
    for hook in hooks:
        hook.remove()
    return order


def _of_norms(names: list[str], pairs: Norms) -> dict[str, Tensor]:
    """State of the network's instance norms, given in order of execution."""
    state = {}
    for name, (scale, shift) in zip(names, pairs, strict=False):
        state |= {f"{name}.scale": scale[None], f"{name}.shift": shift[None]}
    return state


def _configs(method: Method, weights: dict[str, Tensor], metadata: Metadata) -> Iterator[Any]:
    """Configs that the engine may have been trained with, the most likely first.

    The card of engines since version 0.1 has the entries that differ from the defaults; for older
    engines they are inferred from the weights.
    """
    card = dict(metadata.card)
    if isinstance(text := card.get("settings"), str):
        try:
            values = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in json.loads(text).items()
            }
            if VGG_ENCODER in weights:  # an engine from before there was a choice
                values = settings_before(method.config) | values
            yield make_config(method, values)
        except (ValueError, AttributeError, RecursionError, BadInput):
            pass  # the inferred configs may still fit
    entries = {entry.name: entry for entry in dataclasses.fields(method.config)}
    first = next((w for w in weights.values() if w.ndim == 4), None)
    known: dict[str, Any] = {}
    if first is not None:
        known = {"width": first.shape[0], "kernel": first.shape[-1]}
    if method.name == "colorize":  # the first convolution is the encoder's
        known = {"width": _inputs_of(weights, "generator.last", 32)}
        known["encoder"] = _color_encoder(weights)
    if VGG_ENCODER in weights:  # style prediction from before it had other encoders
        known |= {"encoder": "vgg16", "loss_network": "vgg16"}
    known = {name: value for name, value in known.items() if name in entries}
    shapes: list[str | None] = [None]
    if "shape" in entries:
        own = card.get("shape")
        shapes = [*SHAPES, *([own] if isinstance(own, str) and _is_shape(own) else [])]
    for shape in shapes:
        yield method.config(**known, **({} if shape is None else {"shape": shape}))


def _inputs_of(weights: dict[str, Tensor], layer: str, usual: int) -> int:
    weight = weights.get(f"{layer}.weight")
    return usual if weight is None or weight.ndim < 2 else weight.shape[1]


def _color_encoder(weights: dict[str, Tensor]) -> str:
    """The `encoder` entry of a colorizer whose weights have these names."""
    parts = {name.split(".")[2] for name in weights if name.startswith("generator.encoder.")}
    if "resnet" in parts:
        deep = any(".resnet.layer3.5." in name for name in weights)
        return "resnet34" if deep else "resnet18"
    return next((part for part in ("squeezenet", "vgg") if part in parts), "plain")


def _is_shape(text: str) -> bool:
    try:
        parse_shape(text)
    except ValueError:
        return False
    return True


def _state(network: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """The network's state with these weights; None if they do not fit.

    Parts without weights in the engine keep their own.
    """
    weights = weights | _of_spectral(network, weights)
    learned = dict(network.named_parameters())
    parts = {name.split(".")[0] for name in weights}
    state = {}
    # A vector that the network iterates over is exported as scalars.
    items = [weights[name] for name in ("getitem", *ITEMS) if name in weights]
    unrolled = torch.stack(items) if items and not any(x.ndim for x in items) else torch.zeros(0)
    for name, own in network.state_dict().items():
        found = weights.get(name)
        if found is None and name not in learned and own.shape == unrolled.shape:
            found = unrolled
        if found is None and name.endswith(".bias") and f"{name[:-4]}weight" in weights:
            found = torch.zeros_like(own)  # the exporter drops biases that are all zero
        if found is None:
            if name in learned and name.split(".")[0] in parts:
                return None
            state[name] = own  # a part that is not exported, or a buffer exported as a constant
            continue
        if found.shape != own.shape and found.shape[:1] == (4 * len(own),):
            found = unfold_upsampling(found)
        if found.shape != own.shape:
            return None
        state[name] = found.clone()
    return state if any(name in weights for name in learned) else None


def _of_spectral(network: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """State of layers with spectral norm, from the exported plain convolutions.

    The scale that the spectral norm removes, and the bias, go to the batch norm that follows.
    """
    state: dict[str, Tensor] = {}
    known = {name for name, _ in network.named_parameters()}
    for name, _ in network.named_modules():
        original, weight = f"{name}.{SPECTRAL}.original", weights.get(f"{name}.weight")
        if weight is None or original not in known:
            continue
        size, u, v = _largest_singular(weight.flatten(1))
        state[original] = weight
        state |= {f"{name}.{SPECTRAL}.0._u": u, f"{name}.{SPECTRAL}.0._v": v}
        owner, _, own = name.rpartition(".")
        block = network.get_submodule(owner)
        if own == "conv" and isinstance(block, SpectralConv):
            norm = typing.cast(nn.BatchNorm2d, block.norm)
            bias = weights.get(f"{name}.bias", torch.zeros(len(weight)))
            state |= {
                f"{owner}.norm.weight": torch.full((len(weight),), size),
                f"{owner}.norm.bias": bias,
                f"{owner}.norm.running_mean": torch.zeros(len(weight)),
                f"{owner}.norm.running_var": torch.full((len(weight),), 1 - norm.eps),
            }
        elif f"{name}.bias" in weights:
            state[f"{name}.bias"] = weights[f"{name}.bias"]
    return state


def _largest_singular(matrix: Tensor) -> tuple[float, Tensor, Tensor]:
    """The largest singular value of a matrix, and its left and right singular vectors."""
    values = matrix.double().numpy()
    u = np.linalg.eigh(values @ values.T)[1][:, -1]
    v = values.T @ u
    size = float(np.linalg.norm(v))
    made = (torch.from_numpy(x).float() for x in (u, v / max(size, 1e-30)))
    return size, next(made), next(made)


def _verify(checkpoint: Checkpoint, path: Path, encoder: Path, metadata: Metadata) -> None:
    """Raises BadInput unless the checkpoint's network and the engine give the same result."""
    network = typing.cast(Any, checkpoint.network())
    spec: ExportSpec = METHODS[checkpoint.method].export_spec(network)
    inputs = _sample_inputs(spec, metadata)
    refused = BadInput(
        f"{printable(path)}: its weights cannot be read back exactly; give the checkpoint"
    )
    if spec.code_size:
        side = spec.style_size or max(TRIAL[0], spec.min_size)
        style = synthetic_picture(side, side, 1)
        if encoder.is_file():
            inputs["code"] = _run(encoder, {"style": style})
        with torch.no_grad():
            own = network.encode_style(_unit(style)).numpy()
        if not _near(own, inputs.setdefault("code", own)):
            raise refused
    theirs = _run(path, {name: inputs[name] for name in metadata.inputs})
    with torch.no_grad():
        controls = [torch.from_numpy(inputs[name]) for name in spec.controls]
        content = None if spec.texture else _unit(inputs["content"])
        if spec.render_factor and content is not None:
            same = _near(network.generator(luma_of(content), *controls).numpy(), theirs)
        else:
            ours = network(content, *controls).permute(0, 2, 3, 1).clamp(0, 1) * 255
            apart = np.abs(ours.round().numpy() - theirs)
            same = apart.max() <= spec.rounding and apart.mean() <= MEAN_LIMIT
    if not same:
        raise refused


def _sample_inputs(spec: ExportSpec, metadata: Metadata) -> dict[str, NDArray[Any]]:
    """Example values of every input except the code."""
    if metadata.fixed_size is not None:
        height, width = metadata.fixed_size
    else:
        height, width = _trial_size(spec)
    random = np.random.default_rng(0)
    weights = random.random((1, max(1, len(metadata.styles))), np.float32)
    return {
        "content": synthetic_picture(height, width, 0),
        "weights": weights / weights.sum(),
        "strength": np.array([0.75], np.float32),
        "noise": random.random((1, max(1, spec.noise), height, width), np.float32),
        "hints": np.zeros((1, 3, height, width), np.float32),
        "palette": np.zeros((1, PALETTE), np.float32),
    }


def _trial_size(spec: ExportSpec) -> tuple[int, int]:
    """Height and width of a trial picture that the network accepts."""
    height, width = (
        -(-max(side, spec.min_size) // spec.multiple) * spec.multiple for side in TRIAL
    )
    return height, width


def _unit(pictures: NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3), 0..255 -> (N, 3, H, W), 0..1."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def _near(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    if ours.shape != theirs.shape:
        return False
    return bool(np.abs(ours - theirs).max() <= RELATIVE_LIMIT * max(1e-3, np.abs(theirs).max()))


def _run(path: Path, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """The first output of an engine, on ONNX Runtime."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise MissingExtra("reading an engine's weights", "cpu") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        return typing.cast(NDArray[Any], session.run(None, inputs)[0])
    except Exception as error:  # ONNX Runtime raises many types, none of them public
        why = printable(error, 120)
        raise BadInput(f"{printable(path)}: cannot be run to check its weights ({why})") from None
