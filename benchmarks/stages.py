"""Processor time of each stage of st-video, per frame: decoding, colors, engines, x264 presets.

    python -m benchmarks.stages fox.mp4 --size 1280x720 --device openvino-bf16

Processor time counts all threads of this process and no other program, so other load on the machine
matters less than for wall time. It still varies: programs that share a core or a cache slow each
other down, and threads that wait for work may spin. All parts take turns; a row gives the median of
the turns and their spread. The first row is NumPy's product of two matrices, whose processor time
shows the rate of the machine under the load of that moment.

x264 encodes what the first engine painted. Its quality is that of the luma after decoding, compared
with the painted frames.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import click
import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from benchmarks.machine import this_machine
from benchmarks.pictures import Rgb, frame_size
from benchmarks.report import Row, progress, show
from benchmarks.video import write_film
from st.runtime import Stylizer
from st.runtime.backends.open import ONNX_DEVICES
from st.runtime.bench.clips import frames_of
from st.runtime.bench.device_check import verdict_of
from st.runtime.bench.macs import multiply_adds, zeros_for
from st.runtime.bench.startup import give_style
from st.runtime.cli.base import command
from st.runtime.engine.location import engine_path
from st.runtime.errors import Unavailable
from st.video.film import yuv
from st.video.film.codecs import CODECS
from st.video.film.color import Converter
from st.video.film.reader import Film
from st.video.jobs.job import Job, film_sink

ROUNDS = 3
PRODUCT = 1024  # rows and columns
ENGINES = ("paintings", "paintings-light")
DEFAULT = "default"  # st-video's own settings, without --preset
PRESETS = (DEFAULT, "ultrafast", "superfast", "veryfast", "faster", "medium")
Luma = NDArray[np.float32]  # (H, W), 0..255
T = TypeVar("T")


@dataclass
class Part:
    """One row of the table.

    run: does the work for all frames. seconds: processor time of each run.
    more: columns that do not depend on time.
    """

    stage: str
    what: str
    run: Callable[[], object]
    seconds: list[float] = field(default_factory=list)
    more: dict[str, float | None] = field(default_factory=dict)

    def measure(self) -> None:
        began = time.process_time()
        self.run()
        self.seconds.append(time.process_time() - began)

    def row(self, frames: int) -> Row:
        middle = statistics.median(self.seconds)
        return {
            "stage": self.stage,
            "what": self.what,
            "ms": 1000 * middle / frames,
            "spread": (max(self.seconds) - min(self.seconds)) / middle if middle else None,
            "G multiply-adds": self.more.get("adds"),
            "kB": self.more.get("kB"),
            "PSNR": self.more.get("PSNR"),
            "SSIM": self.more.get("SSIM"),
        }


def parts_before(film: Path, painted: Sequence[Rgb]) -> list[Part]:
    """Decoding, and the conversions between YUV and RGB. film: a file; painted: its frames."""

    def decode() -> None:
        with_film(film, lambda reader: [None for _ in reader.items()])

    decoded = with_film(film, frames_in)
    converter = Converter()
    height, width = painted[0].shape[:2]
    opened = [converter.open(frame, height, width) for frame in decoded]
    tags = with_film(film, lambda reader: reader.video_format.tags)

    def to_rgb() -> None:
        for frame in decoded:
            converter.open(frame, height, width)

    def to_yuv() -> None:
        for rgb, source in zip(painted, opened, strict=True):
            converter.to_frame(rgb, source, "yuv420p", tags)

    return [
        Part("reference", f"{PRODUCT}³ product", product_of(len(painted))),
        Part("decoding", "H.264", decode),
        Part("colors", "YUV to RGB", to_rgb),
        Part("colors", "RGB to YUV", to_yuv),
    ]


def product_of(count: int) -> Callable[[], None]:
    """As many float32 matrix products as there are frames, as a reference for the other rows."""
    left, right = np.random.default_rng(0).random((2, PRODUCT, PRODUCT), dtype=np.float32)

    def run() -> None:
        for _ in range(count):
            np.matmul(left, right)

    return run


def with_film(path: Path, use: Callable[[Film], T]) -> T:
    film = Film(path)
    try:
        return use(film)
    finally:
        film.close()


def frames_in(film: Film) -> list[VideoFrame]:
    return [item for item in film.items() if isinstance(item, VideoFrame)]


def parts_of_engine(
    engine: str, devices: Iterable[str], given: Sequence[Rgb], opened: ExitStack
) -> list[Part]:
    """One part for each device that runs here."""
    height, width = given[0].shape[:2]
    path = engine_path(engine)
    adds = multiply_adds(path.read_bytes(), zeros_for(path, height, width)) / 1e9
    found = []
    for device in devices:
        if not verdict_of(engine, device, None).runs:
            continue
        stylizer = opened.enter_context(Stylizer(engine, device=device))
        give_style(stylizer)
        stylizer(given[0])  # compiles

        def paint(stylizer: Stylizer = stylizer) -> None:
            for frame in given:
                stylizer(frame)

        found.append(Part("painting", f"{engine}, {device}", paint, more={"adds": adds}))
    return found


def part_of_preset(film: Path, preset: str, frames: Sequence[VideoFrame], quality: int) -> Part:
    """x264 with one preset, as st-video writes. Fills in the size and the quality at once."""
    folder = film.parent

    def encode() -> Path:
        target = folder / f"{preset}.mkv"

        def write(reader: Film) -> None:
            job = Job(film, preset=None if preset == DEFAULT else preset, quality=quality)
            sink = film_sink(job, reader, target, "matroska", lambda line: None)
            for frame in frames:
                sink.write(frame)
            sink.close()

        with_film(film, write)
        return target

    written = encode()
    decoded = with_film(written, frames_in)
    errors = [np.mean((luma(a) - luma(b)) ** 2) for a, b in zip(frames, decoded, strict=True)]
    alike = [ssim(luma(a), luma(b)) for a, b in zip(frames, decoded, strict=True)]
    return Part(
        "encoding",
        f"x264, {preset}",
        encode,
        more={
            "kB": written.stat().st_size / 1000 / len(frames),
            "PSNR": psnr(float(np.mean(errors))),
            "SSIM": statistics.fmean(alike),
        },
    )


def luma(frame: VideoFrame) -> Luma:
    return yuv.pixels(frame.planes[0]).astype(np.float32)


def psnr(error: float) -> float:
    """Peak signal-to-noise ratio in dB. error: mean squared, of 255²."""
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def ssim(one: Luma, two: Luma) -> float:
    """Structural similarity: Wang et al., IEEE TIP 2004, eq. 13, with its Gaussian window."""
    small, little = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def mean(picture: Luma) -> Luma:
        return np.asarray(cv2.GaussianBlur(picture, (11, 11), 1.5), np.float32)

    a, b = mean(one), mean(two)
    variances = mean(one * one) - a * a + mean(two * two) - b * b
    covariance = mean(one * two) - a * b
    top = (2 * a * b + small) * (2 * covariance + little)
    return float((top / ((a * a + b * b + small) * (variances + little))).mean())


def painted_by(stylizer: Callable[[Rgb], Rgb], given: Sequence[Rgb]) -> list[Rgb]:
    return [stylizer(frame) for frame in given]


def measure(
    clip: Path | None,
    size: tuple[int, int],
    count: int,
    wanted: Sequence[str],
    devices: Sequence[str],
    presets: Sequence[str],
    quality: int,
) -> list[Row]:
    """All rows. size: (height, width). Raises Unavailable: no device runs."""
    given = frames_of(clip, size, count)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened, progress() as bar:
        film = Path(folder, "in.mp4")
        write_film(film, given)
        painting = [p for e in wanted for p in parts_of_engine(e, devices, given, opened)]
        if not painting:
            raise Unavailable(f"{', '.join(wanted)}: no engine runs on {', '.join(devices)} here")
        with Stylizer(wanted[0], device="cpu") as stylizer:
            give_style(stylizer)
            painted = painted_by(stylizer, given)
        parts = parts_before(film, painted) + painting
        frames = as_frames(film, painted)
        parts += [part_of_preset(film, preset, frames, quality) for preset in presets]
        for _ in bar.track(range(ROUNDS), description="measuring"):
            for part in parts:
                part.measure()
    return [part.row(count) for part in parts]


def as_frames(film: Path, painted: Sequence[Rgb]) -> list[VideoFrame]:
    """The painted frames as the encoder receives them, with the times of the video's frames."""
    converter = Converter()
    frames = []
    tags = with_film(film, lambda reader: reader.video_format.tags)
    for source, rgb in zip(with_film(film, frames_in), painted, strict=True):
        opened = converter.open(source, source.height, source.width)
        frame = converter.to_frame(rgb, opened, "yuv420p", tags)
        frame.pts, frame.time_base = source.pts, source.time_base
        frames.append(frame)
    return frames


