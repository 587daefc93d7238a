"""`st-image`: paint pictures."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from st.runtime.cli.base import command, fail
from st.runtime.cli.control_options import PaintOptions, control_options, refuse_overwriting
from st.runtime.cli.engine_options import blend_of, open_stylizer, stylizer_options
from st.runtime.cli.texture_image import make_texture
from st.runtime.errors import BadControl, BadInput, printable
from st.runtime.pictures.batch import STREAM, Job, make_folder, pictures_in, plan
from st.runtime.pictures.contact_sheet import contact_sheet
from st.runtime.pictures.io import (
    FORMATS,
    MAX_PIXELS,
    Picture,
    read_picture,
    resized,
    write_picture,
)
from st.runtime.stylizer import Stylizer

SHEET_CELL = 320  # longer side of a cell of the contact sheet, in pixels
POLL_SECONDS = 1.0

HELP = """Paint pictures with a style.

PICTURES are files, folders, quoted globs, or - for standard input.

\b
Examples:
  st-image photo.jpg                        writes photo_stylized.jpg
  st-image photo.jpg -o art.png --style wave --strength 0.8
  st-image photo.jpg --style wave:0.7 --style the_scream:0.3
  st-image photo.jpg --region sky.png=wave --feather 20 --color luminance
  st-image holiday/ 'more/*.png' -o out/    a folder for many
  st-image photo.jpg --all-styles           a sheet of every style
  cat photo.jpg | st-image - -o - > art.png
  st-image --engine bricks.onnx --texture 1024x512 --seed 7 -o wall.png
