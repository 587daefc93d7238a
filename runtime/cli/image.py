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
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from st.runtime.cli.base import (
    SIZE,
    check_overwrite,
    command,
    fail,
    is_quiet,
    keeps,
    missing,
    option_group,
)
from st.runtime.cli.control_options import PaintOptions, control_options, refuse_overwriting
from st.runtime.cli.engine_options import open_stylizer, stylizer_options
from st.runtime.cli.progress import progress_bars
from st.runtime.errors import BadControl, BadInput, printable
from st.runtime.pictures.batch import STREAM, Job, make_folder, pictures_in, plan, unread_in
from st.runtime.pictures.contact_sheet import contact_sheet
from st.runtime.pictures.io import (
    FORMATS,
    MAX_PIXELS,
    Picture,
    TooManyPixels,
    read_picture,
    resized,
    write_picture,
)
from st.runtime.style_texts import blend_of
from st.runtime.stylizer import Stylizer

SHEET_CELL = 320  # longer side of a cell of the contact sheet, in pixels
POLL_SECONDS = 1.0
NAMED = 5  # maximum number of files that a warning names

EXAMPLES = """
st-image photo.jpg                        writes photo_stylized.jpg
st-image photo.jpg -o art.png --style wave --strength 0.8
st-image photo.jpg --style wave:0.7 --style scream:0.3
st-image photo.jpg --region sky.png=wave --feather 20 --color luminance
st-image holiday/ 'more/*.png' -o out/    a folder for several pictures
st-image photo.jpg --all-styles           a sheet of every style
cat photo.jpg | st-image - -o - > art.png
st-image --engine bricks.onnx --texture 1024x512 --seed 7 -o wall.png
"""


@dataclass(frozen=True)
class Painter:
    """The settings for all pictures of one run."""

    stylizer: Stylizer
    engine: str
    styles: tuple[str, ...]
    strength: float
    options: PaintOptions
    size: int | None
    tile: int | None
    max_pixels: int
    quality: int
    sheet: bool


class Progressing(AbstractContextManager["Progressing"]):
    """Progress bars for pictures and their parts, and messages on standard error."""

    def __init__(self, pictures: int) -> None:
        self.bars = progress_bars(MofNCompleteColumn(), TimeRemainingColumn())
        self.pictures = self.bars.add_task("pictures", total=pictures, visible=pictures > 1)
        self.parts = self.bars.add_task("", total=None, visible=False)

    def __enter__(self) -> Progressing:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def part(self, what: str, done: int, total: int) -> None:
        """Show how many tiles or styles of the current picture are done."""
        shown = total > 1 and done < total
        self.bars.update(self.parts, description=what, completed=done, total=total, visible=shown)

    def finished_picture(self) -> None:
        self.bars.advance(self.pictures)

    def say(self, line: str) -> None:
        self.bars.console.print(line, markup=False, highlight=False, soft_wrap=True)


output_options = option_group(
    "Output",
    click.option(
        "-o",
        "--output",
        metavar="FILE|FOLDER|-",
        help="File or folder to write to; - is standard output. [default: NAME_stylized.EXT beside "
        "the picture, FOLDER_stylized/ for a folder]",
    ),
    click.option(
        "--format",
        type=click.Choice(list(FORMATS)),
        help="File format. [default: the picture's own, png for -]",
    ),
    click.option(
        "--quality",
        type=click.IntRange(1, 100),
        default=95,
        show_default=True,
        help="Quality of JPEG, WebP and AVIF.",
    ),
    click.option(
        "--all-styles",
        is_flag=True,
        help="Write one labeled sheet of all styles instead (NAME_styles.EXT).",
    ),
    click.option(
        "--texture",
        type=SIZE,
        metavar="WxH",
        help="Make a texture of this size, with an engine for textures: -o FILE and no PICTURES.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object per picture."),
)
input_options = option_group(
    "Pictures",
    click.option(
        "--size",
        type=click.IntRange(1, 65_535),
        metavar="N",
        help="Scale pictures to a longer side of N pixels first.",
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        default=MAX_PIXELS,
        show_default=True,
        metavar="N",
        help="Reject larger pictures before decoding them.",
    ),
    click.option(
        "--tile",
        type=click.IntRange(64, 16_384),
        metavar="N",
        help="Paint in tiles of N pixels: the same picture in less memory. [default: only where "
        "memory is short]",
    ),
    click.option(
        "--watch", is_flag=True, help="Keep running and paint new pictures of the folder."
    ),
)


