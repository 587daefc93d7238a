"""Videos without frames, with jumping timestamps, changing sizes, or thousands of tracks."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame

from tests.support.hostile.bad_files import Box, kind
from tests.support.hostile.bad_films import boxes


def coded(box: Box, times: list[int], suffix: str = ".mkv", **choices: Any) -> bytes:
    """A video with frames at these times, in milliseconds. choices: size, rate, aspect."""
    path = box.folder / f"made{suffix}"
    size = choices.get("size", (32, 48))
    with av.open(str(path), "w") as target:
        stream: Any = target.add_stream("libx264", rate=choices.get("rate", 25))
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"bf": "0", "preset": "ultrafast"}
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        if "aspect" in choices:
            stream.codec_context.sample_aspect_ratio = choices["aspect"]
        for number, time in enumerate(times):
            rgb = np.full((*size, 3), 40 * number % 256, np.uint8)
            frame = VideoFrame.from_ndarray(rgb).reformat(format="yuv420p")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    data = path.read_bytes()
    path.unlink()
    return data


@kind("film")
def film_of_no_frames(box: Box) -> str:
    path = box.folder / "none.mkv"
    with av.open(str(path), "w") as target:
        stream: Any = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        target.start_encoding()
    return str(path)


@kind("film")
def film_of_subtitles(box: Box) -> str:
    """A file with a subtitle track only."""
    path = box.folder / "text.mkv"
    with av.open(str(path), "w") as target:
        stream: Any = target.add_stream("subrip")
        stream.codec_context.subtitle_header = b"[Script Info]\r\n"
        stream.time_base = Fraction(1, 1000)
        target.start_encoding()
        packet = av.Packet(b"hello")
        packet.stream, packet.pts, packet.dts, packet.duration = stream, 0, 0, 1000
        packet.time_base = Fraction(1, 1000)
        target.mux(packet)
    return str(path)


@kind("film", usable=True)
def timestamps_that_jump(box: Box) -> bytes:
    far = int(box.random.choice([10**6, 10**9, 10**11]))
    return coded(box, [0, 40, far, far + 40])


@kind("film", usable=True)
def clock_that_begins_late_or_stands(box: Box) -> bytes:
    begin = int(box.random.choice([0, 10**7, 10**10]))
    return coded(box, [begin, begin + 1, begin + 2, begin + 3])


@kind("film", usable=True)
def rate_beyond_reason(box: Box) -> bytes:
    rate = (Fraction(1, 3600), Fraction(1000), Fraction(240_001, 1001))[box.random.integers(3)]
    return coded(box, [0, 40, 80], rate=rate)


@kind("film", usable=True)
def pixels_beyond_reason(box: Box) -> bytes:
    aspect = (Fraction(1, 30_000), Fraction(30_000), Fraction(99, 1))[box.random.integers(3)]
    return coded(box, [0, 40, 80], ".mp4", aspect=aspect)


@kind("film", usable=True)
def sizes_that_change(box: Box) -> bytes:
    """Two H.264 streams of different sizes, one after the other."""
    return coded(box, [0, 40, 80], ".h264") + coded(box, [0, 40, 80], ".h264", size=(80, 96))


@kind("film", usable=True)
def smallest_film(box: Box) -> bytes:
    return coded(box, [0], size=(2, 2))


@kind("film", usable=True)
def film_of_thousands_of_tracks(box: Box) -> bytes:
    """An MP4 whose one track is listed three thousand times."""
    data = box.good.files["film"][0]
    start = data.index(b"moov") - 4
    size = struct.unpack(">I", data[start : start + 4])[0]
    moov = data[start + 8 : start + size]
    at = moov.index(b"trak") - 4
    track = moov[at : at + struct.unpack(">I", moov[at : at + 4])[0]]
    return data[:start] + boxes(b"moov", moov[:at], track * 3000, moov[at + len(track) :])


@kind("film", usable=True, often=True)
def matrix_of_noise(box: Box) -> bytes:
    """A random display matrix."""
    data = bytearray(box.good.files["film"][0])
    place = data.index(b"tkhd") + 4 + 40
    data[place : place + 36] = box.random.bytes(36)
    return bytes(data)


@kind("film", usable=True)
def edits_without_end(box: Box) -> bytes:
    data = bytearray(box.good.files["film"][0])
    place = data.find(b"elst")
    if place > 0:
        data[place + 8 : place + 12] = struct.pack(">I", 2**28)
    return bytes(data)


@kind("film", usable=True)
def raw_film_of_no_rate(box: Box) -> bytes:
    rate = (b"F0:0", b"F1:0", b"F4294967295:1", b"F-5:1")[box.random.integers(4)]
    return b"YUV4MPEG2 W16 H16 " + rate + b" Ip A0:0 C420\nFRAME\n" + bytes(384)


@kind("film", usable=True)
def gif_that_never_waits(box: Box) -> bytes:
    frame = b"!\xf9\4\4\0\0\0\0," + struct.pack("<HHHHB", 0, 0, 8, 8, 0) + b"\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x81, 0, 0) + bytes(12) + frame * 200 + b";"


@kind("film", usable=True)
def sound_with_a_cover(box: Box) -> str:
    """A song with cover art: a video of one frame at most."""
    path = box.folder / "song.mkv"
    with av.open(str(path), "w") as target:
        target.add_attachment(
            "cover.png", "image/png", (box.good.folder / "picture.png").read_bytes()
        )
        tone: Any = target.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = 8000, 0
        target.mux(tone.encode(frame))
        target.mux(tone.encode(None))
    return str(path)
