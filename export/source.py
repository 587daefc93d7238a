"""Resolves MODEL of `st-export`: an engine, a checkpoint, or a model of another program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from st.runtime.engine.location import engine_path
from st.runtime.engine.onnx_file import engine_bytes, is_engine
from st.runtime.errors import BadEngine, BadInput, MissingExtra, printable
from st.runtime.system.signals import quick_interrupt

if TYPE_CHECKING:
    from st.export.onnx.engines import Exportable


def find_engine(model: Path) -> Path | None:
    """The ONNX engine that MODEL names; None if MODEL must be exported first.

    Raises BadInput: no such engine or file, a TensorRT engine, or a damaged ONNX file.
    """
    if model.suffix == "" and not model.exists():
        return engine_path(str(model))
    if model.suffix.lower() == ".trt":
        raise BadInput(f"{printable(model)}: a TensorRT engine; give the .onnx it was built from")
    if not is_onnx(model):
        return None
    data = engine_bytes(model, "an ONNX file")
    try:
        return model if is_engine(data) else None
    except BadEngine as error:
        raise BadEngine(f"{printable(model)}: {error}") from None


def is_onnx(model: Path) -> bool:
    """Whether a file has the suffix of an ONNX file."""
    return model.suffix.lower() == ".onnx"


def load_model(model: Path, vgg: Path | None = None) -> Exportable:
    """The network in a checkpoint of st-train, or in the file of a known model (`known_models`).

    vgg: the encoder's file, for a decoder that comes without one.
    Raises BadInput: neither, or damaged. MissingExtra: torch or onnx is not installed.
    """
    try:
        with quick_interrupt():  # the imports take seconds, and no file is written yet
            from st.export.known_models.load import known_onnx, known_torch
            from st.export.known_models.state_dicts import read_file
            from st.export.onnx.engines import exportable
            from st.train.checkpoint import checkpoint_of, is_checkpoint
    except ModuleNotFoundError:
        raise MissingExtra("exporting", "train,export") from None
    if is_onnx(model):
        return known_onnx(model)
    values = read_file(model)
    if is_checkpoint(values):
        return exportable(checkpoint_of(values, printable(model)))
    return known_torch(model, values, vgg)