@command(name="st-image", examples=EXAMPLES, writes=True)
@click.argument("pictures", nargs=-1, metavar="PICTURES...")
@output_options
@stylizer_options
@control_options
@input_options
def main(
    pictures: tuple[str, ...],
    engine: str,
    styles: tuple[str, ...],
    strength: float,
    device: str,
    threads: int | None,
    paint_options: PaintOptions,
    **choices: Any,
) -> None:
    """Paint pictures with a style.

    PICTURES are files, folders, quoted globs, or - for standard input.
    """
    asked = Choices(**choices)
    if asked.texture:
        if pictures or asked.output is None:
            raise BadInput("--texture needs -o FILE and takes no pictures")
        check_target(asked)
    elif not pictures:
        raise missing("PICTURES...")
    jobs = [] if asked.texture else _jobs(pictures, asked)
    with open_stylizer(engine, styles, strength, device, threads) as stylizer:
        paint_options.apply(stylizer, rest=bool(styles))
        if asked.texture:
            make_texture(stylizer, asked)
            return
        for target in filter(None, (job.target for job in jobs)):
            refuse_overwriting(target, engine, styles, paint_options, stylizer.styles)
        painter = Painter(
            stylizer,
            engine,
            styles,
            strength,
            paint_options,
            asked.size,
            asked.tile,
            asked.max_pixels,
            asked.quality,
            asked.all_styles,
        )
        if asked.all_styles and not _sheet_styles(painter):
            raise BadControl("--all-styles: this engine has no named styles, give some by --style")
        if asked.watch:
            _watch(painter, pictures[0], asked)
        elif failed := _paint_all(painter, jobs, asked.as_json, lone=len(jobs) == 1):
            raise fail(f"{failed} of {len(jobs)} pictures could not be painted", 2)


@dataclass(frozen=True)
class Choices:
    """The options for pictures and output, as given. texture: (height, width)."""

    output: str | None
    format: str | None
    quality: int
    all_styles: bool
    texture: tuple[int, int] | None
    as_json: bool
    size: int | None
    max_pixels: int
    tile: int | None
    watch: bool

    @property
    def ending(self) -> str:
        return "styles" if self.all_styles else "stylized"


def _jobs(pictures: Sequence[str], asked: Choices) -> list[Job]:
    """The pictures to paint, and where to write them. Raises BadInput."""
    if asked.watch:
        if len(pictures) > 1 or not Path(pictures[0]).is_dir() or asked.output == STREAM:
            raise BadInput("--watch takes one folder, and a folder to write to")
        return []
    jobs = plan(pictures, asked.output, asked.format, asked.ending)
    _say_unread([name for name in pictures if name != STREAM])
    if any(job.target is None for job in jobs):
        _check_stream_output(asked.as_json)
    elif len(jobs) == 1 and jobs[0].target:
        check_overwrite(jobs[0].target)
    return jobs


def _say_unread(pictures: Sequence[str]) -> None:
    """Warn of pictures in the folders whose format cannot be read."""
    for folder in (Path(name) for name in pictures if Path(name).is_dir()):
        if unread := [printable(path.name) for path in unread_in(folder)]:
            more = len(unread) - NAMED
            shown = ", ".join(unread[:NAMED]) + (f" and {more} more" if more > 0 else "")
            click.echo(
                f"Warning: {printable(folder)}: formats that cannot be read here: {shown}", err=True
            )


def check_target(asked: Choices) -> None:
    """Raises BadInput if the output of --texture cannot be written."""
    if asked.output == STREAM:
        _check_stream_output(asked.as_json)
    else:
        check_overwrite(Path(str(asked.output)))


