"""Videos of all kinds, each with the expected properties of the result."""

from __future__ import annotations

import io
import json
import os
import re
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.subtitles.subtitle import SubtitleSet
from click.testing import CliRunner
from PIL import Image

from st.runtime.errors import BadInput
from st.video.command import main
from st.video.film.image_sequence import is_sequence
from st.video.film.time_range import TimeRange
from st.video.jobs.job import Job, open_reader
from st.video.jobs.segment_store import SegmentStore
from st.video.jobs.targets import with_suffix_text
from tests.support.toys import identity_engine
from tests.support.video import clips
from tests.support.video.golden import stylize

STEP = 1 / clips.RATE


def times(path: Path, kind: str = "video") -> list[float]:
    """Times of a stream's packets in seconds after the first picture, in order."""
    begin = min(when for when, _ in clips.packets(path, "video"))
    return sorted(when - begin for when, _ in clips.packets(path, kind))


def moved(source: Path, target: Path, seconds: float) -> Path:
    """The same packets with another start time."""
    with av.open(str(source)) as film, av.open(str(target), "w") as made:
        copies = {s.index: made.add_stream_from_template(s) for s in film.streams}
        for packet in film.demux():
            if packet.dts is None or packet.pts is None:
                continue
            shift = round(seconds / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = copies[packet.stream_index]
            made.mux(packet)
    return target


@pytest.mark.parametrize("target", ["out.ts", "out.mkv", "out.mp4"])
@pytest.mark.parametrize(
    ("clock", "sounds"),
    [(0.0, 1), (0.8, 1), (3600.0, 1), (0.0, 0)],
    ids=["anew", "back 0.2 s", "an hour on", "picture only"],
)
def test_concatenated_streams_are_read_as_one_video(
    clock: float, sounds: int, target: str, tmp_path: Path
) -> None:
    first = clips.film(tmp_path / "1.ts", sounds=sounds, time_base=Fraction(1, 90000))
    second = moved(first, tmp_path / "2.ts", clock) if clock else first
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    lines: list[str] = []
    stylize(joined, tmp_path / target, lines=lines)
    assert any("timestamp jumps removed" in line for line in lines)
    pictures = times(tmp_path / target)
    assert len(pictures) == 2 * clips.FRAMES
    assert pictures[-1] == pytest.approx(47 * STEP, abs=0.06)
    assert np.diff(pictures).min() > STEP / 2
    if sounds:
        # The second half's sound begins where its picture does.
        sound = times(tmp_path / target, "audio")
        own = times(first, "audio")
        half = len(sound) // 2
        assert sound[half] - pictures[clips.FRAMES] == pytest.approx(own[0], abs=0.03)


@pytest.mark.parametrize("name", ["my%20dog.mp4", "100%d.mkv"])
def test_a_percent_sign_in_a_name_is_not_a_pattern(name: str, tmp_path: Path) -> None:
    source = clips.film(tmp_path / name, frames=3)
    assert not is_sequence(source)
    assert stylize(source, tmp_path / f"out-{name}").frames == 3
    assert is_sequence(tmp_path / "%05d.png")
    assert len(clips.read(tmp_path / f"out-{name}")) == 3


def with_sound(path: Path, layout: str, rate: int, codec: str) -> Path:
    """A video with a tone of one second, louder in the left channels."""
    channels = av.AudioLayout(layout).nb_channels
    wave = 8000 * np.sin(np.arange(rate) * 440 * 2 * np.pi / rate)
    loud = np.linspace(1, 0.1, channels)
    with av.open(str(path), "w") as target:
        video: Any = target.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound: Any = target.add_stream(codec, rate=rate)
        sound.codec_context.layout = layout
        for _ in range(25):
            target.mux(video.encode(av.VideoFrame.from_ndarray(clips.scene(0))))
        samples = np.round(wave[:, None] * loud).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, "s16", layout)
        frame.sample_rate = rate
        target.mux(sound.encode(frame))
        target.mux(video.encode(None))
        target.mux(sound.encode(None))
    return path


