"""The options of st-webcam for --serve, and starting the server with them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from st.runtime.cli.base import COMMON, option_group
from st.runtime.errors import BadInput, MissingExtra
from st.runtime.stylizer import Stylizer
from st.video.live.style_state import LiveStyle

# Options of st-webcam that can be combined with --serve, besides those below.
SHARED = {"engine", "styles", "strength", "device", "threads", "size", "target_fps", "paint_size"}
SHARED |= {"regions", "feather", "color", "style_scale"}
OWN = {"serve", "cert", "key", "names", "max_sessions", "max_pixels"}


def server_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --serve and its options; the command receives them by the names in `OWN`."""
    file = click.Path(path_type=Path)
    options = (
        click.option(
            "--serve",
            is_flag=False,
            flag_value="",
            metavar="[HOST:PORT]",
            help="Serve a page that paints its visitors' cameras [127.0.0.1:8765]; on any address "
            "except loopback, with TLS and a token.",
        ),
        click.option("--cert", type=file, metavar="PEM", help="--serve: TLS certificate."),
        click.option("--key", type=file, metavar="PEM", help="--serve: the key of --cert."),
        click.option(
            "--host-name",
            "names",
            multiple=True,
            metavar="NAME",
            help="--serve: another host name of this machine; repeat for more.",
        ),
        click.option(
            "--max-sessions",
            type=click.IntRange(min=1),
            default=4,
            show_default=True,
            metavar="N",
            help="--serve: maximum number of simultaneous visitors.",
        ),
        click.option(
            "--max-pixels",
            type=click.IntRange(min=1),
            default=16_000_000,
            show_default=True,
            metavar="N",
            help="--serve: reject larger pictures sent over HTTP, before decoding.",
        ),
    )
    return option_group("Server", *options)(function)


def check_options(context: click.Context, serving: bool) -> None:
    """Raises BadInput: an option that needs --serve without it, or one that conflicts with it."""
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        shown = max(parameter.opts, key=len) if parameter.param_type_name == "option" else "SOURCE"
        if serving and name not in SHARED | OWN and not COMMON & set(parameter.opts):
            raise BadInput(f"--serve paints its visitors' own cameras: leave {shown} out")
        if not serving and name in OWN:
            raise BadInput(f"{shown} needs --serve")


def serve_visitors(
    stylizer: Stylizer,
    style: LiveStyle,
    tell: Callable[[str], object],
    *,
    serve: str,
    cert: Path | None,
    key: Path | None,
    names: tuple[str, ...],
    max_sessions: int,
    max_pixels: int,
    threads: int | None,
    size: tuple[int, int] | None,
    target_fps: float | None,
    paint_size: int | None,
    color: str,
) -> None:
    """Serve until Ctrl-C. tell: called with the addresses, then with the certificate's fingerprint.

    Raises: as `st.video.serve.server.serve` does; MissingExtra: its libraries are not installed.
    """
    try:
        from st.video.serve.address import parse_address
        from st.video.serve.server import ServerConfig
        from st.video.serve.server import serve as run
        from st.video.serve.session import SessionDefaults
        from st.video.serve.settings import Settings
    except ImportError:
        raise MissingExtra("--serve", "serve") from None
    weights = {style.first: 1 - style.blend} if style.choices else {}
    if style.blend:
        weights[style.second] = style.blend
    begin = Settings(weights, style.strength, color)
    defaults = SessionDefaults(stylizer, style.choices, begin, longest=paint_size)
    if target_fps is not None:
        defaults = replace(defaults, target_fps=target_fps)
    if size is not None:
        defaults = replace(defaults, size=size)
    config = ServerConfig(parse_address(serve), cert, key, names, max_sessions, threads, max_pixels)
    run(defaults, config, tell, show_codes=sys.stdout.isatty())