def make_texture(stylizer: Stylizer, asked: Choices) -> None:
    """Write a texture to a file, or to standard output for "-".

    Raises what `Stylizer.texture` and `write_picture` raise.
    """
    assert asked.texture is not None
    made = Picture(stylizer.texture(*asked.texture))
    if asked.output == STREAM:
        write_picture(made, sys.stdout.buffer, asked.format, asked.quality)
        return
    target = Path(str(asked.output))
    make_folder(target.parent)
    write_picture(made, target, asked.format, asked.quality)
    if not is_quiet():
        height, width = asked.texture
        click.echo(f"wrote {printable(target)}  {width}×{height}", err=True)


def _check_stream_output(as_json: bool) -> None:
    if as_json:
        raise BadInput("--json and -o - both want standard output: write the picture to a file")
    if sys.stdout.isatty():
        raise BadInput("no picture is written to a terminal: redirect it, or give -o FILE")


def _paint_all(painter: Painter, jobs: Sequence[Job], as_json: bool, lone: bool = False) -> int:
    """Paint all jobs; report pictures that cannot be read, and continue.

    Returns the number of pictures that could not be read. lone: raise BadInput instead.
    """
    failed = 0
    with Progressing(len(jobs)) as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about metadata; damaged pixels raise
        for job in jobs:
            if job.target and keeps(job.target):
                _report_kept(job, progress, as_json)
                continue
            try:
                record = _paint(painter, job, progress)
            except BadControl:  # the same for every picture
                raise
            except BadInput as error:
                if as_json:
                    click.echo(json.dumps({"input": job.path, "error": _plain(error, job)}))
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
    try:
        picture = read_picture(job.source or sys.stdin.buffer, painter.max_pixels, name=job.name)
    except TooManyPixels as error:
        raise BadInput(f"{error} (--max-pixels allows more)") from None
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
        "input": job.path,
        "output": STREAM if job.target is None else str(job.target),
        "width": result.rgb.shape[1],
        "height": result.rgb.shape[0],
        "engine": painter.engine,
        "device": painter.stylizer.device,
        "style": {str(style): weight for style, weight in blend.items()},
        "strength": painter.strength,
        **painter.options.record(),
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
    """All named styles of the engine, and those of --style."""
    names = painter.stylizer.styles
    added = blend_of(painter.styles, names) if painter.styles else {}
    return dict.fromkeys([*names, *added], 1.0)


def _sheet(painter: Painter, picture: Picture, progress: Progressing) -> Picture:
    """The picture in every style, on one sheet, without transparency."""
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
    elif record["output"] != STREAM and not is_quiet():
        size, seconds = f"{record['width']}×{record['height']}", record["seconds"]
        shown = f"{printable(record['input'])} → {printable(record['output'])}"
        progress.say(f"{shown}  {size}, {seconds:.1f} s")


def _report_kept(job: Job, progress: Progressing, as_json: bool) -> None:
    """Report a picture that was skipped because of --no-overwrite."""
    if as_json:
        click.echo(json.dumps({"input": job.path, "output": str(job.target), "skipped": "exists"}))
    elif not is_quiet():
        progress.say(f"{printable(job.target)}: exists already, left as it is")
    progress.finished_picture()


def _plain(error: BadInput, job: Job) -> str:
    """The message with the picture's name unescaped, since JSON escapes it."""
    message = str(error)
    return job.path + message.removeprefix(job.name) if message.startswith(job.name) else message


def _watch(painter: Painter, folder: str, asked: Choices) -> None:
    """Paint each picture of a folder once it has stopped growing, until Ctrl-C."""
    done: dict[Path, tuple[int, int]] = {}
    before: dict[Path, tuple[int, int]] = {}
    with suppress(KeyboardInterrupt):
        while True:
            stamps = {path: _stamp(path) for path in pictures_in(Path(folder))}
            ready = [p for p, now in stamps.items() if before.get(p) == now != done.get(p)]
            if ready:
                jobs = plan([folder], asked.output, asked.format, asked.ending)
                _paint_all(painter, [job for job in jobs if job.source in ready], asked.as_json)
                done |= {path: stamps[path] for path in ready}
            before = stamps
            time.sleep(POLL_SECONDS)


def _stamp(path: Path) -> tuple[int, int]:
    """(modification time, size) of a file; zeros when it has just been removed."""
    with suppress(FileNotFoundError):
        status = path.stat()
        return status.st_mtime_ns, status.st_size
    return 0, 0
