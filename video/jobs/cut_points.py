"""Plans the segments of a video that are painted independently of each other.

Segments have a fixed number of frames, wherever the keyframes are: each is decoded from the
keyframe before it, and earlier frames are dropped. The times of all frames are read from the
packets beforehand; a segment whose decoded frames have other times is refused.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame

from st.video.film.containers import open_container
from st.video.film.reader import SEEKABLE, Film


class NotSplittable(Exception):
    """The video must be painted in one piece; the message gives the reason."""


@dataclass(frozen=True)
class SegmentPlan:
    """One segment of a video.

    times: timestamps of its frames, in ticks of the video stream, as from `Film.items`.
    seek: argument of `Film.begin_at`; None: start where the video starts when it is opened.
    last: whether it is the last segment.
    """

    number: int
    times: tuple[int, ...]
    seek: int | None
    last: bool


def split(source: Path, film: Film, frames: int) -> list[SegmentPlan]:
    """Plan segments of `frames` frames each. film: the same file, opened.

    Reads the whole file, and decodes nothing. Raises NotSplittable.
    """
    formats = set(film.container.format.name.split(","))
    if not formats & {*SEEKABLE}:
        raise NotSplittable("only MP4, MOV, Matroska and WebM videos have an index to seek by")
    pictures = _pictures(source, film.name, film.video.index)
    times = sorted(time * film.ticks for time, _, _ in pictures)
    if len(set(times)) < len(times):
        raise NotSplittable("two of its frames have the same timestamp")
    # A seek takes decoding times in MP4, and presentation times in Matroska.
    by_decoding = "mov" in formats
    keys = sorted(
        (time * film.ticks, coded if by_decoding else time) for time, coded, key in pictures if key
    )
    times = [time for time in times if _shown(film, time)]
    shift = round(film.offset / film.time_base)
    plans = []
    for number, first in enumerate(range(0, len(times), frames)):
        own = times[first : first + frames]
        before = bisect_right(keys, own[0], key=lambda key: key[0])
        if number and not before:
            raise NotSplittable("it does not begin with a keyframe")
        seek = keys[before - 1][1] if number else None
        last = first + frames >= len(times)
        plans.append(SegmentPlan(number, tuple(time - shift for time in own), seek, last))
    return plans


def _pictures(source: Path, name: str, index: int) -> list[tuple[int, int, bool]]:
    """(presentation time, decoding time, whether a keyframe) of each shown packet."""
    found: list[tuple[int, int, bool]] = []
    try:
        with closing(open_container(source, name)) as container:
            for packet in container.demux(container.streams[index]):
                if not packet.size or packet.is_discard:
                    continue
                if packet.pts is None:
                    raise NotSplittable("not all of its frames have a timestamp")
                coded = packet.pts if packet.dts is None else packet.dts
                found.append((packet.pts, coded, packet.is_keyframe))
    except (FFmpegError, UnicodeDecodeError):
        raise NotSplittable("it is damaged") from None
    return found


def _shown(film: Film, time: int) -> bool:
    seconds = time * Fraction(film.time_base) - film.begins
    return not (film.time_range.ends_before(seconds) or film.time_range.starts_after(seconds))


class SegmentSource:
    """The frames of one segment: a source for `st.video.jobs.pipeline.run`."""

    def __init__(self, film: Film, plan: SegmentPlan) -> None:
        """video: newly opened."""
        self.video_format = film.video_format
        self._film = film
        self._plan = plan

    def items(self) -> Iterator[VideoFrame]:
        """Yield the frames. Raises NotSplittable: they differ from the plan, or are damaged."""
        film, plan, at = self._film, self._plan, 0
        try:
            if plan.seek is not None:
                film.begin_at(plan.seek)
        except FFmpegError:
            raise NotSplittable("it cannot be sought in") from None
        for frame in film.items():
            if isinstance(frame, Packet) or (at == 0 and _time(frame) < plan.times[0]):
                continue
            if at == len(plan.times) or _time(frame) != plan.times[at]:
                raise NotSplittable("its frames do not have the times in its index")
            if film.damaged:
                raise NotSplittable("it is damaged")
            if film.deinterlaced:
                raise NotSplittable("it is interlaced, so frames depend on earlier ones")
            at += 1
            yield frame
            if at == len(plan.times) and not plan.last:
                return
        if at < len(plan.times) or film.damaged:
            raise NotSplittable("it is damaged")


def _time(frame: VideoFrame) -> int:
    assert frame.pts is not None  # `Film.items` gives every frame a time
    return frame.pts
