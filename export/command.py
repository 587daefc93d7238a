"""`st-export MODEL`: from a checkpoint to engines, and to a page that runs one in a browser."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
from rich.console import Console

from st.runtime.command import command
from st.runtime.errors import BadInput, MissingExtra, printable


@command(name="st-export")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="engine to write [NAME.onnx]")
@click.option(
    "--web",
    "site",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="write a page that runs the engine in its visitors' browsers",
)
@click.option(
    "--web-style",
    "styles",
    metavar="FILE",
    multiple=True,
    help="picture or .npz code that the page offers as a style, for engines of any style; repeat",
)
def main(model: Path, output: Path | None, site: Path | None, styles: tuple[str, ...]) -> None:
    """Turn MODEL, a checkpoint of st-train, into ONNX engines for any height and width.

    \b
    NAME.onnx          paints frames
    NAME.encoder.onnx  makes a style code of a picture (methods of any style)
    NAME.tiles.onnx    paints pictures too large for memory, tile by tile

    Each is compared with PyTorch; the difference is printed and kept inside.

    With --web, MODEL may also be an engine or a shipped engine's name, and DIR becomes a folder for
    any static server: its page paints the visitor's camera and pictures in their own browser.

    \b
    Examples: st-export wave.pt && st-image photo.jpg --engine wave.onnx
              st-export paintings --web site/ && python3 -m http.server -d site
    """
    if styles and not site:
        raise click.UsageError("--web-style belongs to --web")
    ready = site is not None and model.suffix in ("", ".onnx")
    if ready and output:
        raise click.UsageError(f"{printable(model)} is an engine already: leave out -o")
    if site is None:
        _export(model, output or model.with_suffix(".onnx"))
    elif ready:
        from st.runtime.stylizer import engine_path

        _write_site(engine_path(str(model)), site, styles)
    elif output:
        _write_site(_export(model, output), site, styles)
    else:
        with tempfile.TemporaryDirectory() as folder:
            engine = Path(folder, model.with_suffix(".onnx").name)
            _write_site(_export(model, engine), site, styles)


def _export(model: Path, engine: Path) -> Path:
    try:
        from st.export.engines import export
        from st.train.checkpoint import load_checkpoint
    except ModuleNotFoundError:
        raise MissingExtra("exporting", "train,export") from None
    if engine.suffix != ".onnx":
        raise BadInput(f"{printable(engine)}: engines are written as .onnx")
    checkpoint = load_checkpoint(model)
    with Console(stderr=True).status("tracing the network"):
        for made in export(checkpoint, engine):
            size = made.path.stat().st_size / 1e6
            unit = "of its largest entry" if made.metadata.kind == "style-encoder" else "of 255"
            click.echo(
                f"{printable(made.path)}  {size:.1f} MB  differs from PyTorch by at most"
                f" {made.parity.largest:.2g} (mean {made.parity.mean:.2g}) {unit}"
            )
    return engine


def _write_site(engine: Path, folder: Path, styles: tuple[str, ...]) -> None:
    from st.export.to_web import LARGE, write_site

    with Console(stderr=True).status("writing the page"):
        site = write_site(engine, folder, styles=styles)
    least, most = (size / 1e6 for size in site.visit)
    click.echo(
        f"{printable(site.folder)}  {site.total / 1e6:.1f} MB; a visitor loads the engine"
        f" ({site.engines / 1e6:.1f} MB) and {least:.0f} MB, with WebGPU {most:.0f} MB"
    )
    if site.engines > LARGE:
        click.echo(
            f"warning: {site.engines / 1e6:.0f} MB of engines are a long wait on a phone", err=True
        )
