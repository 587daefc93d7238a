"""st-video: paints videos."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click
import numpy as np

from st.runtime.cli.base import (
    KeptError,
    check_overwrite,
    command,
    fail,
    for_option,
    is_quiet,
    missing,
    option_group,
    say,
)
from st.runtime.cli.control_options import PaintOptions, control_options, refuse_overwriting
from st.runtime.cli.engine_options import open_stylizer, stylizer_options
from st.runtime.errors import BadControl, BadInput, Unavailable, printable
from st.runtime.painting.paint_size import painting_size
from st.runtime.stylizer import Stylizer
from st.runtime.system.cpus import usable_cpus
from st.runtime.system.signals import stoppable
from st.video.film.chroma_filter import temporal_filter_for
from st.video.film.codecs import CODECS
from st.video.film.image_sequence import is_pattern
from st.video.film.mask_films import open_masks
from st.video.film.picture_format import VideoFormat, parse_frame_size
from st.video.film.raw import parse_raw
from st.video.film.time_range import TimeRange, parse_time
from st.video.jobs.batch import films_of, output_folder, target_chooser
from st.video.jobs.begun import begun_device
from st.video.jobs.job import (
    Callbacks,
    Job,
    Painter,
    Reader,
    Result,
    default_target,
    open_reader,
    perform,
)
from st.video.jobs.paint_rate import candidates, choose_size
from st.video.jobs.progress import progress
from st.video.jobs.ray_cluster import RayPainter, connect
from st.video.jobs.stage_times import describe
from st.video.jobs.upscale import with_upscaling

LARGE = 3_000_000  # pixels; from this frame size on, each frame uses all threads
MAX_WORKERS = 4
T = TypeVar("T")

EXAMPLES = """
  st-video in.mp4                                  writes in_stylized.mp4
  st-video in.mp4 -s wave --strength 0.7 -o wave.mov --codec prores
  st-video in.mp4 --region person.mp4=mondrian     where a mask video is white
  st-video in.mp4 --start 1:30 --duration 10       ten seconds of it
  st-video in.mov -o frames/%05d.png               pictures; st-video frames/ goes back
  st-video holiday/ -o painted/                    every video of a folder
  st-video in.mp4 --ray 10.0.0.5:6379               on a Ray cluster
  cat in.mkv | st-video - -o - | mpv -             Matroska on both pipes
