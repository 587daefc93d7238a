"""The options for regions, colors, sizes and hints, and how they are applied to a Stylizer."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from st.runtime.cli.base import option_group
from st.runtime.engine.metadata import MAX_RENDER, MIN_RENDER
from st.runtime.errors import BadControl, BadInput, printable
from st.runtime.painting.color_transfer import COLORS
from st.runtime.painting.hints import parse_point
from st.runtime.painting.noise import SEEDS
from st.runtime.painting.paint_size import MAX_PAINT_SIZE, MAX_SCALE, MIN_PAINT_SIZE, MIN_SCALE
from st.runtime.painting.regions import MAX_FEATHER, Mask
from st.runtime.style_texts import blend_of, parse_style
from st.runtime.stylizer import Stylizer


class PaintSize(click.ParamType):
    """Pixels, "full" or "auto"."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        return value if value in ("auto", "full") else PIXELS.convert(value, param, ctx)


PIXELS = click.IntRange(MIN_PAINT_SIZE, MAX_PAINT_SIZE)


@dataclass(frozen=True)
class PaintOptions:
    """The values of `control_options`.

    regions: MASK or MASK=STYLE, as given. paint_size: pixels, "full" or "auto", which the command
    replaces by pixels before `apply`; None for the command's default.
    """

    regions: tuple[str, ...] = ()
    feather: int = 0
    color: str = "style"
    style_scale: float = 1.0
    paint_size: int | str | None = None
    seed: int | None = None
    hints: tuple[str, ...] = ()
    strokes: str | None = None
    palette: str | None = None
    render_factor: int | None = None

    def record(self) -> dict[str, Any]:
        """The values that differ from the defaults, for --json."""
        usual = PaintOptions()
        return {key: value for key, value in vars(self).items() if value != getattr(usual, key)}

    def masks(self) -> list[Path]:
        """The mask file of each region. Raises BadInput when one is missing."""
        return [split_region(text)[0] for text in self.regions]

    def files(self, names: Sequence[str]) -> list[Path]:
        """All files that these options read. names: the styles of the engine."""
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
        """Apply the options to a Stylizer whose style is set.

        rest: whether to paint what no mask covers in that style, if every region names its own.
        read: loads the mask of a file.

        Raises what `Stylizer.set_style`, `set_hints` and `set_regions` raise.
        """
        if self.paint_size == "auto":
            raise BadInput("--paint-size auto: for videos only; give pixels or full")
        size = self.paint_size if isinstance(self.paint_size, int) else None
        stylizer.set_style(scale=self.style_scale)
        stylizer.set_color(self.color).set_paint_size(size)
        if self.seed is not None:
            stylizer.set_seed(self.seed)
        if self.render_factor is not None:
            stylizer.set_render_factor(self.render_factor)
        if self.hints or self.strokes or self.palette:
            stylizer.set_hints(map(parse_point, self.hints), self.strokes, self.palette)
        if not self.regions:
            if self.feather:
                raise BadInput("--feather softens the edges of a --region: give one")
            return
        named = [parse_region(text, stylizer.styles) for text in self.regions]
        own = all(style is not None for _, style in named)
        stylizer.set_regions(
            [(style, read(mask)) for mask, style in named],
            self.feather,
            "style" if rest and own else "picture",
        )


def refuse_overwriting(
    target: Path, engine: str, styles: Sequence[str], options: PaintOptions, names: Sequence[str]
) -> None:
    """Raises BadInput when `target` is an engine, style or mask that the command reads.

    styles: the values of --style. names: the styles of the engine.
    """
    if target.exists():
        pictures = [style for style in blend_of(styles, names) if isinstance(style, Path)]
        for path in (Path(engine), *pictures, *options.files(names)):
            if path.exists() and path.samefile(target):
                raise BadInput(
                    f"{printable(target)}: is an input of this command; choose another output"
                )


