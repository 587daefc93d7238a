"""PyTorch to ONNX, with dynamic batch, height and width, or one size."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from st.export.onnx.opset import NEWEST, to_opset
from st.export.onnx.ports import describe_ports
from st.export.onnx.storage import halve_exact
from st.runtime.engine.metadata import PROPERTY, Metadata

LARGEST = 8192  # largest side that the graph is traced for, in units of `multiple`


def picture_axes(multiple: int, least: int, batch: bool) -> dict[int, Any]:
    """Dynamic axes of an (N, H, W, 3) input whose sides are multiples of `multiple`."""
    low = max(1, -(-least // multiple))
    axes: dict[int, Any] = {
        1: multiple * Dim("height", min=low, max=LARGEST),
        2: multiple * Dim("width", min=low, max=LARGEST),
    }
    return axes | ({0: Dim("batch", min=1, max=1024)} if batch else {})


def to_onnx(
    graph: nn.Module,
    inputs: dict[str, Tensor],
    outputs: Sequence[str],
    axes: dict[int, Any],
    metadata: Metadata,
    opset: int = NEWEST,
) -> bytes:
    """An ONNX model as bytes, checked by onnx.checker.

    inputs: example values by name; the first is the picture, or noise. Noise and hints are
    (1, C, H, W) and have the picture's size. axes: dynamic dimensions of the picture
    (`picture_axes`); empty for an engine of one size. opset: see `to_opset`.
    """
    picture, *controls = inputs.values()
    noise = {2: axes[1], 3: axes[2]} if axes else {}  # none: one size only
    own, *others = (noise if name in ("noise", "hints") else None for name in inputs)
    shapes = (own or axes, tuple(others)) if controls else (own or axes,)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet():
        warnings.simplefilter("ignore")
        traced = torch.export.export(graph.eval(), (picture, *controls), dynamic_shapes=shapes)
        program = torch.onnx.export(
            traced,
            dynamo=True,
            verbose=False,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=NEWEST,
        )
    assert program is not None
    model = to_opset(program.model_proto, opset)
    for node in model.graph.node:  # the exporter's notes contain paths of this machine
        del node.metadata_props[:]
        node.doc_string = ""
    del model.metadata_props[:]
    for info in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del info.metadata_props[:]
    del model.graph.metadata_props[:]
    model.metadata_props.add(key=PROPERTY, value=metadata.dump())
    model.producer_name = "st"
    describe_ports(model.graph, metadata)
    halve_exact(model)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch.export's logging; errors are raised as exceptions."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
