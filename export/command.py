"""`st-export MODEL`: from a checkpoint to engines."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from st.runtime.command import command
from st.runtime.errors import BadInput, MissingExtra, printable


@command(name="st-export")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="engine to write [NAME.onnx]")
def main(model: Path, output: Path | None) -> None:
    """Turn MODEL, a checkpoint of st-train, into ONNX engines for any height and width.

    \b
    NAME.onnx          paints frames
    NAME.encoder.onnx  makes a style code of a picture (methods of any style)
    NAME.tiles.onnx    paints pictures too large for memory, tile by tile

    Each is compared with PyTorch; the difference is printed and kept inside.

    Example: st-export wave.pt && st-image photo.jpg --engine wave.onnx
    """
    try:
        from st.export.engines import export
        from st.train.checkpoint import load_checkpoint
    except ModuleNotFoundError:
        raise MissingExtra("exporting", "train,export") from None
    console = Console(stderr=True)
    engine = output or model.with_suffix(".onnx")
    if engine.suffix != ".onnx":
        raise BadInput(f"{printable(engine)}: engines are written as .onnx")
    checkpoint = load_checkpoint(model)
    with console.status("tracing the network"):
        for made in export(checkpoint, engine):
            size = made.path.stat().st_size / 1e6
            unit = "of its largest entry" if made.metadata.kind == "style-encoder" else "of 255"
            click.echo(
                f"{printable(made.path)}  {size:.1f} MB  differs from PyTorch by at most"
                f" {made.parity.largest:.2g} (mean {made.parity.mean:.2g}) {unit}"
            )
