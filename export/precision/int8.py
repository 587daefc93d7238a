"""INT8 convolutions for CPUs: static quantization with ONNX Runtime's quantizer.

All convolutions except the first and the last are quantized. Those two read the content picture and
write the result: quantizing them adds more error than quantizing all the others. Activation ranges
are calibrated on pictures like those that the engine will stylize. Weights have one scale per
output channel. Normalization layers and all other operators stay in FP32.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from st.export.onnx.storage import widen
from st.export.parity import ParityError
from st.export.parity.sample_inputs import Inputs, inputs_of
from st.export.precision.fp16_engine import CHROMA_LIMIT, session_of
from st.runtime.engine.describe import error_unit
from st.runtime.engine.metadata import PROPERTY, Metadata
from st.runtime.errors import BadEngine, BadInput
from st.runtime.painting.frames import fitted_size
from st.runtime.pictures.resize import to_size

MIN_PICTURES = 8  # minimum number of calibration pictures
MAX_PICTURES = 64  # maximum number of calibration pictures
SIDE = 256  # pictures are resized to squares of this side, in pixels
HELD = 4  # every fourth picture is held out to measure the error
MEAN_LIMIT = 6.0  # mean difference from FP32, in steps of 1/255

Rgb = NDArray[np.uint8]
Code = NDArray[np.float32]


class Int8(NamedTuple):
    """An INT8 engine.

    data: the ONNX model, with its metadata. convolutions: number of INT8 convolutions.
    """

    data: bytes
    metadata: Metadata
    convolutions: int


def int8_engine(
    data: bytes, metadata: Metadata, pictures: Sequence[Rgb], codes: Sequence[Code]
) -> Int8:
    """Quantize the convolutions of an ONNX engine; the measured error goes into its metadata.

    pictures: calibration photographs (H, W, 3), uint8: at least MIN_PICTURES, of which at most
        MAX_PICTURES are used.
    codes: style codes, for an engine that takes one.
    Raises BadInput: too few pictures. BadEngine: the engine cannot be quantized. ParityError: the
    mean difference from FP32 exceeds MEAN_LIMIT.
    """
    if len(pictures) < MIN_PICTURES:
        raise BadInput(
            f"INT8 calibration needs {MIN_PICTURES} pictures or more, not {len(pictures)}"
        )
    if metadata.precision != "fp32":
        raise BadEngine(
            f"the engine is already in {metadata.precision.upper()}; quantize the FP32 one"
        )
    model = onnx.load_from_string(data)
    widen(model)
    inner = [node.name for node in model.graph.node if node.op_type == "Conv"][1:-1]
    if not inner or not all(inner):
        raise BadEngine(
            "nothing to quantize: the engine has no convolution between its first and its last"
        )
    trials = list(_trials(metadata, pictures[:MAX_PICTURES], codes))
    measured = [t for i, t in enumerate(trials) if i % HELD]
    quantized = _quantized(model, inner, measured)
    largest, mean = _error(model, quantized, trials[::HELD], metadata.relative)
    if mean > (2 * CHROMA_LIMIT if metadata.relative else MEAN_LIMIT):
        raise ParityError(
            f"INT8 pictures differ from FP32 by {mean:.2g} {error_unit(metadata)} on average; keep"
            " this engine in FP32, or calibrate on pictures more like those it will stylize"
        )
    made = replace(metadata, precision="int8", rounding_error=(largest, mean))
    del quantized.metadata_props[:]
    quantized.metadata_props.add(key=PROPERTY, value=made.dump())
    quantized.producer_name = "st"
    onnx.checker.check_model(quantized, full_check=True)
    return Int8(quantized.SerializeToString(), made, len(inner))


def _trials(metadata: Metadata, pictures: Sequence[Rgb], codes: Sequence[Code]) -> Iterator[Inputs]:
    """Inputs that cover every picture and every style. Styles are not blended."""
    height, width = fitted_size(metadata, SIDE, SIDE)
    # A multiple of HELD, so that the same pictures are held out in every round.
    whole = len(pictures) - len(pictures) % HELD
    for i in range(max(whole, HELD * max(len(metadata.styles), min(len(codes), MAX_PICTURES)))):
        style = i // HELD  # so that the held-out pictures cover all styles too
        picture = to_size(pictures[i % whole], height, width)
        inputs = inputs_of(metadata, picture[None], codes, style)
        if metadata.styles:
            weights = np.zeros((1, len(metadata.styles)), np.float32)
            weights[0, style % len(metadata.styles)] = 1
            inputs |= {"weights": weights}
        yield {name: inputs[name] for name in metadata.inputs}


def _quantized(
    model: onnx.ModelProto, nodes: Sequence[str], trials: Sequence[Inputs]
) -> onnx.ModelProto:
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._trials = iter(trials)

        def get_next(self) -> Any:
            return next((dict(trial) for trial in self._trials), None)

    level = logging.root.manager.disable
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)  # hints on preprocessing, which these models do not need
        try:
            plain, path = Path(folder, "plain.onnx"), Path(folder, "int8.onnx")
            plain.write_bytes(model.SerializeToString())
            quantize_static(
                plain,
                path,
                Reader(),
                per_channel=True,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=list(nodes),
            )
        finally:
            logging.disable(level)
        return onnx.load(path)


def _error(
    model: onnx.ModelProto, quantized: onnx.ModelProto, trials: Sequence[Inputs], relative: bool
) -> tuple[float, float]:
    """(largest, mean) difference of the results in steps of 1/255. relative: see Metadata."""
    plain, rounded = session_of(model), session_of(quantized)
    apart = []
    for trial in trials:
        ours, theirs = (
            np.asarray(session.run(None, dict(trial))[0], np.float64)
            for session in (plain, rounded)
        )
        scale = max(float(np.abs(ours).max()), 1e-6) if relative else 1.0
        apart.append(np.abs(ours - theirs) / scale)
    return float(max(a.max() for a in apart)), float(np.mean([a.mean() for a in apart]))
