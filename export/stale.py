"""Deletes files that an export makes stale: those of an earlier engine with the same name."""

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
    """Delete the files beside a new engine that were made from another network.

    engine: the file just written. Beside NAME.onnx, these are its companions and the FP16, INT8
    and TensorRT engines with st-export's names; beside another engine, its companions.
    fingerprint: of the new engine's weights. Files with the same fingerprint, `written` files and
    files that are not engines are kept. Returns the deleted engines.
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
        return False  # not an engine: keep it
    metadata = found[0] if path.suffix == SUFFIX else found[1]
    return getattr(metadata, "fingerprint", "") != fingerprint
