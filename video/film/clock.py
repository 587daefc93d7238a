"""Continuous timestamps for files whose timestamps jump: joined recordings, restarted broadcasts.

A jump found in one stream shifts all streams by the same time, so sound and subtitles stay in sync
with the picture. The limits are those of the ffmpeg program (`-dts_delta_threshold`, and 0.1 s
backward). Unlike ffmpeg, a packet that precedes the jump in the file keeps the old offset, however
late the demuxer returns it: MPEG interleaves the packets of its streams.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet

BACKWARD = 0.1  # seconds by which a stream's decoding times may step back
FORWARD = 10.0  # seconds ahead of all streams, in formats whose clock may jump (MPEG-TS and -PS)
FORWARD_ELSEWHERE = 3600.0  # in all other formats, where a longer gap means damage
_TIMED = ("audio", "video")  # subtitles and data may have gaps of any length


@dataclass(eq=False)
class _Section:
    """A part of the file between two jumps.

    offset: seconds added to its timestamps. start: file position of the jump; -1 if unknown.
    latest: the last decoding time in it, before the offset.
    """

    offset: Fraction = Fraction(0)
    start: int = -1
    latest: float = 0.0


@dataclass(eq=False)
class _Stream:
    """The state of a stream. last, next: decoding times of the last packet and the one after it,
    with the offset."""

    section: _Section
    position: int = -1
    last: float | None = None
    next: float = 0.0


class Clock:
    """Corrects the timestamps of packets, which must come in file order.

    jumps: number of jumps removed so far.
    """

    def __init__(self, container: InputContainer) -> None:
        may_jump = container.format.flags & Flags.ts_discont.value
        self._forward = FORWARD if may_jump else FORWARD_ELSEWHERE
        self._section = _Section()
        self._streams: dict[int, _Stream] = {}
        self._end: float | None = None  # of all packets so far, with the offset
        self.jumps = 0

    def correct(self, packet: Packet[Any]) -> None:
        """Shift the packet's timestamps so that they continue those at the start of the file."""
        stream = self._streams.setdefault(packet.stream_index, _Stream(self._section))
        if packet.pos is not None and packet.pos >= 0:
            stream.position = packet.pos
        if 0 <= self._section.start < stream.position:
            stream.section = self._section
        # Presentation times are not monotonic with B-frames: only decoding times show a jump.
        if packet.dts is not None and packet.stream.type in _TIMED:
            self._follow(stream, packet, float(packet.dts * packet.time_base))
        if shift := round(stream.section.offset / packet.time_base):
            packet.dts = None if packet.dts is None else packet.dts + shift
            packet.pts = None if packet.pts is None else packet.pts + shift

    def _follow(self, stream: _Stream, packet: Packet[Any], raw: float) -> None:
        """Record a stream's decoding time, in seconds; change the section if it jumps."""
        if self._jumps(stream, raw):
            self._change_section(stream, raw)
        stream.section.latest = raw
        stream.last = raw + float(stream.section.offset)
        stream.next = stream.last + _seconds(packet)
        self._end = stream.next if self._end is None else max(self._end, stream.next)

    def _change_section(self, stream: _Stream, raw: float) -> None:
        """Move the stream to the newest section if the time fits it, else begin a new one."""
        newest = self._section
        if stream.section is not newest and abs(raw - newest.latest) < FORWARD:
            stream.section = newest
            if not self._jumps(stream, raw):
                return
        before = self._end if stream.last is None else stream.next
        offset = Fraction((before or 0) - raw).limit_denominator(av.time_base)
        self._section = stream.section = _Section(offset, stream.position)
        self.jumps += 1

    def _jumps(self, stream: _Stream, raw: float) -> bool:
        time = raw + float(stream.section.offset)
        if stream.last is not None and time < stream.last - BACKWARD:
            return True
        return self._end is not None and time > self._end + self._forward


def _seconds(packet: Packet[Any]) -> float:
    if packet.duration:
        return float(packet.duration * packet.time_base)
    rate = getattr(packet.stream, "average_rate", None)
    return float(1 / rate) if rate else 0.0
