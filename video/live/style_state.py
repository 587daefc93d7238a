"""The style in force while pictures run: one of several, blended with a second, at a strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from st.runtime.cli.engine_options import blend_of, check_strength
from st.runtime.engine.style_code import SUFFIX, StyleCode
from st.runtime.errors import BadControl, printable
from st.runtime.stylizer import Stylizer


@dataclass(frozen=True)
class Choice:
    """A style to choose. weights: named styles or style codes, with shares that add up to 1."""

    label: str
    weights: Mapping[Any, float]


class LiveStyle:
    """Sets a Stylizer's style. Every change holds from the next picture on, from any thread.

    choices: the engine's named styles, or the pictures that were given; none for an engine with
        one style of its own.
    first, second: numbers of the styles that are blended.
    blends: whether there are styles between two; if not, blending does nothing.
    blend: 0 is all `first`, 1 all `second`.
    strength: 0 leaves the picture, 1 paints all of it.
    """

    def __init__(
        self,
        stylizer: Stylizer,
        styles: Sequence[str] = (),
        strength: float = 1.0,
        needs_style: bool = True,
    ) -> None:
        """styles: as --style gives them: one to begin with, two that are blended by their weights,
            more as one choice of its own. Where styles do not blend, each is a choice.
        needs_style: False accepts an engine that paints any style and got none yet.

        Raises:
            BadControl: no such style or strength, or an engine that needs a style and got none.
            BadInput: a file that is missing or no picture.
        """
        check_strength(strength)
        self._stylizer = stylizer
        self.blends = stylizer.metadata.blends
        self.choices, shares = _choices(stylizer, styles, needs_style)
        self.first, self.second, self.blend = shares
        self.strength = strength
        self._apply()

    def step(self, by: int) -> None:
        """The next style (1) or the one before (-1), and no blend."""
        self.choose(self.first + by)

    def choose(self, number: int) -> None:
        """A style by its number, and no blend."""
        if self.choices:
            self.first, self.blend = number % len(self.choices), 0.0
            self._apply()

    def next_second(self) -> None:
        """Blend with the next style; half and half where there was no blend."""
        count = len(self.choices)
        if count < 2 or not self.blends:
            return
        self.second = ((self.second if self.blend else self.first) + 1) % count
        if self.second == self.first:
            self.second = (self.second + 1) % count
        self.blend = self.blend or 0.5
        self._apply()

    def set_blend(self, blend: float) -> None:
        """How much of the second style, held within 0..1."""
        if len(self.choices) < 2 or not self.blends:
            return
        if self.second == self.first:
            self.second = (self.first + 1) % len(self.choices)
        self.blend = round(min(1.0, max(0.0, blend)), 3)
        self._apply()

    def set_strength(self, strength: float) -> None:
        """Held within 0..1."""
        self.strength = round(min(1.0, max(0.0, strength)), 3)
        self._apply()

    @property
    def label(self) -> str:
        """For people: "wave", or "wave 30 % + scream 70 %", and the strength where it is not 1."""
        text = self.choices[self.first].label if self.choices else self._stylizer.metadata.method
        if self.blend:
            share = round(100 * self.blend)
            text = f"{text} {100 - share} % + {self.choices[self.second].label} {share} %"
        return text + (f", strength {self.strength:.0%}" if self.strength < 1 else "")

    def _apply(self) -> None:
        weights: dict[Any, float] = {}
        shares = ((self.first, 1 - self.blend), (self.second, self.blend))
        for number, share in shares if self.choices else ():
            for style, weight in self.choices[number].weights.items():
                if share * weight > 0:
                    weights[style] = weights.get(style, 0.0) + share * weight
        self._stylizer.set_style(weights or None, self.strength)


def _choices(
    stylizer: Stylizer, styles: Sequence[str], needs_style: bool
) -> tuple[tuple[Choice, ...], tuple[int, int, float]]:
    """What there is to choose, and (first, second, blend) to begin with."""
    given = blend_of(styles, stylizer.styles) if styles or stylizer.styles else {}
    if not given:
        if needs_style and "code" in stylizer.metadata.inputs:
            raise BadControl("this engine paints the style of a picture: give one, --style PICTURE")
        return (), (0, 0, 0.0)
    choices = [Choice(printable(name, 40), {name: 1.0}) for name in stylizer.styles]
    labels = [str(style) for style in stylizer.styles]
    for style in given:
        if str(style) not in labels:
            value = _value(stylizer, style)
            choices.append(Choice(printable(Path(style).stem, 40), {value: 1.0}))
            labels.append(str(style))
    numbers = [labels.index(str(style)) for style in given]
    total = sum(given.values())
    shares = [weight / total for weight in given.values()]
    if not stylizer.metadata.blends:
        return tuple(choices), (numbers[0], numbers[0], 0.0)
    if len(numbers) > 2:
        mixed: dict[Any, float] = {}
        for number, share in zip(numbers, shares, strict=True):
            mixed |= dict.fromkeys(choices[number].weights, share)
        choices.insert(0, Choice(" + ".join(choices[n].label for n in numbers), mixed))
        numbers, shares = [0], [1.0]
    second, blend = (numbers[1], shares[1]) if len(numbers) == 2 else (numbers[0], 0.0)
    return tuple(choices), (numbers[0], second, blend)


def _value(stylizer: Stylizer, style: str | Path) -> StyleCode | str:
    """A picture's or file's style code, encoded once and here."""
    if Path(style).suffix == SUFFIX and "code" in stylizer.metadata.inputs:
        return StyleCode.load(style)
    return stylizer.encode_style(style)
