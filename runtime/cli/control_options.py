"""The options for everything beside style and strength, and how they are set on a Stylizer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from st.runtime.cli.engine_options import blend_of, parse_style
from st.runtime.engine.metadata import MAX_RENDER, MIN_RENDER
from st.runtime.errors import BadControl, BadInput, printable
from st.runtime.painting.color_transfer import COLORS
from st.runtime.painting.hints import parse_point
from st.runtime.painting.noise import SEEDS
from st.runtime.painting.paint_size import MAX_PAINT_SIZE, MAX_SCALE, MIN_PAINT_SIZE, MIN_SCALE
from st.runtime.painting.regions import MOST_FEATHER, Mask
from st.runtime.stylizer import Stylizer


@dataclass(frozen=True)
class PaintOptions:
    """What `control_options` read. regions: MASK or MASK=STYLE, as given."""

    regions: tuple[str, ...] = ()
    feather: int = 0
    color: str = "style"
    style_scale: float = 1.0
    look_size: int | None = None
    seed: int | None = None
    hints: tuple[str, ...] = ()
    strokes: str | None = None
    palette: str | None = None
    render_factor: int | None = None

    def record(self) -> dict[str, Any]:
        """What differs from the defaults, for --json."""
        usual = PaintOptions()
        return {key: value for key, value in vars(self).items() if value != getattr(usual, key)}

    def masks(self) -> list[Path]:
        """The mask of each region. Raises BadInput: not there."""
        return [split_region(text)[0] for text in self.regions]

    def files(self, names: Sequence[str]) -> list[Path]:
        """Every file that is read for it. names: the engine's own styles."""
        regions = [parse_region(text, names) for text in self.regions]
        styles = [style for _, style in regions if isinstance(style, Path)]
        others = [Path(text) for text in (self.strokes, self.palette) if text]
        return [mask for mask, _ in regions] + styles + others

    def apply(
        self,
        stylizer: Stylizer,
        rest: bool,
        read: Callable[[Path], Mask] = lambda path: path,
    ) -> None:
        """Set all of it. rest: whether what the masks leave free is painted, in the style that is
        set; only if every region names its own. read: from a mask's file to the mask.

        Raises: what `Stylizer.set_style` and `set_regions` raise.
        """
        stylizer.set_style(scale=self.style_scale)
        stylizer.set_color(self.color).set_look_size(self.look_size)
        if self.seed is not None:
            stylizer.set_seed(self.seed)
        if self.render_factor is not None:
            stylizer.set_render_factor(self.render_factor)
        if self.hints or self.strokes or self.palette:
            stylizer.set_hints(map(parse_point, self.hints), self.strokes, self.palette)
        if not self.regions:
            if self.feather:
                raise BadInput("--feather is for the edges of a --region: give one")
            return
        named = [parse_region(text, stylizer.styles) for text in self.regions]
        own = all(style is not None for _, style in named)
        stylizer.set_regions(
            [(style, read(mask)) for mask, style in named],
            self.feather,
            "style" if rest and own else "picture",
        )


def refuse_overwriting(
    target: Path,
    engine: str,
    styles: Sequence[str],
    paint_options: PaintOptions,
    names: Sequence[str],
) -> None:
    """Raises BadInput when the output is a painting, mask or engine that the options read.

    styles: as given by --style. names: the engine's own.
    """
    if target.exists():
        pictures = [style for style in blend_of(styles, names) if isinstance(style, Path)]
        for path in (Path(engine), *pictures, *paint_options.files(names)):
            if path.exists() and path.samefile(target):
                raise BadInput(f"{printable(target)}: is read here, choose another output")


def control_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --region, --feather, --color, --style-scale, --look-size and --seed, and for engines that
    color pictures --hint, --hints, --palette and --render-factor.

    The command gets them as `paint_options`, a `PaintOptions`.
    """
    options = (
        click.option(
            "--region",
            "regions",
            multiple=True,
            metavar="MASK[=STYLE]",
            help="Paint STYLE where this picture is white; repeat for several. Elsewhere is the "
            "picture itself, or --style where that is given.",
        ),
        click.option(
            "--feather",
            type=click.IntRange(0, MOST_FEATHER),
            default=0,
            show_default=True,
            metavar="N",
            help="Pixels that the edges of regions are soft over.",
        ),
        click.option(
            "--color",
            "color",
            type=click.Choice(COLORS),
            default="style",
            show_default=True,
            help="Whose colors: the style's; the picture's, by luminance or by matching the "
            "histogram's mean and covariance; or only the style's colors, no strokes.",
        ),
        click.option(
            "--style-scale",
            type=click.FloatRange(MIN_SCALE, MAX_SCALE),
            default=1.0,
            show_default=True,
            metavar="X",
            help="Strokes so many times larger.",
        ),
        click.option(
            "--look-size",
            type=click.IntRange(MIN_PAINT_SIZE, MAX_PAINT_SIZE),
            metavar="N",
            help="Strokes as on a picture of N pixels, at any size: a thumbnail shows the print.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, SEEDS - 1),
            metavar="N",
            help="Of engines that paint with noise: another N, another picture. [default: 0]",
        ),
        click.option(
            "--hint",
            "hints",
            multiple=True,
            metavar="X,Y=COLOR",
            help="Of engines that color pictures: the color at a place, as 320,200=#2a7f3b or "
            "40%,25%=olive; repeat.",
        ),
        click.option(
            "--hints",
            "strokes",
            metavar="FILE",
            help="The same as strokes in a picture, the rest of it transparent or gray.",
        ),
        click.option(
            "--palette",
            metavar="FILE",
            help="The same: a picture of the colors that there shall be.",
        ),
        click.option(
            "--render-factor",
            type=click.IntRange(MIN_RENDER, MAX_RENDER),
            metavar="N",
            help="The same: colors are found on the picture at 16 N pixels. [default: the "
            "engine's]",
        ),
    )

    @functools.wraps(function)
    def gathered(
        *args: Any,
        regions: tuple[str, ...],
        feather: int,
        color: str,
        style_scale: float,
        look_size: int | None,
        seed: int | None,
        hints: tuple[str, ...],
        strokes: str | None,
        palette: str | None,
        render_factor: int | None,
        **kwargs: Any,
    ) -> Any:
        own = (hints, strokes, palette, render_factor)
        paint_options = PaintOptions(regions, feather, color, style_scale, look_size, seed, *own)
        return function(*args, paint_options=paint_options, **kwargs)

    wrapped: Callable[..., Any] = gathered
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def parse_region(text: str, styles: Sequence[str]) -> tuple[Path, str | Path | None]:
    """(mask, style) of "MASK" or "MASK=STYLE"; None for the style that is set for the whole.

    styles: the engine's own.
    Raises BadInput: the mask is not there. BadControl: no such style, or one with a weight.
    """
    mask, named = split_region(text)
    if named is None:
        return mask, None
    style, weight = parse_style(named, styles)
    if weight != 1:
        raise BadControl(f"--region {printable(text)}: a region has one style, without a weight")
    return mask, style


def split_region(text: str) -> tuple[Path, str | None]:
    """(mask, the style's text); the longest part that is a file is the mask. Raises BadInput."""
    if _is_file(text):
        return Path(text), None
    head, equals, style = text.rpartition("=")
    while equals and not _is_file(head):
        head, equals, rest = head.rpartition("=")
        style = f"{rest}={style}"
    if not equals:
        raise BadInput(f"--region {printable(text)}: give MASK=STYLE; no such mask")
    return Path(head), style


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False
