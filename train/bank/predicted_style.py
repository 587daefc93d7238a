"""A bank from style prediction: its initial rows are predicted style codes.

Style prediction (Ghiasi et al., BMVC 2017) and a bank (Dumoulin et al., ICLR 2017) use the same
transfer network, so a predicted code is a good initial value for training a style.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from st.runtime.engine.location import engine_path
from st.runtime.engine.onnx_file import read_engine
from st.runtime.errors import BadInput, printable
from st.runtime.stylizer import Stylizer
from st.train.bank.from_engine import weights_of
from st.train.checkpoint import Checkpoint, load_checkpoint
from st.train.data.pictures import load_style
from st.train.methods import METHODS
from st.train.networks.transform import SHAPES, TransformNet, parse_shape, unfold_upsampling

PREDICTION = "prediction"
SHORT_SIDE = 384  # short side of the style pictures, in pixels, as when training a bank


def predicts(source: str) -> bool:
    """Whether a checkpoint or engine is one of style prediction. Raises BadInput: it is neither."""
    if Path(source).suffix == ".pt":
        return load_checkpoint(Path(source)).method == PREDICTION
    return read_engine(engine_path(source))[1].method == PREDICTION


def predicted_bank(source: str, styles: Sequence[tuple[str, str]]) -> tuple[Checkpoint, Tensor]:
    """A bank without styles, with the transfer network of style prediction, and initial codes.

    source: a checkpoint or engine of style prediction. styles: (name, path) of the pictures.
    Returns a checkpoint of "cin", and codes, (len(styles), K).
    Raises BadInput: unreadable pictures, or an engine whose weights cannot be read back.
    """
    if Path(source).suffix == ".pt":
        saved = load_checkpoint(Path(source))
        network = cast(Any, saved.network())
        with torch.no_grad():
            codes = [network.encode_style(load_style(path, SHORT_SIDE)) for _, path in styles]
        kept = {k: v for k, v in saved.state.items() if k.startswith("transform.")}
        return _empty_bank(saved.config["shape"], kept, saved.card), torch.cat(codes)
    path = engine_path(source)
    data, metadata = read_engine(path)
    with Stylizer(path) as stylizer:
        values = [stylizer.encode_style(picture).values for _, picture in styles]
    weights, _ = weights_of(data)
    for shape in SHAPES:
        kept = _fitted(TransformNet(SHAPES[shape]), weights)
        if kept:
            codes = [torch.from_numpy(value.copy())[None] for value in values]
            return _empty_bank(shape, kept, dict(metadata.card)), torch.cat(codes)
    raise BadInput(f"{printable(path)}: its weights cannot be read back; give the checkpoint")


def _fitted(transform: TransformNet, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The transfer network's state from an engine's weights; empty if they do not fit."""
    state = {}
    for name, own in transform.state_dict().items():
        found = weights.get(f"transform.{name}")
        if found is not None and found.shape[:1] == (4 * len(own),):
            found = unfold_upsampling(found)
        if found is None or found.shape != own.shape:
            return {}
        state[f"transform.{name}"] = found
    return state


def _empty_bank(shape: str, state: dict[str, Tensor], card: dict[str, Any]) -> Checkpoint:
    config = METHODS["cin"].config(shape=shape)
    rows = torch.zeros(0, TransformNet(parse_shape(shape)).code_size)
    return Checkpoint("cin", dataclasses.asdict(config), (), {**state, "bank": rows}, card)
