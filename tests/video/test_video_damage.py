"""Damaged, truncated and hostile videos."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from av.error import FFmpegError

from st.runtime.errors import BadInput
from st.video.jobs.job import Job, open_reader
from tests.support.video import clips
from tests.support.video.golden import stylize


def decodable(path: Path) -> int:
    """The frames that decoding packet by packet returns."""
    count = 0
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        packets = film.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return count
            except FFmpegError:
                return count
            try:
                count += len(packet.decode())
            except (FFmpegError, EOFError):
                continue


def payload(path: Path) -> tuple[int, int]:
    """Start and end of the media data of an MP4."""
    data = path.read_bytes()
    place = 0
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind == b"mdat":
            return place + 8, place + size
        place += size
    raise AssertionError("no mdat")


def test_damage_is_decoded_around_and_counted(tmp_path: Path) -> None:
    source = clips.film(
        tmp_path / "in.mp4", size=(120, 160), frames=48, sounds=1, options={"qp": "20"}
    )
    whole = source.read_bytes()
    begin, end = payload(source)
    damaged = tmp_path / "damaged.mp4"
    random = np.random.default_rng(3)
    told = 0
    for _ in range(12):
        data = bytearray(whole)
        for place in random.integers(begin, end, 40):
            data[place] = random.integers(256)
        damaged.write_bytes(data)
        lines: list[str] = []
        result = stylize(damaged, tmp_path / "out.mp4", lines=lines)
        assert result.frames >= 0.99 * decodable(damaged)
        assert sum("damaged" in line for line in lines) == bool(result.damaged)
        told += result.damaged
        sounds = [
            sum(len(data) for _, data in clips.packets(path, "audio"))
            for path in (damaged, tmp_path / "out.mp4")
        ]
        assert sounds[0] == sounds[1]
    assert told


def test_a_truncated_video_keeps_all_frames_before_the_cut(tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mkv", sounds=1, frames=48)
    whole = source.read_bytes()
    cut = tmp_path / "cut.mkv"
    for share in (0.3, 0.5, 0.71, 0.9, 0.99):
        cut.write_bytes(whole[: int(len(whole) * share)])
        stylize(cut, tmp_path / "out.mkv")
        assert len(clips.read(tmp_path / "out.mkv")) >= decodable(cut) > 0


def test_raw_frames_of_a_video_with_gaps_keep_its_length(tmp_path: Path) -> None:
    """In an output without timestamps, a missing frame is replaced by the previous one."""
    step = 512
    times = [i * step for i in range(24) if i not in (5, 6, 11)]
    source = clips.film(tmp_path / "in.mp4", times=times)
    stylize(source, tmp_path / "frames")
    rate = av.open(str(source)).streams.video[0].average_rate
    assert rate is not None
    expected = round(times[-1] / 12288 * rate) + 1
    assert len(list((tmp_path / "frames").iterdir())) == expected


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile {0}\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{0}\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S"><Period><AdaptationSet><Representation id="0" '
    'mimeType="video/mp4"><BaseURL>{0}</BaseURL></Representation></AdaptationSet></Period></MPD>',
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_playlists_named_as_videos_are_refused(kind: str, tmp_path: Path) -> None:
    clips.film(tmp_path / "other.mp4", frames=3)
    bait = tmp_path / "film.mp4"
    bait.write_text(PLAYLISTS[kind].format("other.mp4"))
    with pytest.raises(BadInput, match="no video that st can read"):
        open_reader(Job(bait))


def test_bad_videos_give_one_line(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    source = clips.film(tmp_path / "in.mp4", frames=3).read_bytes()
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as target:
        stream = target.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        target.mux(stream.encode(frame))
    for number, data in enumerate(
        (b"", b"\0" * 100, random.bytes(5000), source[:500], source[-500:], sound.read_bytes())
    ):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(data)
        with pytest.raises(BadInput) as error:
            open_reader(Job(path))
        assert "\n" not in str(error.value)
    with pytest.raises(BadInput, match="no such file"):
        open_reader(Job(tmp_path / "concat:a|b"))
