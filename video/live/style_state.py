"""The current style of a live session: one style, or two blended, and a strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from st.runtime.engine.style_code import SUFFIX, StyleCode
from st.runtime.errors import BadControl, printable
from st.runtime.style_texts import blend_of
from st.runtime.stylizer import Stylizer


@dataclass(frozen=True)
class Choice:
    """One selectable style. weights: named styles or style codes; the values add up to 1."""

    label: str
    weights: Mapping[Any, float]


class LiveStyle:
    """Sets a Stylizer's style. A change applies from the next frame; any thread may make it.

    choices: the engine's named styles, or the style pictures given; empty for a single-style
        engine.
    first, second: indices into `choices` of the two blended styles.
    blends: whether the engine can blend styles; if not, the blend methods do nothing.
    blend: weight of `second`, from 0 (only `first`) to 1 (only `second`).
    strength: 0 returns the source frame, 1 the full painting.
    """

    def __init__(
        self,
        stylizer: Stylizer,
        styles: Sequence[str] = (),
        strength: float = 1.0,
        needs_style: bool = True,
    ) -> None:
        """styles: NAME, NAME:WEIGHT or the path of a picture. One is the initial style, two are
            blended by their weights, and more become one mixed choice. If the engine cannot
            blend, each is a separate choice.
        needs_style: False accepts an arbitrary-style engine without an initial style.

        Raises:
            BadControl: unknown style, strength out of range, or no style for an engine that
                needs one.
            BadInput: a style file is missing or is not a picture.
        """
        self._stylizer = stylizer
        self.device = stylizer.device
        self.blends = stylizer.metadata.blends
        self.choices, shares = _choices(stylizer, styles, needs_style)
        self.first, self.second, self.blend = shares
        self.strength = strength
        self._apply()

    def step(self, by: int) -> None:
        """Select the next style (1) or the previous one (-1), without a blend."""
        self.choose(self.first + by)

    def choose(self, number: int) -> None:
        """Select a style by its index, modulo the number of choices, without a blend."""
        if self.choices:
            self.first, self.blend = number % len(self.choices), 0.0
            self._apply()

    def next_second(self) -> None:
        """Blend with the next style; starts at 0.5 if there was no blend."""
        count = len(self.choices)
        if count < 2 or not self.blends:
            return
        self.second = ((self.second if self.blend else self.first) + 1) % count
        if self.second == self.first:
            self.second = (self.second + 1) % count
        self.blend = self.blend or 0.5
        self._apply()

    def set_blend(self, blend: float) -> None:
        """Set the weight of the second style, clamped to 0..1."""
        if len(self.choices) < 2 or not self.blends:
            return
        if self.second == self.first:
            self.second = (self.first + 1) % len(self.choices)
        self.blend = round(min(1.0, max(0.0, blend)), 3)
        self._apply()

    def set_strength(self, strength: float) -> None:
        """Set the strength, clamped to 0..1."""
        self.strength = round(min(1.0, max(0.0, strength)), 3)
        self._apply()

    @property
    def label(self) -> str:
        """Display text: "wave" or "wave 30 % + scream 70 %", plus the strength if it is below 1."""
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
    """The choices, and the initial (first, second, blend)."""
    given = blend_of(styles, stylizer.styles) if styles or stylizer.styles else {}
    if not given:
        if needs_style and "code" in stylizer.metadata.inputs:
            raise BadControl("this engine has no styles of its own: choose a picture as the style")
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
    """The style code of a picture or .npz file, computed once so that switching is quick."""
    if Path(style).suffix == SUFFIX and "code" in stylizer.metadata.inputs:
        return StyleCode.load(style)
    return stylizer.encode_style(style)
