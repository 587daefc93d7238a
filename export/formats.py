"""What st-export writes beside an ONNX engine: the table, and the engines of one run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from st.export.parity.trial_inputs import codes_of
from st.export.precision.half_parity import Half, half_engine
from st.export.precision.int8 import Int8, Rgb, int8_engine
from st.export.tensorrt import to_tensorrt, to_tensorrt_rtx
from st.export.tensorrt.build import Progress
from st.export.tensorrt.job import Settings
from st.export.tensorrt.profile import Asked
from st.runtime.backends.open import PLAYED
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
    """How to write. int8: pictures to measure INT8's ranges on, if it shall be that; they are its
    styles too where it takes any. asked: sizes of TensorRT's profile."""

    half: bool = False
    int8: Sequence[Rgb] = ()
    asked: Asked = field(default_factory=Asked)
    settings: Settings = field(default_factory=lambda: Settings("tensorrt-rtx"))


class Format(NamedTuple):
    """suffix: of its files. check: raises StError where it cannot be made, before work is done.
    write: from an ONNX engine's bytes to a file."""

    suffix: str
    check: Callable[[Settings], None]
    write: Callable[
        [bytes, Metadata, Path, Asked, Settings, Progress], tuple[Metadata, Build | None]
    ]


def _write_onnx(
    data: bytes, metadata: Metadata, path: Path, asked: Asked, settings: Settings, _: Progress
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
    """An engine on disk. build: of a TensorRT one. half: of one in FP16. int8: of one in INT8."""

    path: Path
    metadata: Metadata
    build: Build | None
    half: Half | None
    int8: Int8 | None


def output_of(base: Path, name: str, options: Options) -> Path:
    """NAME, a format and a precision -> the engine's file."""
    precision = HALF if options.half else INT8 if options.int8 else ""
    return base.with_name(base.name + precision + FORMATS[name].suffix)


def write_all(
    engine: Path,
    outputs: dict[str, Path],
    options: Options,
    progress: Callable[[Path], Progress],
) -> Iterator[Written]:
    """Write an ONNX engine and the companions beside it in other formats.

    engine: NAME.onnx. outputs: the file of each format; companions get their names from it.
    progress: a file -> what is told of its building.
    In INT8 the companions, which run once a picture or for the largest ones, stay as they are.
    Raises BadEngine: not an engine, or companions that are another one's; ParityError: FP16 or INT8
    is too far from FP32; and what the formats raise.
    """
    sources = dict(_sources(engine))
    codes = _codes(engine, sources) if options.half else []
    for what, (data, metadata) in sources.items():
        half = half_engine(data, metadata, codes) if options.half else None
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
    """Raises StError when one of the formats cannot be made here."""
    for name in names:
        FORMATS[name].check(settings)


def _sources(engine: Path) -> Iterator[tuple[str, tuple[bytes, Metadata]]]:
    """The engine under "", and its companions under their names."""
    data, metadata = read_engine(engine)
    if metadata.kind not in PLAYED:
        raise BadEngine(
            f"{printable(engine)}: a {metadata.kind} engine; give the engine that it lies beside"
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
    """Style codes to measure with, of the pictures given, or of trial pictures."""
    if "code" not in sources[""][1].inputs:
        return []
    if "encoder" not in sources:
        raise BadEngine(
            f"{printable(companion(engine, 'encoder'))}: not there; the engine is measured with "
            "the style codes that it makes"
        )
    return codes_of(*sources["encoder"], pictures)
