"""G7: memory does not grow in long runs."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame

from benchmarks.trust.bench import Bench, Reached
from st.runtime import Stylizer
from st.video.jobs.job import Callbacks, Job, Painter, open_reader, perform
from tests.support import toys

FRAMES, SIDE, RATE = 900_000, 32, 25  # ten hours
SIZES = 90_000  # an hour of frames with changing sizes
SMALLEST, LARGEST = 8, 160  # pixels: range of the sides
VISITS = 100
SETTLED = 1000  # frames or sizes after which memory must not grow
MB = 2**20


def memory(bench: Bench) -> Reached:
    """G7: a long video, an hour of changing sizes, a hundred visits by WebRTC."""
    engine = toys.tiles_pair(bench.folder / "pair.onnx")
    frames, sizes = bench.scaled(FRAMES, 3000), bench.scaled(SIZES, 3000)
    film = _alone(film_growth, bench.folder, frames)
    changing = _alone(sizes_growth, engine, sizes, bench.seed)
    figure = f"{film:+.1f} MB in {frames} frames, {changing:+.1f} in {sizes} sizes"
    passed = film <= 20 and changing <= 50
    if find_spec("aiortc") is None or find_spec("aiohttp") is None:
        return Reached(f"{figure}; visits not measured: aiortc and aiohttp are not here", False)
    from tests.support.serve.visiting import visits_growth

    visits = bench.scaled(VISITS, 2)
    visited = asyncio.run(visits_growth(toys.tint_engine(bench.folder / "tint.onnx"), visits)) / MB
    return Reached(f"{figure}, {visited:+.1f} in {visits} visits", passed and visited <= 50)


def _alone(function: Callable[..., float], *arguments: Any) -> float:
    """Call a function in a separate process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


class Growth:
    """The peak growth of this process's memory since `start`."""

    def __init__(self) -> None:
        self._begin = 0

    def start(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak
        self._begin = _status("VmRSS")

    @property
    def most(self) -> float:
        """The growth in megabytes."""
        return (_status("VmHWM") - self._begin) / MB


def _status(key: str) -> int:
    """A value of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"no {key}: measuring memory needs /proc of Linux")


def film_growth(folder: Path, frames: int) -> float:
    """Growth in MB from frame `SETTLED` to the end of a video: reading, painting, writing, joining.

    It includes the container's index, which grows with every frame.
    """
    source = _long_film(folder / "long.mkv", frames)
    stylizer = Stylizer(toys.tint_engine(folder / "tint.onnx"), device="cpu", threads=1)
    growth, count = Growth(), iter(range(1, frames + 1))

    def painted() -> None:
        if next(count) == SETTLED:
            growth.start()

    job = Job(source)
    reader = open_reader(job)
    try:
        target = folder / "out.mkv"
        result = perform(
            job, reader, target, Painter(stylizer, identity="tint"), Callbacks(frame_done=painted)
        )
    finally:
        reader.close()
    assert result.frames == frames
    return growth.most


def _long_film(path: Path, frames: int) -> Path:
    pictures = [np.full((SIDE, SIDE, 3), 25 * n, np.uint8) for n in range(10)]
    decoded = [VideoFrame.from_ndarray(p).reformat(format="yuv420p") for p in pictures]
    with av.open(str(path), "w") as target:
        stream: Any = target.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"preset": "ultrafast"}
        for number in range(frames):
            frame = decoded[number % len(decoded)]
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


def sizes_growth(engine: Path, calls: int, seed: int) -> float:
    """Growth in MB after call `SETTLED`; sizes change with every call, the largest comes early."""
    random = np.random.default_rng(seed)
    largest = random.integers(0, 256, (LARGEST, LARGEST, 3), np.uint8)
    growth = Growth()
    with Stylizer(engine, device="cpu", threads=1) as paint:
        paint(largest)
        for number in range(calls):
            if number == SETTLED:
                growth.start()
            height, width = random.integers(SMALLEST, LARGEST + 1, 2)
            paint(np.ascontiguousarray(largest[:height, :width]))
    return growth.most