"""


@dataclass(frozen=True)
class Painter:
    """How every picture of one run is painted."""

    stylizer: Stylizer
    engine: str
    styles: tuple[str, ...]
    strength: float
    paint_options: PaintOptions
    size: int | None
    tile: int | None
    max_pixels: int
    quality: int
    sheet: bool


class Progressing(AbstractContextManager["Progressing"]):
    """Bars on standard error, when that is a terminal; lines there in any case."""

    def __init__(self, pictures: int) -> None:
        self.console = Console(stderr=True)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.pictures = self.bars.add_task("pictures", total=pictures, visible=pictures > 1)
        self.parts = self.bars.add_task("", total=None, visible=False)

    def __enter__(self) -> Progressing:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def part(self, what: str, done: int, total: int) -> None:
        """How far the present picture is, in tiles or styles."""
        shown = total > 1 and done < total
        self.bars.update(self.parts, description=what, completed=done, total=total, visible=shown)

    def finished_picture(self) -> None:
        self.bars.advance(self.pictures)

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


@command(help=HELP)
@click.argument("pictures", nargs=-1, metavar="PICTURES...")
@click.option(
    "-o",
    "--output",
    metavar="FILE|FOLDER|-",
    help="Where to write; - is standard output. [default: NAME_stylized.EXT beside the picture, "
    "FOLDER_stylized/ for a folder]",
)
@stylizer_options
@control_options
@click.option(
    "--size",
    type=click.IntRange(1, 65_535),
    metavar="N",
    help="Scale to N pixels on the longer side first.",
)
@click.option(
    "--texture",
    metavar="WxH",
    help="Make a texture of W×H pixels instead, by an engine that does; -o FILE, no PICTURES.",
)
@click.option(
    "--all-styles",
    is_flag=True,
    help="Write one labeled sheet of all styles instead (NAME_styles.EXT).",
)
@click.option(
    "--format", type=click.Choice(list(FORMATS)), help="[default: the picture's own, png for -]"
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    default=95,
    show_default=True,
    help="Of JPEG, WebP and AVIF.",
)
@click.option(
    "--tile",
    type=click.IntRange(64, 16_384),
    metavar="N",
    help="Paint in tiles of N pixels: the same in less memory. [default: large pictures only]",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=MAX_PIXELS,
    show_default=True,
    metavar="N",
    help="Refuse larger pictures unread.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a picture on standard output."
)
@click.option(
    "--watch", is_flag=True, help="Stay, and paint what arrives in the folder; Ctrl-C ends."
)
def main(
    pictures: tuple[str, ...],
    output: str | None,
    engine: str,
    styles: tuple[str, ...],
    strength: float,
    device: str,
    threads: int | None,
    size: int | None,
    texture: str | None,
    all_styles: bool,
    format: str | None,
    quality: int,
    tile: int | None,
    max_pixels: int,
    as_json: bool,
    watch: bool,
    paint_options: PaintOptions,
) -> None:
    if texture is not None:
        if pictures or output is None:
            raise BadInput("--texture makes a picture out of nothing: give -o FILE, no pictures")
        with open_stylizer(engine, styles, strength, device, threads) as stylizer:
            paint_options.apply(stylizer, rest=bool(styles))
            make_texture(stylizer, texture, output, format, quality)
        return
    if not pictures:
        raise click.UsageError("Missing argument 'PICTURES...'.")
    ending = "styles" if all_styles else "stylized"
    if watch and not (len(pictures) == 1 and Path(pictures[0]).is_dir() and output != STREAM):
        raise BadInput("--watch takes one folder, and a folder to write to")
    jobs = [] if watch else plan(pictures, output, format, ending)
    if any(job.target is None for job in jobs):
        _check_stream_output(as_json)
    with open_stylizer(engine, styles, strength, device, threads) as stylizer:
        paint_options.apply(stylizer, rest=bool(styles))
        for target in filter(None, (job.target for job in jobs)):
            refuse_overwriting(target, engine, styles, paint_options, stylizer.styles)
        painter = Painter(
            stylizer,
            engine,
            styles,
            strength,
            paint_options,
            size,
            tile,
            max_pixels,
            quality,
            all_styles,
        )
        if all_styles and not _sheet_styles(painter):
            raise BadControl("--all-styles: this engine has no named styles, give some by --style")
        if watch:
            _watch(painter, pictures[0], output, format, ending, as_json)
        else:
            if failed := _paint_all(painter, jobs, as_json, lone=len(jobs) == 1):
                raise fail(f"{failed} of {len(jobs)} pictures could not be painted", 2)


def _check_stream_output(as_json: bool) -> None:
    if as_json:
        raise BadInput("--json and -o - both want standard output: write the picture to a file")
    if sys.stdout.isatty():
        raise BadInput("no picture is written to a terminal: redirect it, or give -o FILE")


def _paint_all(painter: Painter, jobs: Sequence[Job], as_json: bool, lone: bool = False) -> int:
    """Paint every job; a picture that cannot be read is said and passed over.

    Returns how many were passed over. lone: raise BadInput for it instead.
    """
    failed = 0
    with Progressing(len(jobs)) as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on odd records: the picture decides
        for job in jobs:
            try:
                record = _paint(painter, job, progress)
            except BadControl:  # would be so for every picture
                raise
            except BadInput as error:
                if as_json:
                    click.echo(json.dumps({"input": job.name, "error": str(error)}))
                if lone:
                    raise
                failed += 1
                progress.say(f"Error: {printable(error, 1000)}")
            else:
                _report(record, progress, as_json)
            progress.finished_picture()
    return failed


def _paint(painter: Painter, job: Job, progress: Progressing) -> dict[str, Any]:
    """Read, paint and write one picture. Returns what --json prints."""
    start = time.perf_counter()
    picture = read_picture(job.source or sys.stdin.buffer, painter.max_pixels, name=job.name)
    size = painter.size or (SHEET_CELL if painter.sheet else None)
    if size:
        height, width = picture.rgb.shape[:2]
        if (size / max(height, width)) ** 2 * height * width > painter.max_pixels:
            raise BadInput(f"--size {size} is more than --max-pixels allows")
        picture = resized(picture, size)
    result = (
        _sheet(painter, picture, progress)
        if painter.sheet
        else _painted(painter, picture, progress)
    )
    if job.target:
        make_folder(job.target.parent)
    target = job.target or sys.stdout.buffer
    left_out = write_picture(result, target, job.format, painter.quality)
    names = painter.stylizer.styles
    blend = _sheet_styles(painter) if painter.sheet else blend_of(painter.styles, names)
    return {
        "input": STREAM if job.source is None else str(job.source),
        "output": STREAM if job.target is None else str(job.target),
        "width": result.rgb.shape[1],
        "height": result.rgb.shape[0],
        "engine": painter.engine,
        "device": painter.stylizer.device,
        "style": {str(style): weight for style, weight in blend.items()},
        "strength": painter.strength,
        **painter.paint_options.record(),
        "seconds": round(time.perf_counter() - start, 3),
        "warnings": [*picture.warnings, *left_out],
    }


def _painted(painter: Painter, picture: Picture, progress: Progressing) -> Picture:
    """The painting with the picture's transparency, at the painting's size."""
    rgb, alpha = _styled(painter, picture.rgb, progress), picture.alpha
    if alpha is not None and alpha.shape != rgb.shape[:2]:
        size = (rgb.shape[1], rgb.shape[0])
        alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)
    return replace(picture, rgb=rgb, alpha=alpha)


def _styled(painter: Painter, rgb: NDArray[np.uint8], progress: Progressing) -> NDArray[np.uint8]:
    def step(done: int, total: int) -> None:
        progress.part("tiles", done, total)

    if painter.tile is None:
        return painter.stylizer(rgb, progress=step)
    return painter.stylizer.tiled(rgb, tile=painter.tile, progress=step)


def _sheet_styles(painter: Painter) -> dict[str | Path, float]:
    """Every named style of the engine, and those asked for beside them."""
    names = painter.stylizer.styles
    added = blend_of(painter.styles, names) if painter.styles else {}
    return dict.fromkeys([*names, *added], 1.0)


def _sheet(painter: Painter, picture: Picture, progress: Progressing) -> Picture:
    """The picture in every style, on one sheet; transparency is laid aside."""
    cells = [("original", picture.rgb)]
    styles = _sheet_styles(painter)
    for number, style in enumerate(styles):
        progress.part("styles", number, len(styles))
        painter.stylizer.set_style(style, painter.strength)
        label = style if isinstance(style, str) else style.stem
        cells.append((printable(label, 60), _styled(painter, picture.rgb, progress)))
    return replace(picture, rgb=contact_sheet(cells), alpha=None)


def _report(record: dict[str, Any], progress: Progressing, as_json: bool) -> None:
    for warning in record["warnings"]:
        progress.say(f"Warning: {printable(record['input'])}: {warning}")
    if as_json:
        click.echo(json.dumps(record))
    elif progress.console.is_terminal and record["output"] != STREAM:
        size, seconds = f"{record['width']}×{record['height']}", record["seconds"]
        shown = f"{printable(record['input'])} → {printable(record['output'])}"
        progress.say(f"{shown}  {size}, {seconds:.1f} s")


def _watch(
    painter: Painter,
    folder: str,
    output: str | None,
    format: str | None,
    ending: str,
    as_json: bool,
) -> None:
    """Paint each picture of a folder once it has stopped growing, for ever."""
    done: dict[Path, tuple[int, int]] = {}
    before: dict[Path, tuple[int, int]] = {}
    with suppress(KeyboardInterrupt):
        while True:
            stamps = {path: _stamp(path) for path in pictures_in(Path(folder))}
            ready = [p for p, now in stamps.items() if before.get(p) == now != done.get(p)]
            if ready:
                jobs = plan([folder], output, format, ending)
                _paint_all(painter, [job for job in jobs if job.source in ready], as_json)
                done |= {path: stamps[path] for path in ready}
            before = stamps
            time.sleep(POLL_SECONDS)


def _stamp(path: Path) -> tuple[int, int]:
    """(time, size) of a file, zeros when it has just gone."""
    with suppress(FileNotFoundError):
        status = path.stat()
        return status.st_mtime_ns, status.st_size
    return 0, 0
