"""The settings of a Stylizer: an immutable snapshot that each call reads once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st.runtime.engine.metadata import MAX_RENDER, MIN_RENDER, Metadata
from st.runtime.engine.names import find_name, unknown_name
from st.runtime.engine.style_code import StyleCode
from st.runtime.errors import BadControl, printable
from st.runtime.painting.color_transfer import COLORS, check_color
from st.runtime.painting.hints import Hints
from st.runtime.painting.noise import check_seed
from st.runtime.painting.paint_size import check_paint_size, check_style_scale
from st.runtime.painting.regions import Regions, Values


@dataclass(frozen=True)
class Controls:
    """All settings. Every change makes a new object.

    style: (1, S) weights of the named styles or (1, K) style code, float32; None for an engine with
        a single style, or while no style is set.
    strength: 0 (the picture unchanged) to 1.
    given: the style as it was set, to encode it again at another scale.
    scale: style scale; a style code already contains it.
    regions, color, paint_size: see the modules of these names.
    seed: of the noise input.
    hints: color hints for a colorizer; None for none.
    render_factor: of a colorizer; None for the engine's default.
    inputs: the inputs of the engine other than the picture.
    """

    metadata: Metadata
    style: Values | None = None
    strength: float = 1.0
    given: Any = None
    scale: float = 1.0
    regions: Regions | None = None
    color: str = "style"
    paint_size: int | None = None
    seed: int = 0
    hints: Hints | None = None
    render_factor: int | None = None
    inputs: Mapping[str, NDArray[Any]] = field(init=False)

    def __post_init__(self) -> None:
        values = {"weights": self.style, "code": self.style}
        values["strength"] = np.array([self.strength], np.float32)
        names = set(self.metadata.inputs) & set(values)
        inputs = {name: values[name] for name in names}
        object.__setattr__(self, "inputs", {k: v for k, v in inputs.items() if v is not None})

    @classmethod
    def of(cls, metadata: Metadata) -> Controls:
        """The default settings of an engine: its first named style at strength 1."""
        if metadata.styles:
            return cls(metadata, named_weights(metadata, {metadata.styles[0]: 1.0}))
        return cls(metadata)

    @property
    def mix(self) -> float:
        """Opacity of the painting over the picture; 1 if the engine has a strength input."""
        return 1.0 if "strength" in self.metadata.inputs else self.strength

    @property
    def painting_scale(self) -> float:
        """Factor by which the picture is reduced before painting, which scales named styles."""
        return 1.0 if "code" in self.metadata.inputs else self.scale

    def with_style(self, style: Values | None, given: Any = None) -> Controls:
        return replace(self, style=style, given=given)

    def with_scale(self, scale: float, encode: Callable[[Any], Values]) -> Controls:
        """encode: returns the code of a style at that scale. Raises BadControl."""
        check_style_scale(scale)
        if scale == self.scale:
            return self
        self._check_same_size("a style scale")
        self._check_paints("a style scale")
        scaled = replace(self, scale=float(scale))
        if "code" not in self.metadata.inputs:
            return scaled
        if self.given is not None:
            scaled = scaled.with_style(encode(self.given), self.given)
        if self.regions is not None:
            scaled = replace(scaled, regions=self.regions.encoded(encode))
        return scaled

    def with_color(self, color: str) -> Controls:
        """Raises BadControl: not one of `st.runtime.painting.color_transfer.COLORS`."""
        check_color(color)
        if color != "style":
            self._check_paints("a color mode")
        return replace(self, color=color)

    def with_paint_size(self, size: int | None) -> Controls:
        """Raises BadControl: too small or too large."""
        check_paint_size(size)
        if size is not None:
            self._check_same_size("a paint size")
            self._check_paints("a paint size")
        return replace(self, paint_size=size)

    def with_regions(self, regions: Regions | None) -> Controls:
        """Raises BadControl: the engine enlarges pictures and has no styles."""
        if regions is not None:
            self._check_same_size("regions")
        return replace(self, regions=regions)

    def with_strength(self, strength: float) -> Controls:
        """Raises BadControl: not a number from 0 to 1."""
        if not isinstance(strength, int | float) or not 0 <= strength <= 1:
            raise BadControl(f"strength must be a number from 0 to 1, not {printable(strength)}")
        return replace(self, strength=float(strength))

    def with_seed(self, seed: int) -> Controls:
        """Raises BadControl: not a seed, or the engine has no noise input."""
        if not self.metadata.noise:
            raise BadControl("this engine has no noise input, so a seed has no effect")
        return replace(self, seed=check_seed(seed))

    def with_hints(self, hints: Hints | None) -> Controls:
        """Raises BadControl: the engine is no colorizer."""
        if hints is not None:
            self._check_colors("hints")
        return replace(self, hints=hints)

    def with_render_factor(self, factor: int | None) -> Controls:
        """Raises BadControl: too small or too large, or the engine is no colorizer."""
        if factor is not None:
            self._check_colors("a render factor")
            if type(factor) is not int or not MIN_RENDER <= factor <= MAX_RENDER:
                raise BadControl(
                    f"render factor must be {MIN_RENDER} to {MAX_RENDER}, not {printable(factor)}"
                )
        return replace(self, render_factor=factor)

    def _check_colors(self, what: str) -> None:
        if self.metadata.kind != "colorizer":
            raise BadControl(f"{what}: only for engines that color gray pictures; this one paints")

    def _check_paints(self, what: str) -> None:
        if self.metadata.kind == "colorizer":
            raise BadControl(f"{what}: this engine colors gray pictures and has no styles")

    def _check_same_size(self, what: str) -> None:
        if self.metadata.scale > 1:
            raise BadControl(f"{what}: this engine enlarges pictures and has no styles")

    def check_style(self) -> None:
        """Raises BadControl when the engine needs a style and none is set."""
        if "code" in self.metadata.inputs and self.style is None:
            raise BadControl("no style is set: give a picture or a saved style code")


def named_weights(metadata: Metadata, weights: Mapping[Any, float]) -> NDArray[np.float32]:
    """{style: weight} -> (1, S) float32, the weight of each of the engine's styles, sum 1.

    Raises BadControl: an unknown style, or weights that are negative, not finite or all 0.
    """
    shares = normalized(weights.values())
    row = np.zeros((1, len(metadata.styles)), np.float32)
    for style, share in zip(weights, shares, strict=True):
        found = find_name(style, metadata.styles) if isinstance(style, str) else None
        if found is None:
            raise unknown_style(style, metadata)
        row[0, metadata.styles.index(found)] += share
    return row


def blended_code(
    metadata: Metadata, codes: Iterable[tuple[StyleCode, float]]
) -> NDArray[np.float32]:
    """The weighted mean of style codes, (1, K).

    Raises BadControl: a code of another engine, bad weights, or a blend where the method has none.
    """
    pairs = list(codes)
    shares = normalized(weight for _, weight in pairs)
    if not metadata.blends and sum(share > 0 for share in shares) > 1:
        raise BadControl(
            f"styles of {printable(metadata.method, 40)} cannot be blended, since a style code is "
            "the feature map of one picture: give one style"
        )
    total = np.zeros((1, metadata.code_size), np.float32)
    for (code, _), share in zip(pairs, shares, strict=True):
        if code.fingerprint != metadata.fingerprint or code.values.shape != total.shape[1:]:
            raise BadControl("this style code was made for another engine: encode the style anew")
        total += np.float32(share) * code.values
    return total


def normalized(weights: Iterable[float]) -> list[float]:
    """The weights divided by their sum. Raises BadControl: none, below 0, not finite, all 0."""
    values = list(weights)
    numbers = all(isinstance(w, int | float | np.number) for w in values)
    if not numbers or not all(math.isfinite(w) and w >= 0 for w in values):
        raise BadControl("the weights of styles must be numbers, 0 or more")
    total = math.fsum(values)
    if not 0 < total < math.inf:
        raise BadControl(
            "the weights of the styles add up to 0: give at least one a positive weight"
        )
    return [float(w) / total for w in values]


def unknown_style(style: object, metadata: Metadata) -> BadControl:
    if not metadata.styles:
        return BadControl(f"no style {printable(style, 80)!r}: this engine has no named styles")
    return BadControl(unknown_name("style", style, metadata.styles, "this engine has"))


def offered(metadata: Metadata) -> list[str]:
    """The settings that an engine with this metadata has, one line each."""
    if metadata.kind == "colorizer":
        return [
            "colors gray pictures; luminance stays",
            "hints (points, strokes, a palette)",
            f"render factor (usually {metadata.render_factor})",
            "strength (mixed with the source)",
            "regions, colored or not",
        ]
    if metadata.kind not in ("stylizer", "texture"):
        return []
    if metadata.scale > 1:
        return [f"enlarges {metadata.scale} times", "strength (mixed with the source, enlarged)"]
    lines = ["named styles and blends of them"] if metadata.styles else []
    if metadata.noise:
        lines.append("seed (of its noise)")
    if metadata.kind == "texture":
        return lines
    anything = "code" in metadata.inputs
    if anything:
        lines.append(
            "any picture as style" + (", and blends" if metadata.blends else ", no blends")
        )
    inside = "strength" in metadata.inputs
    lines.append("strength" + ("" if inside else " (mixed with the source)"))
    many = anything or len(metadata.styles) > 1
    lines.append("regions, " + ("a style each" if many else "painted or not"))
    lines.append(f"colors ({', '.join(COLORS)})")
    lines.append("style scale (" + ("of its picture)" if anything else "by the painting's size)"))
    lines.append("paint size")
    return lines