@pytest.mark.parametrize(
    ("layout", "rate", "codec", "suffix", "kept", "word"),
    [
        (
            "2 channels",
            44100,
            "pcm_s16le",
            ".mp4",
            ("pcm_s16le", 2, 44100),
            "channel layout is now stereo",
        ),
        ("2 channels", 44100, "pcm_s16le", ".webm", ("opus", 2, 48000), "converted to Opus"),
        ("5.1(side)", 48000, "ac3", ".webm", ("opus", 6, 48000), "converted to Opus"),
        ("mono", 37800, "pcm_s16le", ".ts", ("aac", 1, 44100), "converted to AAC"),
        ("stereo", 192000, "pcm_s16le", ".ts", ("aac", 2, 96000), "from 192000 to 96000 Hz"),
        ("16 channels", 48000, "pcm_s16le", ".webm", ("opus", 8, 48000), "16 channels to 8"),
        ("9 channels", 48000, "pcm_s16le", ".webm", ("opus", 2, 48000), "9 channels to 2"),
        ("mono", 48000, "alac", ".ts", ("aac", 1, 48000), "converted to AAC"),
    ],
)
def test_sound_is_fitted_to_the_container(
    layout: str,
    rate: int,
    codec: str,
    suffix: str,
    kept: tuple[str, int, int],
    word: str,
    tmp_path: Path,
) -> None:
    source = with_sound(tmp_path / "in.mkv", layout, rate, codec)
    lines: list[str] = []
    stylize(source, tmp_path / f"out{suffix}", lines=lines)
    assert len(lines) == 1
    assert word in lines[0]
    with av.open(str(tmp_path / f"out{suffix}")) as film:
        context = film.streams.audio[0].codec_context
        assert (context.name, context.channels, context.sample_rate) == kept
        frames = list(film.decode(audio=0))
    assert sum(f.samples for f in frames) / kept[2] == pytest.approx(1, abs=0.05)
    mono = av.AudioResampler("flt", "mono", kept[2])
    loudest = max(float(np.abs(m.to_ndarray()).max()) for f in frames for m in mono.resample(f))
    assert loudest > 0.02


def test_a_camera_video_keeps_its_time_code(tmp_path: Path) -> None:
    source = tmp_path / "in.mov"
    with av.open(str(source), "w") as target:
        video: Any = target.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.metadata["timecode"] = "01:02:03:04"
        for number in range(12):
            target.mux(video.encode(av.VideoFrame.from_ndarray(clips.scene(number))))
        target.mux(video.encode(None))
    for name in ("out.mov", "out.mp4", "out.mkv"):
        lines: list[str] = []
        assert stylize(source, tmp_path / name, lines=lines).frames == 12
        assert lines == []
        with av.open(str(tmp_path / name)) as film:
            told = {k.lower(): v for s in film.streams for k, v in s.metadata.items()}
        assert told["timecode"] == "01:02:03:04", name


