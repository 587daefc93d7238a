"""The difference between an engine in FP16 and in FP32, on photographs.

    python -m benchmarks.fp16 --engine wave.onnx --content photos/ --style wave.jpg

ONNX Runtime runs both on photographs with a short side of 256 pixels. In FP16 it rounds every value
that `st-export --half` rounds. Convolutions accumulate in FP32; a GPU that accumulates in FP16
differs by more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.machine import this_machine
from benchmarks.pictures import Rgb, named
from benchmarks.report import Row, progress, show
from st.export.onnx.storage import widen
from st.export.parity.sample_inputs import Inputs
from st.export.precision.fp16 import to_fp16
from st.export.precision.fp16_emulation import emulate_fp16
from st.export.precision.fp16_engine import session_of, wide_tensors
from st.runtime.backends.onnxruntime import OrtBackend
from st.runtime.cli.base import command
from st.runtime.engine.location import engine_path
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.onnx_file import read_engine
from st.runtime.errors import BadInput
from st.runtime.loaded_engine import companion
from st.runtime.painting.frames import fitted_size, pad
from st.runtime.pictures.io import read_picture
from st.runtime.pictures.resize import with_short_side
from st.runtime.pictures.synthetic import uniform_picture
from st.runtime.style_encoder import StyleEncoder

SHORT_SIDE = 256


@command()
@click.option(
    "--engine",
    "engines",
    multiple=True,
    required=True,
    help="Engine name or .onnx file; repeat for several.",
)
@click.option("--content", multiple=True, required=True, metavar="FILE|FOLDER")
@click.option(
    "--style", type=click.Path(path_type=Path), help="Style picture, for any-style engines."
)
@click.option("--json", "as_json", is_flag=True)
def main(engines: Sequence[str], content: Sequence[str], style: Path | None, as_json: bool) -> None:
    """Measure the largest and the mean difference, in steps of 1/255."""
    pictures = [with_short_side(read_picture(p).rgb, SHORT_SIDE) for p in named(content).values()]
    with progress() as bar:
        rows = [_row(engine_path(name), pictures, style) for name in bar.track(engines)]
    show(f"FP16 against FP32, {len(pictures)} photographs", this_machine(), rows, as_json)


def _row(path: Path, pictures: Sequence[Rgb], style: Path | None) -> Row:
    data, metadata = read_engine(path)
    if {"noise"} & set(metadata.inputs):
        raise BadInput(f"{path.name}: takes noise, which this benchmark does not support")
    code = _code(path, style) if "code" in metadata.inputs else None
    model = onnx.load_from_string(data)
    widen(model)
    trials = [_inputs(metadata, picture, code) for picture in pictures]
    half = to_fp16(model, wide_tensors(model, trials))
    sessions = session_of(model), session_of(emulate_fp16(half), plain=True)
    flat = [_inputs(metadata, uniform_picture(64, 64, value)[0], code) for value in (0, 128, 255)]
    errors = [_difference(sessions, one) for one in trials]
    return {
        "engine": path.stem,
        "method": metadata.method,
        "largest": max(int(error.max()) for error in errors),
        "mean": float(np.mean([error.mean() for error in errors])),
        "% over 2": 100 * float(np.mean([(error > 2).mean() for error in errors])),
        "largest, one gray": max(int(_difference(sessions, one).max()) for one in flat),
    }


def _inputs(metadata: Metadata, picture: Rgb, code: NDArray[np.float32] | None) -> Inputs:
    """The inputs: a picture, the first style or the style code, full strength."""
    weights = np.zeros((1, max(1, len(metadata.styles))), np.float32)
    weights[0, 0] = 1
    every: dict[str, NDArray[Any]] = {
        "content": pad(picture[None], *fitted_size(metadata, *picture.shape[:2])),
        "weights": weights,
        "strength": np.ones(1, np.float32),
    }
    if code is not None:
        every["code"] = code
    return {name: every[name] for name in metadata.inputs}


def _code(path: Path, style: Path | None) -> NDArray[np.float32]:
    if style is None:
        raise BadInput(f"{path.name}: an any-style engine: give --style")
    encoder = OrtBackend(*read_engine(companion(path, "encoder")), "cpu", 1)
    return StyleEncoder(encoder)(read_picture(style).rgb).values[None]


def _difference(
    sessions: tuple[ort.InferenceSession, ort.InferenceSession], inputs: Inputs
) -> NDArray[np.int64]:
    one, other = (session.run(["stylized"], dict(inputs))[0] for session in sessions)
    return np.abs(np.asarray(one, np.int64) - np.asarray(other, np.int64))


if __name__ == "__main__":
    main()
