"""The options that choose an engine and a style, and opening a Stylizer with them."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from st import engines
from st.engines import ANY_STYLE, DEFAULT
from st.runtime.backends.open import REAL_DEVICES
from st.runtime.cli.base import names_completion, option_group
from st.runtime.engine.location import engine_path
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.onnx_file import read_engine
from st.runtime.engine.trt_file import SUFFIX, describe_trt
from st.runtime.errors import BadControl, StError, StWarning, printable
from st.runtime.style_texts import blend_of, parse_style
from st.runtime.stylizer import Stylizer


def style_options() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The group of options for the style."""
    return option_group(
        "Style",
        click.option(
            "-s",
            "--style",
            "styles",
            multiple=True,
            metavar="STYLE[:WEIGHT]",
            shell_complete=names_completion(_default_styles),
            help="A style of the engine, a picture, or a saved style code; repeat to blend styles. "
            "[default: the engine's first style]",
        ),
        click.option(
            "--strength",
            type=float,
            default=1.0,
            show_default=True,
            metavar="0..1",
            help="Strength of the style: 0 leaves the picture as it is.",
        ),
        click.option(
            "--list-styles",
            is_flag=True,
            help="List the styles of the engine and exit.",
        ),
    )


def engine_options() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The group of options for the engine and its device."""
    return option_group(
        "Engine",
        click.option(
            "--engine",
            metavar="NAME|FILE",
            shell_complete=names_completion(engines.names),
            help="A shipped engine (see st-engines list), or an .onnx or .trt file. "
            f"[default: {DEFAULT}, or {ANY_STYLE} if a style is a picture]",
        ),
        click.option(
            "--device",
            type=click.Choice(("auto", *REAL_DEVICES)),
            default="auto",
            show_default=True,
            help="Device to run on. auto: cuda if available; else, for videos and cameras, "
            "openvino if installed; else cpu. A device that you name is never replaced by another.",
        ),
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            metavar="N",
            help="Processor threads. [default: all that this process may use]",
        ),
    )


def stylizer_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --style, --strength, --list-styles, --engine, --device and --threads.

    The command gets `engine`, `styles` (a tuple of texts), `strength`, `device` and `threads`,
    ready for `open_stylizer`; --list-styles never reaches it.
    """

    @functools.wraps(function)
    def with_engine(
        *values: Any, engine: str | None, styles: Sequence[str], list_styles: bool, **more: Any
    ) -> Any:
        chosen = engine or engine_for(styles)
        if list_styles:
            print_styles(chosen)
            return None
        return function(*values, engine=chosen, styles=styles, **more)

    return style_options()(engine_options()(with_engine))


def print_styles(engine: str) -> None:
    """Print the named styles of an engine, one a line. Raises as `read_engine` does."""
    path = engine_path(engine)
    names = read_metadata(path).styles
    for name in names:
        click.echo(printable(name))
    if not names:
        click.echo(f"{printable(engine)} has no named styles", err=True)


def read_metadata(path: Path) -> Metadata:
    """The metadata of an .onnx or .trt engine. Raises BadInput or BadEngine."""
    return describe_trt(path)[0] if path.suffix == SUFFIX else read_engine(path)[1]


def _default_styles() -> Sequence[str]:
    return read_metadata(engine_path(DEFAULT)).styles


def engine_for(styles: Sequence[str]) -> str:
    """The shipped engine to use for these values of --style where no engine is named."""
    if not styles:
        return DEFAULT
    _, metadata = read_engine(engine_path(DEFAULT))
    for text in styles:
        try:
            style, _ = parse_style(text, metadata.styles)
        except StError:  # reported later, when the style is set
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
    videos: bool = False,
) -> Stylizer:
    """A Stylizer with its style set, from the values of `stylizer_options`.

    videos: select the device of "auto" for many pictures of one size. Warns once if bfloat16 is
    asked for on a processor that is slower in it.

    Raises:
        BadControl: the strength is outside 0..1, or a style is unknown (the message names those
            there are).
        BadInput: the engine or a style's file is missing or cannot be read.
        Unavailable: the device is not here.
    """
    _check_strength(strength)
    chosen = "fastest" if videos and device == "auto" else device
    stylizer = Stylizer(engine, device=chosen, threads=threads)
    try:
        apply_styles(stylizer, styles, strength)
    except BaseException:
        stylizer.close()
        raise
    if stylizer.device == "openvino-bf16":
        _warn_if_bfloat16_is_slower()
    return stylizer


@functools.cache
def _warn_if_bfloat16_is_slower() -> None:
    from st.runtime.backends.openvino_precision import bfloat16_is_slower

    if bfloat16_is_slower():
        line = "bfloat16 is slower than float32 on this processor: use --device openvino"
        warnings.warn(line, StWarning, stacklevel=3)


def _check_strength(strength: float) -> None:
    """Raises BadControl unless `strength` is a number from 0 to 1."""
    if not (math.isfinite(strength) and 0 <= strength <= 1):
        raise BadControl(f"--strength {strength:g} is outside 0..1")


def apply_styles(stylizer: Stylizer, styles: Sequence[str], strength: float) -> None:
    """Set `stylizer`'s style from texts such as "wave", "wave:0.7" or "painting.jpg"."""
    blend = blend_of(styles, stylizer.styles)
    style = next(iter(blend)) if len(blend) == 1 else blend or None
    stylizer.set_style(style, strength)