def test_overlapping_subtitles_keep_their_times(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as target:
        video: Any = target.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        text: Any = target.add_stream("subrip")
        text.codec_context.time_base = text.time_base = Fraction(1, 1000)
        text.codec_context.subtitle_header = clips.ASS_HEADER
        target.start_encoding()
        for number in range(6):
            line = b"%d,0,Default,,0,0,0,,line %d" % (number, number)
            packet = text.codec_context.encode_subtitle(
                SubtitleSet.create(text=line, start=0, end=500, pts=number * 300_000)
            )
            packet.stream, packet.time_base = text, Fraction(1, 1000)
            packet.pts = packet.dts = number * 300
            packet.duration = 500
            target.mux(packet)
        for _ in range(60):
            target.mux(video.encode(av.VideoFrame.from_ndarray(clips.scene(0))))
        target.mux(video.encode(None))
    for name in ("out.mp4", "out.mov"):
        stylize(source, tmp_path / name)
        shown = [(when, text[2:]) for when, text in clips.packets(tmp_path / name, "subtitle")]
        begins = [when for when, text in shown if text]
        assert begins == pytest.approx([0.3 * n for n in range(6)], abs=0.002)


def cover() -> bytes:
    file = io.BytesIO()
    Image.fromarray(clips.scene(3, 40, 40)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_the_video_is_painted_and_not_the_cover_before_it(suffix: str, tmp_path: Path) -> None:
    source = clips.film_behind_a_still(tmp_path / f"in{suffix}")
    lines: list[str] = []
    result = stylize(source, tmp_path / f"out{suffix}", lines=lines)
    assert (result.frames, result.width, result.height) == (10, 64, 48)
    assert len(lines) == 1
    assert "second video stream: copied, not painted" in lines[0]


@pytest.mark.parametrize(("suffix", "stays"), [(".mkv", True), (".mp4", True), (".webm", False)])
def test_cover_pictures_are_kept_where_the_container_allows(
    suffix: str, stays: bool, tmp_path: Path
) -> None:
    film = clips.film(tmp_path / "film.mkv", frames=6)
    source = tmp_path / "in.mkv"
    data = cover()
    with av.open(str(film)) as plain, av.open(str(source), "w") as made:
        copy = made.add_stream_from_template(plain.streams.video[0])
        made.add_attachment("cover.jpg", "image/jpeg", data)
        for packet in plain.demux():
            if packet.size:
                packet.stream = copy
                made.mux(packet)
    lines: list[str] = []
    stylize(source, tmp_path / f"out{suffix}", lines=lines)
    with av.open(str(tmp_path / f"out{suffix}")) as made:
        covers = [s for s in made.streams.video if s.disposition & 0x400]
        assert len(covers) == stays
        assert len(made.streams.video) == 1 + stays
        if stays:
            assert next(bytes(p) for p in made.demux(covers[0]) if p.size) == data
    assert ["cover" in line and "left out" in line for line in lines] == [True] * (not stays)


def test_frames_removed_by_an_edit_list_stay_removed(tmp_path: Path) -> None:
    whole = clips.film(tmp_path / "whole.mp4", frames=72, sounds=1)
    trimmed = moved(whole, tmp_path / "trimmed.mp4", -1.25)  # negative times: an edit list
    wanted = [float(f.time or 0) for f in clips.read(trimmed)]
    assert len(wanted) < 72
    stylize(trimmed, tmp_path / "out.mkv")
    pictures = times(tmp_path / "out.mkv")
    assert len(pictures) == len(wanted)
    sound = times(tmp_path / "out.mkv", "audio")
    assert sound[0] > -0.06
    assert sound[-1] == pytest.approx(clips.packets(trimmed, "audio")[-1][0], abs=0.03)


def test_closed_captions_are_kept(tmp_path: Path) -> None:
    raw = clips.film(tmp_path / "in.h264", frames=8, options={"x264-params": "bframes=0"})
    slices = re.split(rb"(?=\x00\x00\x01[\x65\x61\x41\x25\x21\x01])", raw.read_bytes())
    data = slices[0]
    for number, coded in enumerate(slices[1:]):
        text = b"\xb5\x00\x31GA94\x03\x41\xff\xfc\x94" + bytes([0x20 + number]) + b"\xff"
        data += b"\0\0\0\1\x06\x04" + bytes([len(text)]) + text + b"\x80" + coded
    raw.write_bytes(data)
    wanted = [b"\xfc\x94" + bytes([0x20 + number]) for number in range(8)]
    for choices in ({}, {"size": 32}):
        stylize(raw, tmp_path / "out.mp4", **choices)
        got = [bytes(f.side_data["A53_CC"]) for f in clips.read(tmp_path / "out.mp4")]
        assert got == wanted
    lines: list[str] = []
    stylize(raw, tmp_path / "out.webm", lines=lines)
    assert lines == ["closed captions are left out: h264 keeps them"]


@pytest.mark.parametrize(("alpha", "suffix"), [(False, ".mp4"), (True, ".mkv")])
@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_animations_are_painted_with_their_times(
    form: str, alpha: bool, suffix: str, tmp_path: Path
) -> None:
    source = tmp_path / f"in.{form.lower()}"
    frames = []
    for number in range(4):
        rgba = np.dstack([clips.scene(number), np.full((48, 64), 255, np.uint8)])
        if alpha:
            rgba[:20, :, 3] = 0
        frames.append(Image.fromarray(rgba))
    frames[0].save(
        source, form, save_all=True, append_images=frames[1:], duration=120, lossless=True
    )
    engine = identity_engine(tmp_path / "identity.onnx")
    done = CliRunner().invoke(main, [str(source), "--engine", str(engine), "--json"])
    told = json.loads(done.stdout)
    assert told["warnings"] == []
    assert told["output"] == str(tmp_path / f"in_stylized{suffix}")
    assert [float(f.time or 0) for f in clips.read(Path(told["output"]))] == pytest.approx(
        [0, 0.12, 0.24, 0.36], abs=0.002
    )
    lines: list[str] = []
    stylize(source, tmp_path / "out.mp4", lines=lines)
    assert [("transparency" in line) for line in lines] == [True] * alpha


def test_a_picture_as_input_suggests_st_image(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(cover())
    with pytest.raises(BadInput, match="is a picture, not a video; st-image paints it"):
        open_reader(Job(tmp_path / "a.jpg"))


def test_mp4_on_a_pipe_with_its_index_at_the_end(tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mp4", sounds=1)
    assert source.read_bytes().find(b"mdat") < source.read_bytes().find(b"moov")
    read, write = os.pipe()
    with os.fdopen(read, "rb") as pipe, os.fdopen(write, "wb") as pour:
        data = source.read_bytes()
        feeder = threading.Thread(target=lambda: (pour.write(data), pour.close()))
        feeder.start()
        reader = open_reader(Job(pipe))
        feeder.join()
        frames = [item for item in reader.items() if isinstance(item, av.VideoFrame)]
        reader.close()
    assert len(frames) == clips.FRAMES


@pytest.mark.parametrize("start", ["1.3", "2.1"])
def test_a_start_time_in_avi_keeps_picture_and_sound_in_sync(start: str, tmp_path: Path) -> None:
    source = tmp_path / "in.avi"
    with av.open(str(source), "w") as target:
        video: Any = target.add_stream("mpeg4", rate=5)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound: Any = target.add_stream("pcm_s16le", rate=8000)
        sound.codec_context.layout = "mono"
        for number in range(20):
            target.mux(video.encode(av.VideoFrame.from_ndarray(clips.scene(number))))
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 8000, 1600 * number
            frame.time_base = Fraction(1, 8000)
            target.mux(sound.encode(frame))
        target.mux(video.encode(None))
    stylize(source, tmp_path / "out.mkv", time_range=TimeRange(Fraction(start), Fraction(1)))
    first = min(when for when, _ in clips.packets(tmp_path / "out.mkv", "video"))
    sound_first = min(when for when, _ in clips.packets(tmp_path / "out.mkv", "audio"))
    own = {round(when, 3) for when, _ in clips.packets(source, "audio")}
    shift = float(Fraction(start))
    assert (first + shift) % 0.2 == pytest.approx(0.1, abs=0.102)
    assert min(abs(sound_first + shift - when) for when in own) < 0.002
    assert first + shift == pytest.approx(np.ceil(shift / 0.2 - 1e-6) * 0.2, abs=0.002)


def test_links_and_pipes_as_outputs_are_written_through(tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mkv", sounds=1)
    (tmp_path / "deep").mkdir()
    link = tmp_path / "link.mkv"
    link.symlink_to("deep/film.mkv")
    stylize(source, link, settings="nothing")
    assert link.is_symlink()
    assert len(clips.read(tmp_path / "deep/film.mkv")) == clips.FRAMES
    pipe = tmp_path / "pipe.mkv"
    os.mkfifo(pipe)
    taken: list[bytes] = []
    reader = threading.Thread(target=lambda: taken.append(pipe.read_bytes()))
    reader.start()
    stylize(source, pipe, settings="nothing")
    reader.join()
    assert pipe.is_fifo()
    (tmp_path / "got.mkv").write_bytes(taken[0])
    assert len(clips.read(tmp_path / "got.mkv")) == clips.FRAMES
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(BadInput, match="cannot be written into a pipe"):
        stylize(source, tmp_path / "pipe.mp4")


@pytest.mark.parametrize("letter", ["x", "ß", "貓"])
def test_the_longest_names(letter: str, tmp_path: Path) -> None:
    room = 255 - len(b".mp4")
    size = len(letter.encode())
    source = clips.film(tmp_path / "in.mp4", frames=3)
    target = tmp_path / (letter * (room // size) + "y" * (room % size) + ".mp4")
    assert len(os.fsencode(target.name)) == 255
    assert stylize(source, target, settings="nothing").frames == 3
    assert len(clips.read(target)) == 3
    name = with_suffix_text(target, "_stylized").name
    assert len(os.fsencode(name)) in range(253, 256)
    with_store = SegmentStore(target)
    assert len(os.fsencode(with_store.folder.name)) <= 255
    with_store.close()


def test_json_escapes_a_name_once(tmp_path: Path) -> None:
    source = tmp_path / "a\x1b[1m ü.mkv"
    clips.film(source, frames=2)
    engine = identity_engine(tmp_path / "identity.onnx")
    done = CliRunner().invoke(main, [str(source), "--engine", str(engine), "--json"])
    told = json.loads(done.stdout)
    assert told["input"] == str(source)
    assert Path(told["output"]).is_file()
    assert "\x1b" not in done.output
