"""Digests of nested values: equal values have equal digests, in every process."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

_PLAIN = (str, bytes, bool, int, float, np.generic, PurePath)


def identity(value: object) -> str:
    """SHA-256 of a value of numbers, strings, paths, arrays, dataclasses, mappings and sequences.

    Raises TypeError: a value of another type.
    """
    digest = hashlib.sha256()
    for piece in _pieces(value):
        digest.update(len(piece).to_bytes(8, "little") + piece)
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    kind = type(value).__name__.encode()
    if isinstance(value, np.ndarray):
        yield from (b"array", value.dtype.str.encode(), repr(value.shape).encode())
        yield np.ascontiguousarray(value).tobytes()
    elif dataclasses.is_dataclass(value):
        yield kind
        for entry in dataclasses.fields(value):
            yield entry.name.encode()
            yield from _pieces(getattr(value, entry.name))
    elif isinstance(value, Mapping):
        yield b"mapping"
        for key in sorted(value, key=repr):
            yield from _pieces(key)
            yield from _pieces(value[key])
    elif isinstance(value, list | tuple):
        yield b"sequence"
        for entry in value:
            yield from _pieces(entry)
    elif value is None or isinstance(value, _PLAIN):
        yield kind
        yield repr(value).encode()
    else:
        raise TypeError(f"cannot compute a digest of a {type(value).__name__}")
