"""The options that every command with an engine shares, and the Stylizer they ask for."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from st.engines import ANY_STYLE, DEFAULT
from st.runtime.backends.open import DEVICES
from st.runtime.engine.location import engine_path
from st.runtime.engine.onnx_file import read_engine
from st.runtime.errors import BadControl, BadInput, StError, printable
from st.runtime.stylizer import Stylizer


def stylizer_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --engine, --style, --strength, --device and --threads.

    The command gets them as `engine`, `styles` (a tuple of texts), `strength`, `device` and
    `threads`, ready for `open_stylizer`.
    """
    options = (
        click.option(
            "--engine",
            metavar="NAME|FILE",
            help="A shipped engine (st-engines list), or an .onnx or .trt file. "
            f"[default: {DEFAULT}, or {ANY_STYLE} where a style is a picture]",
        ),
        click.option(
            "-s",
            "--style",
            "styles",
            multiple=True,
            metavar="STYLE[:WEIGHT]",
            help="A style of the engine, a picture, or a saved style code; repeat to blend. "
            "[default: the engine's first style]",
        ),
        click.option(
            "--strength",
            type=float,
            default=1.0,
            show_default=True,
            metavar="0..1",
            help="How much style: 0 leaves the picture, 1 paints all of it.",
        ),
        click.option(
            "--device",
            type=click.Choice(DEVICES),
            default="auto",
            show_default=True,
            help="Where to run; never silently another one than asked for.",
        ),
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            metavar="N",
            help="Processor threads. [default: all that this process may use]",
        ),
    )

    @functools.wraps(function)
    def with_engine(*values: Any, engine: str | None, styles: Sequence[str], **more: Any) -> Any:
        return function(*values, engine=engine or engine_for(styles), styles=styles, **more)

    wrapped: Callable[..., Any] = with_engine
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def engine_for(styles: Sequence[str]) -> str:
    """The shipped engine for the texts of --style, where no engine is named."""
    if not styles:
        return DEFAULT
    _, metadata = read_engine(engine_path(DEFAULT))
    for text in styles:
        try:
            style, _ = parse_style(text, metadata.styles)
        except StError:  # told when it is set, of the engine that it is set on
            continue
        if isinstance(style, Path):
            return ANY_STYLE
    return DEFAULT


def open_stylizer(
    engine: str = DEFAULT,
    styles: Sequence[str] = (),
    strength: float = 1.0,
    device: str = "auto",
    threads: int | None = None,
) -> Stylizer:
    """A Stylizer with its style set, from the values of `stylizer_options`.

    Raises:
        BadControl: the strength is outside 0..1, or a style is unknown (the message names those
            there are).
        BadInput: the engine or a style's file is missing or cannot be read.
        Unavailable: the device is not here.
    """
    check_strength(strength)
    stylizer = Stylizer(engine, device=device, threads=threads)
    try:
        apply_styles(stylizer, styles, strength)
    except BaseException:
        stylizer.close()
        raise
    return stylizer


def check_strength(strength: float) -> None:
    """Raises BadControl unless `strength` is a number from 0 to 1."""
    if not (math.isfinite(strength) and 0 <= strength <= 1):
        raise BadControl(f"--strength {strength:g} is outside 0..1")


def apply_styles(stylizer: Stylizer, styles: Sequence[str], strength: float) -> None:
    """Set `stylizer`'s style from texts such as "wave", "wave:0.7" or "painting.jpg"."""
    blend = blend_of(styles, stylizer.styles)
    style = next(iter(blend)) if len(blend) == 1 else blend or None
    stylizer.set_style(style, strength)


def blend_of(styles: Sequence[str], names: Sequence[str]) -> dict[str | Path, float]:
    """{style: weight} of the texts given by --style; the first of `names` when none is given.

    Raises:
        BadControl: an unknown style, or no weight above 0.
        BadInput: a style's file is missing.
    """
    blend: dict[str | Path, float] = {}
    for text in styles or names[:1]:
        style, weight = parse_style(text, names)
        blend[style] = blend.get(style, 0.0) + weight
    if blend and sum(blend.values()) <= 0:
        raise BadControl("the weights of the styles add up to 0: give one of them more")
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
        raise BadControl(f"--style {printable(text)}: the weight must be 0 or more")
    return found, weight


def _named_or_file(text: str, names: Sequence[str]) -> str | Path | None:
    if text in names:
        return text
    try:
        return Path(text) if Path(text).is_file() else None
    except (OSError, ValueError):  # a name too long, or with a NUL in it: no file
        return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _refuse(text: str, names: Sequence[str]) -> NoReturn:
    if Path(text).suffix or "/" in text or "\\" in text:
        raise BadInput(f"--style {printable(text)}: no such file, and no style of this engine")
    if not names:
        raise BadControl(f"no style {printable(text)!r}: this engine has no named styles")
    shown = ", ".join(names[:40]) + (", …" if len(names) > 40 else "")
    raise BadControl(f"no style {printable(text)!r}: this engine has {shown}")