"""


output_options = option_group(
    "Output",
    click.option(
        "-o",
        "--output",
        metavar="FILE",
        help="Output video (.mp4 .mov .mkv .webm .ts), folder or pattern (frames/%05d.png) for "
        "pictures, or - for Matroska on standard output. [default: VIDEO with _stylized]",
    ),
    click.option(
        "--codec",
        type=click.Choice(list(CODECS)),
        help="Video codec. [default: h264; vp9 in .webm; a codec with transparency if the source "
        "has it]",
    ),
    click.option(
        "--quality",
        type=int,
        metavar="N",
        help="Constant quality on the codec's own scale; lower is better: h264 and hevc 0..51 "
        "[20, 22], vp9 0..63 [28], prores 0..32 [set by the profile].",
    ),
    click.option(
        "--preset",
        metavar="NAME",
        help="Encoder speed: ultrafast..slower for h264 [superfast, with rate control over ten "
        "frames] and hevc [veryfast], 8..0 [6] for vp9. "
        "ProRes profile: proxy, lt, standard, hq [hq].",
    ),
    click.option("--no-audio", is_flag=True, help="Leave out the sound."),
    click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON."),
)
source_options = option_group(
    "Video",
    click.option("--size", metavar="WxH|N", help="Output size; N is the longer side."),
    click.option("--start", metavar="TIME", help="Start time: seconds or H:MM:SS."),
    click.option(
        "--duration", metavar="TIME", help="Length of the part to paint: seconds or H:MM:SS."
    ),
    click.option(
        "--fps",
        metavar="N",
        default="25",
        help="Frame rate of a folder or pattern of pictures. [default: 25]",
    ),
    click.option(
        "--raw",
        metavar="WxH@FPS",
        help="Size and rate of raw rgb24 frames, which pipes then carry instead of Matroska.",
    ),
    click.option(
        "--steady",
        type=float,
        metavar="0..1",
        help="Flicker filter: the weight of the previous painted frame, warped along the motion; "
        "0.75 is strong. [default: 0; 0.85 for colorizers]",
    ),
    click.option(
        "--resume/--no-resume",
        default=True,
        help="Continue an interrupted run, or start over. [default: resume]",
    ),
    click.option(
        "--ray",
        "cluster",
        metavar="ADDRESS",
        help="Ray cluster to paint on: host:port, ray://host:port, auto, or local. The frames are "
        "the same as on one machine.",
    ),
)


@command(name="st-video", examples=EXAMPLES, writes=True)
@click.argument("sources", nargs=-1, metavar="VIDEO...")
@output_options
@stylizer_options
@control_options
@source_options
def main(sources: tuple[str, ...], output: str | None, as_json: bool, **choices: Any) -> None:
    """Paint every frame of VIDEO in a style; keep sound, subtitles, chapters and timing.

    VIDEO is a video file, a folder of pictures, a pattern such as frames/%05d.png, or - for
    standard input. Several videos, a folder of videos or a quoted glob are painted one after
    another; -o is then a folder.

    h264 has 8 bits per channel, even for 10-bit sources; hevc and prores keep 10. HDR is
    tone-mapped to standard range. Videos of odd width or height are written as 4:4:4, which some
    players reject; give an even --size for those. lossless stores the painted pixels bit for bit.

    A region's mask is a picture, or a video of the same length; both can have any size.

    Ctrl-C ends the video early, as a playable file NAME_partial; NAME itself is always complete.
    After Ctrl-C, a crash or a power cut, the same command resumes after the last finished segment
    (at most 96 frames). Segments are kept in a hidden folder beside the video until it is complete.
    """
    asked = Choices(**choices)
    if not sources:
        raise missing("VIDEO...")
    if asked.raw and sources != ("-",) and output != "-":
        raise BadInput("--raw is for pipes; VIDEO or -o must be -")
    if sources == ("-",) and output is None:
        raise BadInput("standard input has no name: give an output, -o FILE or -o -")
    if as_json and output == "-":
        raise BadInput("--json and -o - both write to standard output; leave one out")
    if asked.cluster and asked.steady:
        raise BadInput(
            "--steady filters frames in order, so --ray cannot split the video; leave one out"
        )
    films = films_of(sources)
    ray = _parsed("--ray", connect, asked.cluster)
    if len(films) == 1:
        place = _target(output) or default_target
        quiet = output == "-" or is_quiet()
        _tell(*_paint(films[0], place, asked, ray), as_json, quiet)
        return
    place, failed = target_chooser(films, output_folder(output)), 0
    for film in films:
        try:
            _tell(*_paint(film, place, asked, ray), as_json, is_quiet())
        except KeptError as error:
            say(str(error))
        except BadControl:  # the same for every video
            raise
        except BadInput as error:
            failed += 1
            if as_json:
                click.echo(json.dumps({"input": film, "error": str(error)}))
            click.echo(f"Error: {error}", err=True)
    if failed:
        raise fail(f"{failed} of {len(films)} videos could not be painted", 2)


@dataclass(frozen=True)
class Choices:
    """The options of `main`, unparsed."""

    engine: str
    styles: tuple[str, ...]
    strength: float
    device: str
    threads: int | None
    codec: str | None
    quality: int | None
    preset: str | None
    steady: float | None
    size: str | None
    start: str | None
    duration: str | None
    no_audio: bool
    fps: str
    raw: str | None
    resume: bool
    cluster: str | None
    paint_options: PaintOptions

    def job(self, source: Path | BinaryIO) -> Job:
        return Job(
            source=source,
            codec=self.codec,
            quality=self.quality,
            preset=self.preset,
            size=_parsed("--size", parse_frame_size, self.size),
            time_range=_window(self.start, self.duration),
            sound=not self.no_audio,
            raw=_parsed("--raw", parse_raw, self.raw),
            fps=_fps(self.fps),
        )


def _paint(
    source: str,
    place: Path | BinaryIO | Callable[[Job, Reader], Path],
    asked: Choices,
    ray: Any = None,
) -> tuple[str, Result, list[str]]:
    """Paint one video; returns its name, the result and the warnings.

    place: the output, or a function that chooses it from the opened video.
    ray: the connected module ray, or None.
    """
    job = asked.job(_binary(sys.stdin, "read") if source == "-" else _path(source))
    warnings: list[str] = []

    def warn(line: str) -> None:
        warnings.append(line)
        click.echo(f"warning: {line}", err=True)

    reader = open_reader(job)
    masks = None
    try:
        target = place(job, reader) if callable(place) else place
        _check_overwrite(target)
        video_format = reader.video_format.resized(job.size)
        masks = open_masks(asked.paint_options.masks(), job.time_range)
        stylizer, workers, threads = _painter(asked, video_format, masks is not None, target)
        if isinstance(target, Path):
            refuse_overwriting(
                target, asked.engine, asked.styles, asked.paint_options, stylizer.styles
            )
        if asked.paint_options.paint_size == "auto":
            _fit_size(stylizer, video_format, workers, target)
        with for_option("--steady"):
            steady = temporal_filter_for(stylizer.metadata, asked.steady)
        if ray and steady:
            raise BadInput("--ray: colorizers filter frames in order; add --steady 0")
        remote = RayPainter(ray, asked.engine, stylizer, threads) if ray else None
        job, paint = with_upscaling(job, reader, stylizer)
        with stoppable() as stop, progress(Path(source).name, reader.expected) as advance:
            painter = Painter(
                paint, workers, stylizer.identity, masks, steady, remote, stylizer.device
            )
            result = perform(
                job, reader, target, painter, Callbacks(warn, advance, stop), asked.resume
            )
        if masks and masks.short():
            warn("a mask video ends before the video; its last frame was used from there on")
    finally:
        reader.close()
        if masks:
            masks.close()
    return source, result, warnings


def _check_overwrite(target: Path | BinaryIO) -> None:
    """Raises KeptError: --no-overwrite protects the video, or a picture of its folder."""
    if isinstance(target, Path):
        pictures = target.parent.glob(f"*{target.suffix}") if is_pattern(target) else [target]
        for path in pictures:
            check_overwrite(path)


def _tell(source: str, result: Result, warnings: list[str], as_json: bool, quiet: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(result) | {"input": source, "warnings": warnings}))
    elif not quiet:
        rate = f"{result.frames_per_second:.1f} frames/s on {result.device}"
        stages = f"; {describe(result.busy)}" if result.busy else ""
        click.echo(f"{printable(result.output, 1000)}  {result.frames} frames, {rate}{stages}")


def _painter(
    asked: Choices, film: VideoFormat, moving: bool, target: Path | BinaryIO
) -> tuple[Stylizer, int, int]:
    """Returns a Stylizer, the number of frames to paint concurrently, and the threads per frame.

    On ONNX Runtime's CPU provider, concurrent frames on few threads each take a fifth less time
    than frames in sequence on all threads. Very large frames would need too much memory for that.

    moving: whether the masks come with the frames.
    """
    threads = asked.threads or usable_cpus()
    # Workers of a cluster may lack OpenVINO.
    local = asked.cluster is None
    stylizer = open_stylizer(
        asked.engine, asked.styles, asked.strength, asked.device, threads, local
    )
    stand_in = np.ones((1, 1), np.uint8)
    read = (lambda _: stand_in) if moving else (lambda path: path)
    options = asked.paint_options
    if options.paint_size == "auto":  # chosen later, by `_fit_size`
        options = replace(options, paint_size=None)
    options.apply(stylizer, bool(asked.styles), read)
    with for_option("--steady"):
        steady = temporal_filter_for(stylizer.metadata, asked.steady)
    if asked.device == "auto" and asked.resume and isinstance(target, Path):
        several = asked.paint_options.paint_size == "auto"
        sizes = candidates(film.height, film.width) if several else None
        begun = begun_device(stylizer, target, sizes)
        if begun and begun != stylizer.device:
            stylizer = _as_begun(stylizer, begun, asked.engine, threads)
    if stylizer.device != "cpu" or film.width * film.height > LARGE:
        return stylizer, 2, threads
    workers = 1 if steady else min(threads, MAX_WORKERS)  # in sequence, each on all threads
    share = threads // workers
    if share < threads:
        stylizer = _reopened(stylizer, asked.engine, "cpu", share)
    return stylizer, workers, share


def _as_begun(stylizer: Stylizer, device: str, engine: str, threads: int) -> Stylizer:
    """The Stylizer on the device of an earlier run, if it is available."""
    try:
        other = _reopened(stylizer, engine, device, threads)
    except Unavailable:
        return stylizer
    say(f"painting on {device}, as begun")
    return other


def _reopened(stylizer: Stylizer, engine: str, device: str, threads: int) -> Stylizer:
    """A Stylizer with equal settings, on another device or number of threads."""
    other = Stylizer(engine, device=device, threads=threads).take_settings(stylizer.settings)
    stylizer.close()
    return other


def _fit_size(stylizer: Stylizer, film: VideoFormat, workers: int, target: Path | BinaryIO) -> None:
    """Choose and set the paint size of --paint-size auto, and print it."""
    if stylizer.metadata.kind == "colorizer" or stylizer.metadata.scale > 1:
        raise BadInput("--paint-size: not for colorizers and upscalers")
    path = target if isinstance(target, Path) else None
    choice = choose_size(stylizer, film.height, film.width, float(film.rate), workers, path)
    stylizer.set_paint_size(choice.paint_size)
    height, width = painting_size(film.height, film.width, choice.paint_size)
    estimate = f", about {choice.fps:.0f} frames/s" if choice.fps else ", as begun"
    say(f"painting at {width}×{height}{estimate}")


def _path(text: str) -> Path:
    if "\0" in text:
        raise BadInput(f"{printable(text)}: no such file")
    return Path(text)


def _target(output: str | None) -> Path | BinaryIO | None:
    if output is None:
        return None
    if output == "-":
        if sys.stdout.isatty():
            raise BadInput(
                "-o - writes a video to standard output; redirect it to a file or a program"
            )
        return _binary(sys.stdout, "write")
    target = _path(output)
    return target / "%05d.png" if target.is_dir() or output.endswith("/") else target


def _binary(stream: Any, use: str) -> BinaryIO:
    if not hasattr(stream, "buffer"):
        raise BadInput(f"there is no standard stream to {use}")
    return stream.buffer


def _window(start: str | None, duration: str | None) -> TimeRange:
    length = _parsed("--duration", parse_time, duration)
    if length == 0:
        raise BadInput("--duration: 0 leaves nothing to paint")
    return TimeRange(_parsed("--start", parse_time, start) or Fraction(0), length)


def _parsed(option: str, parse: Callable[[str], T], text: str | None) -> T | None:
    """The value of an option; errors name the option."""
    if not text:
        return None
    with for_option(option):
        return parse(text)


def _fps(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise BadInput("--fps: give frames per second, such as 25 or 30000/1001")
    return rate
