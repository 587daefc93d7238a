"""The formats that st-export writes, and the conversion of an ONNX engine into them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from st.export.parity.sample_inputs import codes_of
from st.export.precision.fp16_engine import Fp16Engine, fp16_engine
from st.export.precision.int8 import Int8, Rgb, int8_engine
from st.export.tensorrt import to_tensorrt, to_tensorrt_rtx
from st.export.tensorrt.build import Progress
from st.export.tensorrt.job import Settings
from st.export.tensorrt.profile import FrameSizes
from st.runtime.backends.open import STYLIZER_KINDS
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.onnx_file import read_engine
from st.runtime.engine.trt_file import Build
from st.runtime.errors import BadEngine, printable
from st.runtime.loaded_engine import companion
from st.runtime.painting.tiling import check_tiles
from st.runtime.style_encoder import check_encoder
from st.runtime.system.atomic_files import atomic_write

Sources = dict[str, tuple[bytes, Metadata]]
COMPANIONS = {"encoder": check_encoder, "tiles": check_tiles}
HALF, INT8 = ".fp16", ".int8"  # between NAME and the suffix


@dataclass(frozen=True)
class Options:
    """Precision and build settings.

    int8: pictures to calibrate on, empty for no INT8; an any-style engine also takes them as
    styles. asked: frame sizes of TensorRT's profile.
    """

    half: bool = False
    int8: Sequence[Rgb] = ()
    asked: FrameSizes = field(default_factory=FrameSizes)
    settings: Settings = field(default_factory=lambda: Settings("tensorrt-rtx"))


class Format(NamedTuple):
    """A file format.

    suffix: of its files. check: raises StError if this machine cannot write the format. write:
    converts the bytes of an ONNX engine to a file."""

    suffix: str
    check: Callable[[Settings], None]
    write: Callable[
        [bytes, Metadata, Path, FrameSizes, Settings, Progress], tuple[Metadata, Build | None]
    ]


def _write_onnx(
    data: bytes, metadata: Metadata, path: Path, asked: FrameSizes, settings: Settings, _: Progress
) -> tuple[Metadata, None]:
    with atomic_write(path) as part:
        part.write_bytes(data)
    return metadata, None


FORMATS = {
    "onnx": Format(".onnx", lambda settings: None, _write_onnx),
    "tensorrt": Format(".trt", to_tensorrt.check, to_tensorrt.write),
    "tensorrt-rtx": Format(".rtx.trt", to_tensorrt_rtx.check, to_tensorrt_rtx.write),
}


@dataclass(frozen=True)
class Written:
    """A written engine. build, half, int8: results of a TensorRT, FP16 or INT8 conversion."""

    path: Path
    metadata: Metadata
    build: Build | None
    half: Fp16Engine | None
    int8: Int8 | None


def output_of(base: Path, name: str, options: Options) -> Path:
    """The file of an engine: NAME, the precision and the format's suffix."""
    precision = HALF if options.half else INT8 if options.int8 else ""
    return base.with_name(base.name + precision + FORMATS[name].suffix)


def write_all(
    engine: Path,
    outputs: dict[str, Path],
    options: Options,
    progress: Callable[[Path], Progress],
) -> Iterator[Written]:
    """Convert an ONNX engine and its companions to other formats.

    engine: NAME.onnx. outputs: the file of each format; companions are named after it.
    progress: returns the receiver of a file's build messages.
    With INT8, only the engine itself is quantized.
    Raises BadEngine: not an engine, or a companion of another one. ParityError: FP16 or INT8
    differs too much from FP32. Also what the formats raise.
    """
    sources = dict(_sources(engine))
    codes = _codes(engine, sources) if options.half else []
    for what, (data, metadata) in sources.items():
        half = fp16_engine(data, metadata, codes) if options.half else None
        int8 = None
        if half:
            data, metadata = half.data, half.metadata
        elif options.int8 and not what:
            int8 = int8_engine(data, metadata, options.int8, _codes(engine, sources, options.int8))
            data, metadata = int8.data, int8.metadata
        for name, output in outputs.items():
            path = companion(output, what) if what else output
            made, build = FORMATS[name].write(
                data, metadata, path, options.asked, options.settings, progress(path)
            )
            yield Written(path, made, build, half, int8)


def check_all(names: Collection[str], settings: Settings) -> None:
    """Raises StError if this machine cannot write one of the formats."""
    for name in names:
        FORMATS[name].check(settings)


def _sources(engine: Path) -> Iterator[tuple[str, tuple[bytes, Metadata]]]:
    """Yield the engine under the name "", then its companions under theirs."""
    data, metadata = read_engine(engine)
    if metadata.kind not in STYLIZER_KINDS:
        raise BadEngine(
            f"{printable(engine)}: a {metadata.kind} engine; give the engine that it belongs to"
        )
    yield "", (data, metadata)
    for what, check in COMPANIONS.items():
        path = companion(engine, what)
        if path.is_file():
            found = read_engine(path)
            try:
                check(found[1], metadata)
            except BadEngine as error:
                raise BadEngine(f"{printable(path)}: {error}") from None
            yield what, found


def _codes(
    engine: Path, sources: Sources, pictures: Sequence[Rgb] = ()
) -> list[NDArray[np.float32]]:
    """Style codes for measuring errors, of the given pictures or of synthetic ones."""
    if "code" not in sources[""][1].inputs:
        return []
    if "encoder" not in sources:
        raise BadEngine(
            f"{printable(companion(engine, 'encoder'))}: not there; the engine is measured with "
            "the style codes that it makes"
        )
    return codes_of(*sources["encoder"], pictures)