def control_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for regions, colors, sizes and seeds, and those of colorizing engines.

    The command gets them as `paint_options`, a `PaintOptions`.
    """
    names = [field.name for field in dataclasses.fields(PaintOptions)]

    @functools.wraps(function)
    def gathered(*args: Any, **kwargs: Any) -> Any:
        own = {name: kwargs.pop(name) for name in names}
        return function(*args, paint_options=PaintOptions(**own), **kwargs)

    wrapped: Callable[..., Any] = gathered
    for group in (colorizing_options(), region_options(), appearance_options()):
        wrapped = group(wrapped)
    return wrapped


def appearance_options() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Colors, stroke size and seed; listed with the options for the style."""
    return option_group(
        "Style",
        click.option(
            "--color",
            type=click.Choice(COLORS),
            default="style",
            show_default=True,
            help="Colors of the result. style: those of the style. luminance: those of the "
            "picture, under the luma of the painting. histogram: the painting's, shifted to the "
            "mean and covariance of the picture's. only: the picture, recolored by the style.",
        ),
        click.option(
            "--style-scale",
            type=click.FloatRange(MIN_SCALE, MAX_SCALE),
            default=1.0,
            show_default=True,
            metavar="X",
            help="Stroke size multiplier.",
        ),
        click.option(
            "--paint-size",
            type=PaintSize(),
            metavar="N|full|auto",
            help="Longer side at which the engine paints, in pixels. Smaller is faster and gives "
            "bolder strokes; the result has the size of the input and its detail. auto, for videos "
            "and live: as large as the frame rate allows.  [default: full, st-webcam: auto]",
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, SEEDS - 1),
            metavar="N",
            help="Random seed, for engines that paint with noise. [default: 0]",
        ),
    )


def region_options() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Regions with styles of their own."""
    return option_group(
        "Regions",
        click.option(
            "--region",
            "regions",
            multiple=True,
            metavar="MASK[=STYLE]",
            help="Paint STYLE where the picture MASK is white; repeat for more regions. The rest "
            "stays as it is, or gets --style where that is given.",
        ),
        click.option(
            "--feather",
            type=click.IntRange(0, MAX_FEATHER),
            default=0,
            show_default=True,
            metavar="N",
            help="Feather radius of the regions' edges, in pixels.",
        ),
    )


def colorizing_options() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Hints for engines that color gray pictures."""
    return option_group(
        "Colorizing engines",
        click.option(
            "--hint",
            "hints",
            multiple=True,
            metavar="X,Y=COLOR",
            help="Color at a place, such as 320,200=#2a7f3b or 40%,25%=olive; repeat.",
        ),
        click.option(
            "--hints",
            "strokes",
            metavar="FILE",
            help="Picture with strokes in the wanted colors; the rest transparent or gray.",
        ),
        click.option(
            "--palette",
            metavar="FILE",
            help="Picture whose colors the result should have.",
        ),
        click.option(
            "--render-factor",
            type=click.IntRange(MIN_RENDER, MAX_RENDER),
            metavar="N",
            help="Input size of the network: a longer side of 16 N pixels. [default: the engine's]",
        ),
    )


def parse_region(text: str, styles: Sequence[str]) -> tuple[Path, str | Path | None]:
    """(mask, style) of "MASK" or "MASK=STYLE"; None stands for the style of the whole picture.

    styles: the named styles of the engine.

    Raises:
        BadInput: the mask is missing.
        BadControl: no such style, or one with a weight.
    """
    mask, named = split_region(text)
    if named is None:
        return mask, None
    style, weight = parse_style(named, styles)
    if weight != 1:
        raise BadControl(f"--region {printable(text)}: a region has one style, without a weight")
    return mask, style


def split_region(text: str) -> tuple[Path, str | None]:
    """(mask, text of the style). The longest prefix that is a file is the mask.

    Raises BadInput when there is none.
    """
    if _is_file(text):
        return Path(text), None
    head, equals, style = text.rpartition("=")
    while equals and not _is_file(head):
        head, equals, rest = head.rpartition("=")
        style = f"{rest}={style}"
    if not equals:
        raise BadInput(f"--region {printable(text)}: no such mask; give MASK=STYLE")
    return Path(head), style


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False
