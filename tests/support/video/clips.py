"""Small videos made with PyAV, each with one special property."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.subtitles.subtitle import SubtitleSet
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

HEIGHT, WIDTH, FRAMES, RATE = 48, 64, 24, 24
ASS_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\n"
    b"Format: Name, Fontname, Fontsize, PrimaryColor, SecondaryColor, OutlineColor, BackColor, "
    b"Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, "
    b"Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\r\n"
    b"Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0\r\n"
    b"\r\n[Events]\r\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)


def scene(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A smooth moving picture, (height, width, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    t = number / 8
    channels = (
        128 + 90 * np.sin(x / width * 4 + t),
        128 + 90 * np.cos(y / height * 4 - t),
        128 + 90 * np.sin((x + y) / (width + height) * 5 + t),
    )
    return np.stack(channels, -1).round().astype(np.uint8)


def film(
    path: Path,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (HEIGHT, WIDTH),
    frames: int = FRAMES,
    tags: tuple[int, int, int, int] | None = (1, 1, 1, 1),
    times: list[int] | None = None,
    time_base: Fraction = Fraction(1, 12288),
    rotation: float | None = None,
    aspect: Fraction = Fraction(1),
    sounds: int = 0,
    subtitles: str = "",
    chapters: bool = False,
    attachment: bytes = b"",
    interlaced: bool = False,
    alpha: bool = False,
    options: dict[str, str] | None = None,
    keyframes: int = 12,
) -> Path:
    """Write a video.

    size: (height, width). tags: matrix, range, primaries, transfer.
    times: a timestamp for each frame, in `time_base`.
    """
    height, width = size
    times = times or [round(i / RATE / time_base) for i in range(frames)]
    settings = {"libx264": {"qp": "1", "preset": "ultrafast"}}.get(codec, {}) | (options or {})
    if interlaced:
        settings["x264-params"] = "tff=1"
    with av.open(str(path), "w") as target:
        target.metadata["title"] = "A golden clip"
        video: Any = target.add_stream(codec, rate=RATE, options=settings)
        context = video.codec_context
        context.width, context.height, context.pix_fmt = width, height, pixels
        context.time_base = video.time_base = time_base
        context.sample_aspect_ratio = aspect
        context.gop_size = keyframes
        context.thread_count = 1
        if tags:
            _stamp(context, tags)
        if interlaced:
            context.flags |= av.codec.context.Flags.interlaced_dct
        if rotation is not None:
            video.set_display_rotation(rotation)
        tones = [_sound(target, number) for number in range(sounds)]
        text = _subtitles(target, subtitles) if subtitles else None
        if attachment:
            target.add_attachment("font.ttf", "application/x-truetype-font", attachment)
        if chapters:
            target.set_chapters([_chapter(0, 0, 500, "one"), _chapter(1, 500, 1000, "two")])
        target.start_encoding()
        if text:
            _write_subtitles(target, text)
        for number, pts in enumerate(times):
            target.mux(video.encode(_frame(number, size, pixels, tags, pts, time_base, alpha)))
            for stream in tones:
                _write_sound(target, stream, number)
        target.mux(video.encode(None))
        for stream in tones:
            target.mux(stream.encode(None))
    return path


def _frame(
    number: int,
    size: tuple[int, int],
    pixels: str,
    tags: tuple[int, int, int, int] | None,
    pts: int,
    time_base: Fraction,
    alpha: bool,
) -> VideoFrame:
    rgb = scene(number, *size)
    source = VideoFrame.from_ndarray(rgb)
    if alpha:
        veil = np.linspace(0, 255, size[1]).round().astype(np.uint8)[None].repeat(size[0], 0)
        source = VideoFrame.from_ndarray(np.dstack([rgb, veil]), "rgba")
    matrix = {1: 1, 6: 5, 9: 9}.get(tags[0], 5) if tags else 5
    frame = source.reformat(
        format=pixels,
        src_color_range=2,
        dst_colorspace=matrix,
        dst_color_range=tags[1] if tags else 1,
        interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND,
    )
    if tags:
        _stamp(frame, tags)
    frame.pts, frame.time_base = pts, time_base
    return frame


def _stamp(target: Any, tags: tuple[int, int, int, int]) -> None:
    target.colorspace, target.color_range, target.color_primaries, target.color_trc = tags


def _chapter(number: int, start: int, end: int, title: str) -> Any:
    return {
        "id": number,
        "start": start,
        "end": end,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }


def _sound(target: Any, number: int) -> Any:
    stream = target.add_stream("aac", rate=48000, options={"b": "64000"})
    stream.codec_context.layout = "mono"
    stream.metadata["language"] = ("eng", "fra")[number % 2]
    return stream


def _write_sound(target: Any, stream: Any, number: int) -> None:
    samples = 48000 // RATE
    t = np.arange(number * samples, (number + 1) * samples) / 48000
    wave = (8000 * np.sin(t * 440 * 2 * np.pi * (1 + stream.index))).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(wave, "s16", "mono")
    frame.sample_rate, frame.pts, frame.time_base = 48000, number * samples, Fraction(1, 48000)
    target.mux(stream.encode(frame))


def _subtitles(target: Any, codec: str) -> Any:
    stream = target.add_stream(codec)
    stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
    stream.codec_context.subtitle_header = ASS_HEADER
    stream.metadata["language"] = "deu"
    return stream


def _write_subtitles(target: Any, stream: Any) -> None:
    for number in range(2):
        line = b"%d,0,Default,,0,0,0,,line %d" % (number, number)
        packet = stream.codec_context.encode_subtitle(
            SubtitleSet.create(text=line, start=0, end=400, pts=number * 500_000)
        )
        packet.stream = stream
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = number * 500
        packet.duration = 400
        target.mux(packet)


def read(path: Path | str) -> list[VideoFrame]:
    """All frames of the first video stream."""
    with av.open(str(path)) as source:
        return list(source.decode(video=0))


def planes(frame: VideoFrame) -> list[np.ndarray]:
    """A frame's planes as 8-bit values, for any bit depth."""
    bits = frame.format.components[0].bits
    kind = np.uint8 if bits == 8 else np.uint16
    size = kind().itemsize
    return [
        np.frombuffer(p, kind).reshape(-1, p.line_size // size)[: p.height, : p.width]
        / 2 ** (bits - 8)
        for p in frame.planes
    ]


def all_packets(path: Path) -> list[list[tuple[Any, ...]]]:
    """Every packet of every stream, without the container's identifiers, which may be random."""
    streams: dict[int, list[tuple[Any, ...]]] = {}
    with av.open(str(path)) as film:
        for packet in film.demux():
            if packet.size:
                told = (packet.pts, packet.dts, packet.duration, packet.is_keyframe, bytes(packet))
                streams.setdefault(packet.stream_index, []).append(told)
    return [streams[index] for index in sorted(streams)]


def packets(path: Path, kind: str, number: int = 0) -> list[tuple[float, bytes]]:
    """(seconds, bytes) of a stream's packets."""
    with av.open(str(path)) as source:
        stream = [s for s in source.streams if s.type == kind][number]
        return [(float(p.pts * p.time_base), bytes(p)) for p in source.demux(stream) if p.size]


def film_behind_a_still(path: Path) -> Path:
    """Ten frames of 64×48 in the second stream; the first is a still, not marked as a cover."""
    with av.open(str(path), "w") as target:
        still: Any = target.add_stream("mjpeg", rate=25)
        still.width, still.height, still.pix_fmt = 40, 40, "yuvj420p"
        video: Any = target.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        target.mux(still.encode(av.VideoFrame.from_ndarray(scene(3, 40, 40))))
        target.mux(still.encode(None))
        for number in range(10):
            target.mux(video.encode(av.VideoFrame.from_ndarray(scene(number))))
        target.mux(video.encode(None))
    return path


def song(path: Path) -> Path:
    """Sound without a picture, one second."""
    with av.open(str(path), "w") as target:
        stream = _sound(target, 0)
        for number in range(RATE):
            _write_sound(target, stream, number)
        target.mux(stream.encode(None))
    return path
