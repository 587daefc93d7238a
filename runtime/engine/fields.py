"""Strict reading of the JSON objects that describe engines."""

from __future__ import annotations

import json
import math
from typing import Any

from st.runtime.errors import BadEngine

MAX_TEXT = 200  # characters
MAX_SIDE = 1 << 15  # pixels
Size = tuple[int, int]  # (height, width)


def load_json(text: str) -> Any:
    """The value of a JSON text, without NaN and infinities. Raises ValueError or RecursionError."""
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


class Fields:
    """The entries of a JSON object. Each method raises BadEngine for a wrong type or value.

    values: the object. label: what it is, the first words of each message.
    """

    def __init__(self, values: dict[str, Any], label: str) -> None:
        self.values, self.label = values, label

    def wrong(self, problem: str) -> BadEngine:
        return BadEngine(f"{self.label}: {problem}")

    def text(self, key: str, default: str | None = None) -> str:
        """A printable text of up to MAX_TEXT characters."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
            raise self.wrong(f"{key} must be printable text of up to {MAX_TEXT} characters")
        return value

    def texts(self, key: str, default: list[str], maximum: int) -> tuple[str, ...]:
        """Up to `maximum` printable texts, none of them empty."""
        found = self.values.get(key, default)
        if not isinstance(found, list) or len(found) > maximum:
            raise self.wrong(f"{key} must be a list of at most {maximum} texts")
        if not all(
            isinstance(v, str) and 0 < len(v) <= MAX_TEXT and v.isprintable() for v in found
        ):
            raise self.wrong(f"{key} must hold printable texts of up to {MAX_TEXT} characters")
        return tuple(found)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.values.get(key, default)
        if type(value) is not bool:
            raise self.wrong(f"{key} must be true or false")
        return value

    def whole(self, key: str, default: int | None, minimum: int, maximum: int) -> int:
        """A whole number from `minimum` to `maximum`."""
        return self.as_whole(self.values.get(key, default), key, minimum, maximum)

    def as_whole(self, value: Any, key: str, minimum: int, maximum: int) -> int:
        """A value, part of the entry `key`, as a whole number."""
        if type(value) is not int or not minimum <= value <= maximum:
            raise self.wrong(f"{key} must be a whole number from {minimum} to {maximum}")
        return value

    def wholes(self, key: str, length: int, minimum: int, maximum: int) -> tuple[int, ...]:
        """Up to `length` whole numbers; none where there is no such entry."""
        found = self.values.get(key, [])
        if not isinstance(found, list) or len(found) > length:
            raise self.wrong(f"{key} must be a list of at most {length} numbers")
        return tuple(self.as_whole(value, key, minimum, maximum) for value in found)

    def size(self, key: str) -> Size | None:
        """(height, width), or None."""
        value = self.values.get(key)
        return None if value is None else self.as_size(value, key)

    def as_size(self, value: Any, key: str) -> Size:
        """A value, part of the entry `key`, as (height, width)."""
        if not isinstance(value, list) or len(value) != 2:
            raise self.wrong(f"{key} must be [height, width]")
        height, width = (self.as_whole(side, key, 1, MAX_SIDE) for side in value)
        return height, width

    def ascending_sizes(self, key: str, count: int) -> tuple[Size, ...]:
        """`count` sizes, each at least as high and as wide as the one before."""
        found = self.values.get(key)
        if not isinstance(found, list) or len(found) != count:
            raise self.wrong(f"{key} must be {count} sizes [height, width]")
        sizes = tuple(self.as_size(value, key) for value in found)
        for side in (0, 1):
            if sorted(size[side] for size in sizes) != [size[side] for size in sizes]:
                raise self.wrong(f"{key} must ascend from the smallest to the largest size")
        return sizes

    def error(self, key: str) -> float | None:
        """A finite number, 0 or more, or None."""
        value = self.values.get(key)
        return None if value is None else self.as_error(value, key)

    def as_error(self, value: Any, key: str) -> float:
        """A value, part of the entry `key`, as a finite number, 0 or more."""
        if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
            raise self.wrong(f"{key} must be a number, 0 or more")
        return float(value)
