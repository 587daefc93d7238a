"""G3 and G4: how much of damaged and truncated videos is preserved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
from av.error import FFmpegError

from benchmarks.trust.bench import Bench, Reached
from st.runtime.errors import BadInput
from st.video.jobs.job import Callbacks, Job, Painter, open_reader, perform
from tests.support.hostile.goods import film

FRAMES, SIZE = 72, (180, 320)
MIN_FRAMES = 0.99


@dataclass(frozen=True)
class Survival:
    """Minimum over all videos. frames: kept fraction of the frames that can be decoded.

    unplayable: outputs with fewer frames than were written. silent: damaged videos without a line
    about the damage. sound: kept fraction of the sound.
    """

    films: int
    refused: int
    frames: float
    sound: float
    unplayable: int
    silent: int


def damaged_films(bench: Bench) -> Reached:
    """G3: videos with 200 random bytes changed outside the index."""
    whole = _film(bench.folder / "whole.mp4")
    start = whole.index(b"mdat") + 4
    end = start - 8 + int.from_bytes(whole[start - 8 : start - 4], "big")
    random = bench.random
    copies = []
    for _ in range(bench.scaled(200, 5)):
        data = bytearray(whole)
        for place in random.integers(start, end, 200):
            data[place] = random.integers(256)
        copies.append(bytes(data))
    found = _survival(copies, bench.folder, ".mp4")
    figure = (
        f"{found.films} videos: {found.frames:.1%} of the frames and {found.sound:.1%} of the "
        f"sound at least, {found.refused} refused, {found.silent} not told"
    )
    kept = found.frames >= MIN_FRAMES and found.sound == 1
    return Reached(figure, kept and not (found.refused or found.silent or found.unplayable))


def cut_films(bench: Bench) -> Reached:
    """G4: a Matroska video truncated at random points behind its header."""
    whole = _film(bench.folder / "whole.mkv")
    points = bench.random.integers(len(whole) // 10, len(whole), bench.scaled(100, 5))
    found = _survival([whole[:point] for point in points], bench.folder, ".mkv")
    figure = (
        f"{found.films} videos: {found.frames:.1%} of the frames before the cut at least, "
        f"{found.refused} refused, {found.unplayable} do not play"
    )
    return Reached(figure, found.frames >= 1 and not (found.refused or found.unplayable))


def _film(path: Path) -> bytes:
    """A video of about a megabyte: in a tiny one, 200 changed bytes would destroy everything."""
    return film(path, "libx264", frames=FRAMES, size=SIZE, sound=True).read_bytes()


def _survival(films: list[bytes], folder: Path, suffix: str) -> Survival:
    source, target = folder / f"bad{suffix}", folder / f"out{suffix}"
    refused = unplayable = silent = 0
    frames, sound = [1.0], [1.0]
    for data in films:
        source.write_bytes(data)
        lines: list[str] = []
        job = Job(source)
        try:
            reader = open_reader(job)
        except BadInput:
            refused += 1
            continue
        try:
            result = perform(
                job, reader, target, Painter(lambda picture: picture), Callbacks(lines.append)
            )
        finally:
            reader.close()
        frames.append(result.frames / max(1, _decodable(source)))
        sound.append(_sound(target) / max(1, _sound(source)))
        unplayable += _decodable(target) < result.frames
        silent += sum("damaged" in line for line in lines) != bool(result.damaged)
    return Survival(len(films), refused, min(frames), min(sound), unplayable, silent)


def _decodable(path: Path) -> int:
    """The number of frames that packet-wise decoding yields."""
    count = 0
    with av.open(str(path)) as source:
        packets = source.demux(source.streams.video[0])
        while True:
            try:
                packet = next(packets)
            except (StopIteration, FFmpegError):
                return count
            try:
                count += len(packet.decode())
            except FFmpegError:
                continue


def _sound(path: Path) -> int:
    """The number of bytes of sound."""
    size = 0
    with av.open(str(path)) as source:
        try:
            for packet in source.demux(audio=0):
                size += packet.size
        except FFmpegError:
            pass
    return size