@command(epilog="Example: python -m benchmarks.stages fox.mp4 --size 1280x720")
@click.argument("clip", required=False, type=click.Path(path_type=Path))
@click.option("--engine", "wanted", multiple=True, default=ENGINES, show_default=True)
@click.option(
    "--device",
    "devices",
    multiple=True,
    type=click.Choice(ONNX_DEVICES),
    help="Device; repeat for several.  [default: all available]",
)
@click.option("--size", default="1280x720", show_default=True)
@click.option("--frames", "count", default=32, show_default=True, type=click.IntRange(2))
@click.option(
    "--preset",
    "presets",
    multiple=True,
    default=PRESETS,
    show_default=True,
    type=click.Choice((DEFAULT, *CODECS["h264"].presets)),
    help="Preset of x264; repeat for several.",
)
@click.option(
    "--quality", default=CODECS["h264"].default_quality, show_default=True, help="CRF of x264."
)
@click.option("--json", "as_json", is_flag=True)
def main(
    clip: Path | None,
    wanted: tuple[str, ...],
    devices: tuple[str, ...],
    size: str,
    count: int,
    presets: tuple[str, ...],
    quality: int,
    as_json: bool,
) -> None:
    """Measure the processor time of every stage on CLIP (default: a moving texture)."""
    height, width = frame_size(size)
    machine = this_machine()
    rows = measure(clip, (height, width), count, wanted, devices or ONNX_DEVICES, presets, quality)
    title = (
        f"Milliseconds of processor time per frame of {width}×{height}, {count} frames in "
        f"{ROUNDS} turns, CRF {quality}"
    )
    show(title, machine, rows, as_json)


if __name__ == "__main__":
    main()
