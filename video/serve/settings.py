"""A visitor's settings, and the Stylizer for a visitor's or an HTTP request's settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from st.runtime import BadControl, Stylizer
from st.runtime.errors import printable
from st.runtime.painting.color_transfer import check_color
from st.video.live.style_state import Choice

MAX_BLENDED = 32  # styles in one blend


@dataclass(frozen=True)
class Settings:
    """The settings of a visitor.

    weights: {number of a choice: weight}, a blend; empty if the engine has a single style.
    strength: 0 (the frame unchanged) to 1.
    color: a mode of `Stylizer.set_color`.
    sharp: whether to paint at the camera's full size, regardless of the frame rate.
    """

    weights: Mapping[int, float] = field(default_factory=dict)
    strength: float = 1.0
    color: str = "style"
    sharp: bool = False

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"weights": {str(n): w for n, w in self.weights.items()}}


def parse_settings(values: object, before: Settings) -> Settings:
    """Settings from a visitor's JSON object; entries that it leaves out keep their value.

    Raises BadControl: an unknown entry, a wrong type, or a value out of range.
    """
    if not isinstance(values, dict) or not vars(before).keys() >= values.keys():
        raise BadControl(f"settings must be an object with {', '.join(vars(before))}")
    values = before.as_json() | values
    strength = values["strength"]
    if not _is_number(strength) or not 0 <= strength <= 1:
        raise BadControl("strength must be a number from 0 to 1")
    check_color(values["color"])
    if not isinstance(values["sharp"], bool):
        raise BadControl("sharp must be true or false")
    weights = _weights(values["weights"])
    return Settings(weights, float(strength), values["color"], values["sharp"])


def _weights(values: object) -> dict[int, float]:
    if not isinstance(values, dict) or len(values) > MAX_BLENDED:
        raise BadControl(f"weights must be an object of at most {MAX_BLENDED} styles")
    for number, weight in values.items():
        if not (isinstance(number, str) and number.isdecimal() and len(number) < 7):
            raise BadControl("weights must name styles by their numbers")
        if not _is_number(weight) or not 0 <= weight <= 1:
            raise BadControl("a style's weight must be a number from 0 to 1")
    return {int(number): float(weight) for number, weight in values.items() if weight > 0}


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def styled(base: Stylizer, choices: Sequence[Choice], settings: Settings) -> Stylizer:
    """`base` with these settings.

    choices: the styles by their numbers; empty for an engine with a single style, and for an
        arbitrary-style engine without a style picture.

    Raises BadControl: no such choice.
    """
    weights: dict[Any, float] = {}
    for number, share in settings.weights.items() if choices else ():
        if number >= len(choices):
            raise BadControl("unknown style: reload the page")
        for style, weight in choices[number].weights.items():
            weights[style] = weights.get(style, 0.0) + share * weight
    if choices and not weights:
        raise BadControl("all weights are 0: give at least one style a positive weight")
    return base.styled(weights or None, settings.strength).set_color(settings.color)


def stylizer_from_request(
    base: Stylizer,
    choices: Sequence[Choice],
    texts: Sequence[str],
    strength: str | None,
    color: str | None,
) -> Stylizer:
    """`base` with an HTTP request's parameters.

    texts: "STYLE" or "STYLE:WEIGHT", where STYLE is a choice's label. A visitor's text is never
        taken for a file name.

    Raises BadControl: no such style (the message names those there are), or a bad number.
    """
    labels = {choice.label: choice for choice in choices}
    weights: dict[Any, float] = {}
    for text in texts:
        name, share = text, 1.0
        if text not in labels and (head := text.rpartition(":")[0]) in labels:
            name, share = head, _number(text.rpartition(":")[2], "a style's weight")
        if name not in labels:
            shown = ", ".join(list(labels)[:40])
            known = f"choose from {shown}" if shown else "this engine has no named styles"
            raise BadControl(f"no style {printable(name, 80)!r}: {known}")
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
