"""`st-export MODEL`: from a checkpoint to engines, and to a page that runs one in a browser."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from st.runtime.cli.base import SIZE, check_overwrite, command, is_quiet, option_group
from st.runtime.engine.location import engine_path
from st.runtime.errors import BadInput, MissingExtra, printable

if TYPE_CHECKING:
    from st.export.formats import Options, Written

NAMES = ("onnx", "tensorrt", "tensorrt-rtx")


EXAMPLES = """
st-export wave.pt && st-image photo.jpg --engine wave.onnx
st-export wave.pt -f tensorrt-rtx --half --max 1920x1080
st-export paintings --web site/ && python3 -m http.server -d site
"""
file = click.Path(path_type=Path)
engine_options = option_group(
    "Engine",
    click.option(
        "-f",
        "--format",
        "formats",
        type=click.Choice(NAMES),
        multiple=True,
        help="Engine format; repeat for several. [default: onnx]",
    ),
    click.option("-o", "--output", type=file, help="Engine to write. [default: NAME.onnx]"),
    click.option(
        "--half",
        is_flag=True,
        help="FP16 weights and activations, statistics in FP32: NAME.fp16.onnx and so on.",
    ),
    click.option(
        "--int8",
        "photos",
        metavar="DIR",
        type=file,
        help="INT8 convolutions for CPUs, calibrated on these pictures: NAME.int8.onnx.",
    ),
)
tensorrt_options = option_group(
    "TensorRT",
    click.option(
        "--min", "least", type=SIZE, help="Smallest frame. [default: the smallest possible]"
    ),
    click.option(
        "--opt", "best", type=SIZE, help="Frame size to optimize for. [default: 1280x720]"
    ),
    click.option("--max", "most", type=SIZE, help="Largest frame. [default: 1920x1080]"),
    click.option(
        "--capability",
        "capabilities",
        metavar="N",
        type=int,
        multiple=True,
        help="tensorrt-rtx: compute capability to build for, 75 for 7.5 (Turing); repeat. "
        "[default: 80 and later]",
    ),
    click.option("--any-gpu", is_flag=True, help="tensorrt: build for every GPU from 8.0 on."),
    click.option("--no-plugin", is_flag=True, help="tensorrt: do not use st's own kernels."),
    click.option(
        "--level", type=click.IntRange(0, 5), help="Optimization level of the builder. [default: 3]"
    ),
)
web_options = option_group(
    "Web page",
    click.option(
        "--web",
        "site",
        metavar="DIR",
        type=file,
        help="Write a page that runs the engine in its visitors' browsers.",
    ),
    click.option(
        "--web-style",
        "styles",
        metavar="FILE",
        multiple=True,
        help="Picture or .npz style code that the page offers, for engines of any style; repeat.",
    ),
)


@command(name="st-export", examples=EXAMPLES, writes=True)
@click.argument("model", type=file)
@engine_options
@tensorrt_options
@web_options
def main(
    model: Path,
    formats: tuple[str, ...],
    output: Path | None,
    half: bool,
    photos: Path | None,
    site: Path | None,
    styles: tuple[str, ...],
    **tensorrt: Any,
) -> None:
    """Turn MODEL, a checkpoint of st-train, into ONNX engines for any height and width.

    \b
    NAME.onnx          paints frames
    NAME.encoder.onnx  makes a style code of a picture (methods of any style)
    NAME.tiles.onnx    paints pictures too large for memory, tile by tile

    Each is compared with PyTorch; the difference is printed and kept inside.

    With -f tensorrt-rtx it becomes NAME.rtx.trt, built on any machine; with -f tensorrt NAME.trt,
    built on the GPU that shall run it. NAME.trt.json beside it says what it is. For these, and for
    --half, --int8 and --web, MODEL may also be an .onnx engine or a shipped engine's name.

    --int8 wants a folder of some dozen photographs, and for an engine of any style paintings among
    them. It is faster where a processor multiplies 8-bit integers: st-engines bench shows it.

    With --web, DIR becomes a folder for any static server: its page paints the visitor's camera and
    pictures in their own browser.
    """
    if styles and not site:
        raise click.UsageError("--web-style belongs to --web")
    formats = tuple(dict.fromkeys(formats)) or ("onnx",)
    ready = model.suffix == ".onnx" or (model.suffix == "" and not model.is_file())
    more = half or photos is not None or formats != ("onnx",)
    if any(value not in (None, False, ()) for value in tensorrt.values()) and formats == ("onnx",):
        raise click.UsageError(
            "--min, --opt, --max and what follows them need --format tensorrt-rtx or tensorrt"
        )
    if site and more:
        raise click.UsageError("--web takes no other format, no --half and no --int8")
    if photos and (half or formats != ("onnx",)):
        raise click.UsageError("--int8 is for processors: without --half, in the format onnx")
    if site is None and not more:
        if ready:
            raise BadInput(
                f"{printable(model)}: an engine already; give a checkpoint (.pt), --half, "
                "--int8, --format tensorrt-rtx or --web"
            )
        _export(model, output or model.with_suffix(".onnx"))
    elif site is None:
        _convert(model, ready, formats, output, _options(half, photos, tensorrt))
    elif ready:
        if output:
            raise click.UsageError(f"{printable(model)} is an engine already: leave out -o")
        _write_site(engine_path(str(model)), site, styles)
    elif output:
        _write_site(_export(model, output), site, styles)
    else:
        with tempfile.TemporaryDirectory() as folder:
            engine = Path(folder, model.with_suffix(".onnx").name)
            _write_site(_export(model, engine), site, styles)


def _options(half: bool, photos: Path | None, tensorrt: dict[str, Any]) -> Options:
    try:
        from st.export.formats import Options
        from st.export.tensorrt.job import Settings
        from st.export.tensorrt.profile import Asked
    except ModuleNotFoundError:
        raise MissingExtra("exporting", "export") from None
    sizes = (tensorrt[name] for name in ("least", "best", "most"))
    settings = Settings(
        "tensorrt-rtx",
        capabilities=tuple(dict.fromkeys(tensorrt["capabilities"])),
        level=tensorrt["level"],
        any_gpu=tensorrt["any_gpu"],
        plugin=not tensorrt["no_plugin"],
    )
    return Options(half, () if photos is None else _pictures(photos), Asked(*sizes), settings)


def _pictures(folder: Path) -> list[Any]:
    """Some of the pictures in a folder, from all over it. Raises BadInput: none, or too few."""
    from st.export.precision.int8 import LEAST, MOST
    from st.runtime.pictures.batch import pictures_in
    from st.runtime.pictures.io import read_picture

    if not folder.is_dir():
        raise BadInput(f"{printable(folder)}: no such folder")
    files = pictures_in(folder)
    if len(files) < LEAST:
        raise BadInput(f"{printable(folder)}: {len(files)} pictures, INT8 needs {LEAST} or more")
    return [read_picture(path).rgb for path in files[:: -(-len(files) // MOST)]]


def _convert(
    model: Path, ready: bool, formats: tuple[str, ...], output: Path | None, options: Options
) -> None:
    """Write the formats asked for, and from a checkpoint the .onnx that they are made of."""
    from st.export.formats import FORMATS, check_all, output_of, write_all
    from st.export.tensorrt.progress import build_bar

    check_all(formats, options.settings)
    base = Path(model.name) if model.suffix == "" else model.with_suffix("")
    if output:
        first = formats[0]
        suffix = FORMATS[first].suffix
        if len(formats) > 1:
            raise click.UsageError("-o names one engine: leave it out or give one --format")
        if not output.name.endswith(suffix) or output.name == suffix:
            raise BadInput(f"{printable(output)}: {first} engines are written as NAME{suffix}")
        base = output.with_name(output.name.removesuffix(suffix))
    outputs = {
        name: output or output_of(base, name, options)
        for name in formats
        if options.half or options.int8 or name != "onnx"
    }
    for path in outputs.values():
        check_overwrite(path)
    with tempfile.TemporaryDirectory() as folder:
        if ready:
            engine = engine_path(str(model))
        else:
            kept = formats != ("onnx",)  # TensorRT's engines bring the one for the CPU
            plain = base.with_name(base.name + ".onnx") if kept else Path(folder, "plain.onnx")
            engine = _export(model, plain, say=kept)
        with build_bar() as bar:
            for written in write_all(engine, outputs, options, bar.of):
                click.echo(_said(written))


def _said(written: Written) -> str:
    """A line about an engine just written."""
    size = written.path.stat().st_size / 1e6
    parts = [f"{printable(written.path)}  {size:.1f} MB"]
    if build := written.build:
        from st.runtime.engine.describe import describe_build

        parts += describe_build(build)
    if half := written.half:
        from st.runtime.engine.describe import describe_rounding

        parts += describe_rounding(half.metadata)
        if not half.metadata.relative:
            parts.append(f"{half.flat:.0f} on pictures of one gray")
        if half.wide:
            parts.append(f"{half.wide} tensors too large for FP16 left in FP32")
    if int8 := written.int8:
        from st.runtime.engine.describe import describe_rounding

        parts += [f"{int8.convolutions} convolutions in INT8", *describe_rounding(int8.metadata)]
    return f"{parts[0]}  {', '.join(parts[1:])}"


def _export(model: Path, engine: Path, say: bool = True) -> Path:
    try:
        from st.export.onnx.engines import export
        from st.runtime.engine.describe import error_unit
        from st.train.checkpoint import load_checkpoint
    except ModuleNotFoundError:
        raise MissingExtra("exporting", "train,export") from None
    if engine.suffix != ".onnx":
        raise BadInput(f"{printable(engine)}: engines are written as .onnx")
    if say:
        check_overwrite(engine)
    checkpoint = load_checkpoint(model)
    with Console(stderr=True, quiet=is_quiet()).status("tracing the network"):
        for made in export(checkpoint, engine):
            if not say:
                continue
            size = made.path.stat().st_size / 1e6
            unit = error_unit(made.metadata)
            click.echo(
                f"{printable(made.path)}  {size:.1f} MB  differs from PyTorch by at most"
                f" {made.parity.largest:.2g} (mean {made.parity.mean:.2g}) {unit}"
            )
    return engine


def _write_site(engine: Path, folder: Path, styles: tuple[str, ...]) -> None:
    from st.export.web.to_web import LARGE, write_site

    check_overwrite(folder)
    with Console(stderr=True, quiet=is_quiet()).status("writing the page"):
        site = write_site(engine, folder, styles)
    plain, gpu = (size / 1e6 for size in site.builds)
    encoder = f"; {site.encoder / 1e6:.1f} MB more for a style picture" if site.encoder else ""
    click.echo(
        f"{printable(site.folder)}  {site.total / 1e6:.1f} MB; a visitor loads the engine"
        f" ({site.engine / 1e6:.1f} MB) and {plain:.0f} MB, with WebGPU {gpu:.0f} MB{encoder}"
    )
    if site.engine > LARGE:
        click.echo(
            f"warning: an engine of {site.engine / 1e6:.0f} MB is a long wait on a phone", err=True
        )
