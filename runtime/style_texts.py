"""Styles as a person types them: NAME, NAME:WEIGHT, or the path of a picture or style code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from st.runtime.engine.names import find_name, unknown_name
from st.runtime.errors import BadControl, BadInput, printable
from st.runtime.pictures.addresses import check_local


def blend_of(styles: Sequence[str], names: Sequence[str]) -> dict[str | Path, float]:
    """{style: weight} of texts such as "wave:0.7"; the first of `names` if there are none.

    Raises:
        BadControl: an unknown style, or no weight above 0.
        BadInput: a style's file is missing.
    """
    blend: dict[str | Path, float] = {}
    for text in styles or names[:1]:
        style, weight = parse_style(text, names)
        blend[style] = blend.get(style, 0.0) + weight
    if blend and sum(blend.values()) <= 0:
        raise BadControl("the style weights add up to 0: give at least one a positive weight")
    return blend


def parse_style(text: str, names: Sequence[str]) -> tuple[str | Path, float]:
    """(style name or file, weight) of "STYLE" or "STYLE:WEIGHT"; the weight is 1 when not given.

    The whole text is tried first, as a name and as a file, so names and files with a colon in
    them (`C:\\art\\wave.jpg`, `take:2.png`) work, with a weight and without.

    Raises:
        BadControl: no such style; the message names those there are. Or a weight below 0.
        BadInput: it looks like a file and is not there.
    """
    if found := _named_or_file(text, names):
        return found, 1.0
    head, colon, tail = text.rpartition(":")
    weight = _number(tail) if colon else None
    if weight is None or not (found := _named_or_file(head, names)):
        _refuse(text if weight is None else head, names)
    if not (math.isfinite(weight) and weight >= 0):
        raise BadControl(f"{printable(text)}: the weight must be 0 or more")
    return found, weight


def _named_or_file(text: str, names: Sequence[str]) -> str | Path | None:
    if text in names:
        return text
    try:
        if Path(text).is_file():
            return Path(text)
    except (OSError, ValueError):  # a name too long, or with a NUL in it: no file
        return None
    return find_name(text, names)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _refuse(text: str, names: Sequence[str]) -> NoReturn:
    check_local(text)
    if Path(text).suffix or "/" in text or "\\" in text:
        raise BadInput(f"{printable(text)}: no such file, and no style of this engine")
    if not names:
        raise BadControl(f"no style {printable(text)!r}: this engine has no named styles")
    raise BadControl(unknown_name("style", text, names, "this engine has"))
