"""What a visitor has chosen: a style or a blend of two, and how much of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from st.runtime import BadControl, Stylizer
from st.runtime.errors import printable
from st.runtime.painting.color_transfer import check_color
from st.video.live.style_state import Choice


@dataclass(frozen=True)
class Settings:
    """style, second: numbers of choices. blend: 0 is all `style`, 1 all `second`.
    strength: 0 leaves the picture, 1 paints all of it. color: as `Stylizer.set_color` takes it."""

    style: int = 0
    second: int = 0
    blend: float = 0.0
    strength: float = 1.0
    color: str = "style"


def parse_settings(values: object, before: Settings) -> Settings:
    """Settings from a visitor's JSON object; what it leaves out stays as before.

    Raises BadControl: anything else in it, or a wrong type or range.
    """
    if not isinstance(values, dict) or not vars(before).keys() >= values.keys():
        raise BadControl(f"settings are an object of {', '.join(vars(before))}")
    values = vars(before) | values
    for name in ("style", "second"):
        if type(values[name]) is not int:
            raise BadControl(f"{name} must be a style's number")
    check_color(values["color"])
    return Settings(
        values["style"],
        values["second"],
        _share(values, "blend"),
        _share(values, "strength"),
        values["color"],
    )


def _share(values: Mapping[str, Any], name: str) -> float:
    value = values[name]
    if type(value) not in (int, float) or not (math.isfinite(value) and 0 <= value <= 1):
        raise BadControl(f"{name} must be a number from 0 to 1")
    return float(value)


def styled(base: Stylizer, choices: Sequence[Choice], settings: Settings) -> Stylizer:
    """`base` with these settings. choices: what their numbers mean; none for an engine with one
    style of its own.

    Raises BadControl: a number that no choice has.
    """
    shares = {settings.style: 1 - settings.blend}
    shares[settings.second] = shares.get(settings.second, 0.0) + settings.blend
    weights: dict[Any, float] = {}
    for number, share in shares.items() if choices else ():
        if not 0 <= number < len(choices):
            raise BadControl("there is no such style any more: reload the page")
        for style, weight in choices[number].weights.items():
            weights[style] = weights.get(style, 0.0) + share * weight
    blend = {style: weight for style, weight in weights.items() if weight > 0}
    return base.styled(blend or None, settings.strength).set_color(settings.color)


def stylizer_from_request(
    base: Stylizer,
    choices: Sequence[Choice],
    texts: Sequence[str],
    strength: str | None,
    color: str | None,
) -> Stylizer:
    """`base` with what an HTTP request asks for: "STYLE" or "STYLE:WEIGHT" texts, and the rest.

    A style is a choice's label. No text from a visitor is ever taken for a file.

    Raises BadControl: no such style; the message names those there are. Or a wrong number.
    """
    labels = {choice.label: choice for choice in choices}
    weights: dict[Any, float] = {}
    for text in texts:
        name, share = text, 1.0
        if text not in labels and (head := text.rpartition(":")[0]) in labels:
            name, share = head, _number(text.rpartition(":")[2], "a style's weight")
        if name not in labels:
            shown = ", ".join(list(labels)[:40]) or "one only, which needs no name"
            raise BadControl(f"no style {printable(name, 80)!r}: there are {shown}")
        for style, weight in labels[name].weights.items():
            weights[style] = weights.get(style, 0.0) + share * weight
    share = None if strength is None else _number(strength, "strength")
    painter = base.styled(weights or None, share)
    return painter if color is None else painter.set_color(color)


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadControl(f"{what} must be a number, not {printable(text, 40)!r}") from None
