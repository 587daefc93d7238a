"""FP16 engines and their measured difference from FP32, on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from st.export.onnx.storage import widen
from st.export.parity import ParityError
from st.export.parity.sample_inputs import Inputs, stress_inputs, textured_inputs
from st.export.precision.fp16 import LARGEST, fp16_tensors, to_fp16
from st.export.precision.fp16_emulation import emulate_fp16
from st.runtime.backends.onnxruntime_library import ort
from st.runtime.engine.metadata import PROPERTY, Metadata
from st.runtime.system.cpus import usable_cpus

HEADROOM = 4  # FP16 must hold this many times a tensor's largest value in the trials
PICTURE_LIMIT = 3.0  # mean difference from FP32, steps of 1/255: more is visible
CHROMA_LIMIT = 3e-2  # mean difference of chroma, relative to its largest entry
CODE_LIMIT = 1e-2  # largest difference, relative to a code's largest entry


class Fp16Engine(NamedTuple):
    """An FP16 engine.

    data: the ONNX model with its metadata. wide: how many tensors stay in FP32 because their values
    are too large. flat: largest difference from FP32 on uniform gray pictures, in the unit of
    `Metadata.rounding_error`.
    """

    data: bytes
    metadata: Metadata
    wide: int
    flat: float


def fp16_engine(
    data: bytes, metadata: Metadata, codes: Sequence[NDArray[np.float32]]
) -> Fp16Engine:
    """Convert an ONNX engine to FP16; its measured error goes into its metadata.

    codes: style codes of pictures, for an engine that takes one.
    Raises ParityError: a result is not finite or differs visibly from FP32.
    """
    model = onnx.load_from_string(data)
    widen(model)
    trials, worst = textured_inputs(metadata, codes), stress_inputs(metadata, codes)
    if metadata.kind == "tiles":  # each takes a run for every norm
        trials, worst = textured_inputs(metadata, codes, ((64, 80),)), worst[:2]
    single = session_of(model)
    measured = [_measured(single, metadata, trial) for trial in (*trials, *worst)]
    wide = wide_tensors(model, measured)
    half = to_fp16(model, wide)
    session = session_of(emulate_fp16(half), plain=True)
    errors = [
        _difference(
            metadata, _result(single, inputs), _result(session, _measured(session, metadata, trial))
        )
        for inputs, trial in zip(measured, (*trials, *worst), strict=True)
    ]
    likely, flat = errors[: len(trials)], errors[len(trials) + 1 :]
    pair = max(e.max() for e in likely), float(np.mean([e.mean() for e in likely]))
    _check(metadata, *pair)
    metadata = replace(metadata, precision="fp16", rounding_error=(float(pair[0]), pair[1]))
    del half.metadata_props[:]
    half.metadata_props.add(key=PROPERTY, value=metadata.dump())
    return Fp16Engine(
        half.SerializeToString(), metadata, len(wide), float(max(e.max() for e in flat))
    )


def wide_tensors(model: onnx.ModelProto, trials: Sequence[Inputs]) -> set[str]:
    """The tensors whose values come within HEADROOM of FP16's largest."""
    peaks = peak_values(model, fp16_tensors(model), trials)
    return {name for name, peak in peaks.items() if not peak < LARGEST / HEADROOM}


def peak_values(
    model: onnx.ModelProto, names: Sequence[str], trials: Sequence[Inputs]
) -> dict[str, float]:
    """The largest magnitude of each tensor over the trials; NaN if it has one."""
    if not names:
        return {}
    measured = onnx.ModelProto()
    measured.CopyFrom(model)
    del measured.graph.output[:]
    for i, name in enumerate(names):
        measured.graph.node.append(helper.make_node("Abs", [name], [f"abs_{i}"]))
        measured.graph.node.append(
            helper.make_node("ReduceMax", [f"abs_{i}"], [f"peak_{i}"], keepdims=0)
        )
        measured.graph.output.append(
            helper.make_tensor_value_info(f"peak_{i}", TensorProto.FLOAT, ())
        )
    session = session_of(measured)
    values = np.array([session.run(None, dict(trial)) for trial in trials], np.float64)
    return dict(zip(names, values.max(axis=0).tolist(), strict=True))


def _difference(
    metadata: Metadata, expected: NDArray[np.float64], got: NDArray[np.float64]
) -> NDArray[np.float64]:
    """|FP16 - FP32|: pictures in steps of 1/255, other results relative to their largest entry.

    Raises ParityError: not finite.
    """
    if not np.isfinite(got).all():
        raise ParityError("FP16 results are not finite; keep this engine in FP32")
    scale = max(float(np.abs(expected).max()), 1e-6) if metadata.relative else 1.0
    return np.abs(got - expected) / scale


def _check(metadata: Metadata, largest: float, mean: float) -> None:
    if metadata.kind == "colorizer":
        if mean > CHROMA_LIMIT:
            raise ParityError(
                f"FP16 colors differ from FP32 by {mean:.1e} on average; keep this engine in FP32"
            )
    elif metadata.kind == "style-encoder":
        if largest > CODE_LIMIT:
            raise ParityError(
                f"FP16 style codes differ from FP32 by {largest:.1e}; keep this engine in FP32"
            )
    elif mean > PICTURE_LIMIT:
        raise ParityError(
            f"FP16 pictures differ from FP32 by {mean:.1f} of 255 on average; keep this engine in "
            "FP32"
        )


def _result(session: ort.InferenceSession, inputs: Inputs) -> NDArray[np.float64]:
    """Its first output: the picture or the code."""
    (result,) = session.run([session.get_outputs()[0].name], dict(inputs))
    return np.asarray(result, np.float64)


def _measured(session: ort.InferenceSession, metadata: Metadata, trial: Inputs) -> Inputs:
    """The inputs; for tiles with the picture's own moments and maps.

    Pass i settles norm i and the maps that its segment writes.
    """
    if metadata.kind != "tiles":
        return trial
    names = [f"moments_{i}" for i in range(len(metadata.norms))]
    maps = [f"new_map_{k}" for k in range(len(metadata.maps))]
    for _ in range(len(names) + 1):
        values = [np.asarray(value, np.float32) for value in session.run(names + maps, dict(trial))]
        trial = trial | {"moments": np.concatenate(values[: len(names)], axis=1)}
        made = zip(maps, values[len(names) :], strict=True)
        trial = trial | {name.removeprefix("new_"): value for name, value in made}
    return trial


def session_of(model: onnx.ModelProto, plain: bool = False) -> ort.InferenceSession:
    """An ONNX Runtime session on the CPU. plain: without graph optimizations."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = usable_cpus()
    options.log_severity_level = 4
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
