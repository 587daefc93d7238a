"""Videos that open other files, never end, or claim to be huge."""

from __future__ import annotations

import struct

import av
import numpy as np

from tests.support.hostile.bad_files import Box, kind
from tests.support.hostile.bad_pictures import png
from tests.support.hostile.goods import film


def bait(box: Box) -> str:
    """An intact video beside the input, which no playlist may open."""
    return box.write(box.good.files["film"][0], "other.mp4")


@kind("film")
def concat_playlist(box: Box) -> bytes:
    return f"ffconcat version 1.0\nfile {bait(box)}\n".encode()


@kind("film")
def concat_playlist_of_names(box: Box) -> bytes:
    bait(box)
    return b"ffconcat version 1.0\nfile 'other.mp4'\nfile 'other.mp4'\n"


@kind("film")
def hls_playlist(box: Box) -> bytes:
    lines = ("#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:2,", bait(box), "#EXT-X-ENDLIST")
    return "\n".join(lines).encode()


@kind("film")
def hls_playlist_of_the_net(box: Box) -> bytes:
    return (
        b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n"
    )


@kind("film")
def dash_playlist(box: Box) -> bytes:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet><Representation id="0" '
        f'mimeType="video/mp4"><BaseURL>{bait(box)}</BaseURL></Representation></AdaptationSet>'
        "</Period></MPD>"
    ).encode()


@kind("film")
def session_description(box: Box) -> bytes:
    return b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"


@kind("film")
def filter_script(box: Box) -> bytes:
    """Scripts for FFmpeg's lavfi and for Avisynth."""
    return f"movie={bait(box)}\nAviSource('{bait(box)}')\n".encode()


@kind("film")
def subtitles_only(box: Box) -> bytes:
    return b"1\n00:00:00,000 --> 00:00:09,000\nhello\n\n" * 50


@kind("film")
def sound_only(box: Box) -> bytes:
    samples = bytes(8000)
    head = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 8036, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16
    )
    return head + b"data" + struct.pack("<I", len(samples)) + samples


@kind("film")
def raw_film_of_huge_frames(box: Box) -> bytes:
    return b"YUV4MPEG2 W99999 H99999 F25:1 C420\nFRAME\n" + bytes(1000)


@kind("film")
def raw_film_of_large_frames(box: Box) -> bytes:
    """Frames of 250 megapixels, which FFmpeg accepts."""
    return b"YUV4MPEG2 W16000 H15600 F25:1 C420\nFRAME\n" + bytes(1000)


@kind("film")
def gif_film_bomb(box: Box) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"," + bytes(9) + b"\x02;"


def boxes(name: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I4s", len(data) + 8, name) + data


@kind("film", usable=True, often=True)
def mp4_of_huge_counts(box: Box) -> bytes:
    """A sample table that claims up to four billion entries."""
    data = bytearray(box.good.files["film"][0])
    table = (b"stts", b"stsz", b"stsc", b"stco")[box.random.integers(4)]
    place = data.index(table) + (12 if table == b"stsz" else 8)
    data[place : place + 4] = struct.pack(">I", int(box.random.integers(2**20, 2**32)))
    return bytes(data)


@kind("film")
def mp4_boxes_without_end(box: Box) -> bytes:
    inner = b""
    for name in [b"moov", b"trak", b"mdia", b"minf"] * 3000:
        inner = boxes(name, inner)
    return boxes(b"ftyp", b"isom\0\0\0\0isom") + inner


@kind("film")
def mp4_of_pieces_elsewhere(box: Box) -> bytes:
    """A data reference to a path: 'url ' entries that refer to another file."""
    data = box.good.files["film"][0]
    away = boxes(b"url ", bytes(4), str(bait(box)).encode() + b"\0")
    place = data.index(b"dref") - 4
    return data[:place] + boxes(b"dref", bytes(4), struct.pack(">I", 1), away) + data[place + 28 :]


@kind("film")
def matroska_of_endless_element(box: Box) -> bytes:
    return bytes.fromhex("1a45dfa3 01ffffffffffffff 18538067 01ffffffffffffff") + bytes(500)


@kind("film")
def png_bomb_in_a_film(box: Box) -> str:
    """A frame of 20,000 × 20,000 pixels."""
    path = box.folder / box.name
    with av.open(str(path), "w", format="mov") as target:
        stream = target.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "rgb24"  # type: ignore[attr-defined]
        target.start_encoding()
        packet = av.Packet(png(20_000, 20_000))
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        target.mux(packet)
    return str(path)


@kind("film", usable=True)
def names_that_write_to_the_terminal(box: Box) -> str:
    path = film(box.folder / "made.mkv", "libx264")
    marked = box.folder / box.name
    with av.open(str(path)) as source, av.open(str(marked), "w", format="matroska") as target:
        target.metadata["title"] = "\x1b[2Jtitle\nError: forged"
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.metadata["handler_name"] = "../../\x1b]0;owned\x07"
        target.add_attachment("../../../canary\x1b[2J", "text/plain", b"hello")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return str(marked)


@kind("film")
def folder_of_what_is_no_picture(box: Box) -> str:
    place = box.folder / box.name
    place.mkdir()
    for number in range(3):
        (place / f"{number}.png").write_bytes(np.random.default_rng(number).bytes(300))
    return str(place)


@kind("film")
def folder_of_links_to_zeros(box: Box) -> str:
    place = box.folder / box.name
    place.mkdir()
    (place / "1.png").symlink_to("/dev/zero")
    (place / "2.png").symlink_to("2.png")
    return str(place)


@kind("film")
def pattern_of_a_thousand_places(box: Box) -> str:
    return str(box.folder / ("%05d" * 50 + ".png"))


@kind("film")
def pattern_of_a_billion_digits(box: Box) -> str:
    box.write(b"", "1.png")
    return str(box.folder / "%0999999999d.png")
