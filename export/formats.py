"""What st-export writes beside an ONNX engine: the table, and the engines of one run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from st.export import to_tensorrt, to_tensorrt_rtx
from st.export.half_parity import Half, half_engine
from st.export.trials import codes_of
from st.export.trt_build import Progress
from st.export.trt_job import Settings
from st.export.trt_profile import Asked
from st.runtime.errors import BadEngine, printable
from st.runtime.files import write_beside
from st.runtime.metadata import Metadata
from st.runtime.onnx_file import read_engine
from st.runtime.style_pictures import check_encoder
from st.runtime.tiling import check_tiles
from st.runtime.trt_file import Build

COMPANIONS = {"encoder": check_encoder, "tiles": check_tiles}
HALF = ".fp16"  # between NAME and the suffix


@dataclass(frozen=True)
class Options:
    """How to write. asked: sizes of TensorRT's profile."""

    half: bool = False
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
    with write_beside(path) as part:
        part.write_bytes(data)
    return metadata, None


FORMATS = {
    "onnx": Format(".onnx", lambda settings: None, _write_onnx),
    "tensorrt": Format(".trt", to_tensorrt.check, to_tensorrt.write),
    "tensorrt-rtx": Format(".rtx.trt", to_tensorrt_rtx.check, to_tensorrt_rtx.write),
}


@dataclass(frozen=True)
class Written:
    """An engine on disk. build: of a TensorRT one. half: of one in FP16."""

    path: Path
    metadata: Metadata
    build: Build | None
    half: Half | None


def output_of(base: Path, name: str, half: bool) -> Path:
    """NAME, a format and a precision -> the engine's file."""
    return base.with_name(base.name + (HALF if half else "") + FORMATS[name].suffix)


def companion_of(engine: Path, what: str) -> Path:
    return engine.with_name(f"{engine.stem}.{what}{engine.suffix}")


def write_all(
    engine: Path,
    outputs: dict[str, Path],
    options: Options,
    progress: Callable[[Path], Progress],
) -> Iterator[Written]:
    """Write an ONNX engine and the companions beside it in other formats.

    engine: NAME.onnx. outputs: the file of each format; companions get their names from it.
    progress: a file -> what is told of its building.
    Raises BadEngine: not an engine, or companions that are another one's; ParityError: FP16 is too
    far from FP32; and what the formats raise.
    """
    sources = dict(_sources(engine))
    codes = _codes(engine, sources) if options.half else []
    for what, (data, metadata) in sources.items():
        half = half_engine(data, metadata, codes) if options.half else None
        if half:
            data, metadata = half.data, half.metadata
        for name, output in outputs.items():
            path = companion_of(output, what) if what else output
            made, build = FORMATS[name].write(
                data, metadata, path, options.asked, options.settings, progress(path)
            )
            yield Written(path, made, build, half)


def check_all(names: Collection[str], settings: Settings) -> None:
    """Raises StError when one of the formats cannot be made here."""
    for name in names:
        FORMATS[name].check(settings)


def _sources(engine: Path) -> Iterator[tuple[str, tuple[bytes, Metadata]]]:
    """The engine under "", and its companions under their names."""
    data, metadata = read_engine(engine)
    if metadata.kind not in ("stylizer", "texture"):
        raise BadEngine(
            f"{printable(engine)}: a {metadata.kind} engine; give the engine that it lies beside"
        )
    yield "", (data, metadata)
    for what, check in COMPANIONS.items():
        path = companion_of(engine, what)
        if path.is_file():
            found = read_engine(path)
            check(found[1], metadata)
            yield what, found


def _codes(engine: Path, sources: dict[str, tuple[bytes, Metadata]]) -> list[NDArray[np.float32]]:
    """Style codes to measure FP16 with."""
    if "code" not in sources[""][1].inputs:
        return []
    if "encoder" not in sources:
        raise BadEngine(
            f"{printable(companion_of(engine, 'encoder'))}: not there; FP16 is measured with the "
            "style codes that it makes"
        )
    return codes_of(*sources["encoder"])
