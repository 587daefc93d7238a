"""Files that an export leaves stale: they belong to the engine that had the name before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from st.runtime.engine.onnx_file import read_engine
from st.runtime.engine.trt_file import SUFFIX, describe_trt, json_beside
from st.runtime.errors import StError
from st.runtime.loaded_engine import companion

COMPANIONS = ("encoder", "tiles")
VARIANTS = ("", ".fp16", ".int8")  # of precision, between NAME and the suffix
SUFFIXES = (".onnx", ".trt", ".rtx.trt")


def remove_stale(engine: Path, fingerprint: str, written: Iterable[Path]) -> list[Path]:
    """Delete what lies beside a new engine and was made from another network.

    engine: the file just written. Where it is NAME.onnx, that is everything derived from it under
    st-export's own names (companions, FP16, INT8 and TensorRT engines); else its companions.
    fingerprint: of the new engine's weights; files that have it stay, and so do `written` ones and
    files that are no engines. Returns the engines that were deleted.
    """
    kept = {path.absolute() for path in written} | {engine.absolute()}
    removed = []
    for path in _derived(engine):
        if path.absolute() not in kept and path.is_file() and _is_other(path, fingerprint):
            path.unlink()
            if path.suffix == SUFFIX:
                json_beside(path).unlink(missing_ok=True)
            removed.append(path)
    return removed


def _derived(engine: Path) -> Iterator[Path]:
    bases = [engine]
    if engine.suffix == ".onnx":
        name = engine.name.removesuffix(".onnx")
        bases = [engine.with_name(name + v + s) for v in VARIANTS for s in SUFFIXES]
    for base in bases:
        yield base
        yield from (companion(base, what) for what in COMPANIONS)


def _is_other(path: Path, fingerprint: str) -> bool:
    try:
        found = describe_trt(path) if path.suffix == SUFFIX else read_engine(path)
    except StError:
        return False  # not ours to delete
    metadata = found[0] if path.suffix == SUFFIX else found[1]
    return getattr(metadata, "fingerprint", "") != fingerprint
