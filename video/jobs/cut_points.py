"""Where a film can be cut, so that its parts are painted apart from each other.

A film's parts have a fixed number of frames, wherever its keyframes are. So a part is decoded from
the keyframe before it, and what comes before its first frame is dropped. The times of all frames
are read beforehand, from the packets alone: a part whose frames have other times is not this one.
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

from st.video.film.reader import SEEKABLE, Film, main_picture, open_container


class Uncuttable(Exception):
    """The film, or a part of it, can only be painted from its beginning on; the message is why."""


@dataclass(frozen=True)
class Cut:
    """One part of a film.

    times: of its frames, in ticks of the picture, as `Film.items` gives them.
    seek: where to go first, for `Film.begin_at`; None: where the film begins when it is opened.
    last: the film ends with it.
    """

    number: int
    times: tuple[int, ...]
    seek: int | None
    last: bool


def cuts_of(source: Path, film: Film, frames: int) -> list[Cut]:
    """The parts of a film, of so many frames each. film: the same file, opened.

    Reads the whole file, and decodes nothing. Raises Uncuttable.
    """
    formats = set(film.container.format.name.split(","))
    if not formats & {*SEEKABLE}:
        raise Uncuttable("only MP4, MOV, Matroska and WebM films have an index to cut by")
    pictures = _pictures(source, film.name)
    times = sorted(time for time, _, _ in pictures)
    if len(set(times)) < len(times):
        raise Uncuttable("two of its frames have the same time")
    # MP4 is sought in by decoding times, Matroska by those that a viewer sees.
    by_decoding = "mov" in formats
    keys = sorted((time, coded if by_decoding else time) for time, coded, key in pictures if key)
    times = [time for time in times if _shown(film, time)]
    shift = round(film.offset / film.time_base)
    cuts = []
    for number, first in enumerate(range(0, len(times), frames)):
        own = times[first : first + frames]
        before = bisect_right(keys, own[0], key=lambda key: key[0])
        if number and not before:
            raise Uncuttable("it has no keyframe where its picture begins")
        seek = keys[before - 1][1] if number else None
        last = first + frames >= len(times)
        cuts.append(Cut(number, tuple(time - shift for time in own), seek, last))
    return cuts


def _pictures(source: Path, name: str) -> list[tuple[int, int, bool]]:
    """(time, decoding time, whether a keyframe) of every packet of the picture that is shown."""
    found: list[tuple[int, int, bool]] = []
    try:
        with closing(open_container(source, name)) as container:
            for packet in container.demux(main_picture(container, name)):
                if not packet.size or packet.is_discard:
                    continue
                if packet.pts is None:
                    raise Uncuttable("not all of its frames have a time")
                coded = packet.pts if packet.dts is None else packet.dts
                found.append((packet.pts, coded, packet.is_keyframe))
    except (FFmpegError, UnicodeDecodeError):
        raise Uncuttable("it is damaged") from None
    return found


def _shown(film: Film, time: int) -> bool:
    seconds = time * Fraction(film.time_base) - film.begins
    return not (film.window.ends_before(seconds) or film.window.starts_after(seconds))


class Piece:
    """The frames of one part: a source for `st.video.jobs.pipeline.run`."""

    def __init__(self, film: Film, cut: Cut) -> None:
        """film: newly opened."""
        self.look = film.look
        self._film = film
        self._cut = cut

    def items(self) -> Iterator[VideoFrame]:
        """Raises Uncuttable: the frames are not those of the cut, or are damaged."""
        film, cut, at = self._film, self._cut, 0
        try:
            if cut.seek is not None:
                film.begin_at(cut.seek)
        except FFmpegError:
            raise Uncuttable("it cannot be sought in") from None
        for frame in film.items():
            if isinstance(frame, Packet) or (at == 0 and _time(frame) < cut.times[0]):
                continue
            if at == len(cut.times) or _time(frame) != cut.times[at]:
                raise Uncuttable("its frames are not at the times that its index says")
            if film.damaged:
                raise Uncuttable("it is damaged")
            if film.deinterlaced:
                raise Uncuttable("it is interlaced, and so frames depend on those before them")
            at += 1
            yield frame
            if at == len(cut.times) and not cut.last:
                return
        if at < len(cut.times) or film.damaged:
            raise Uncuttable("it is damaged")


def _time(frame: VideoFrame) -> int:
    assert frame.pts is not None  # `Film.items` gives every frame a time
    return frame.pts
