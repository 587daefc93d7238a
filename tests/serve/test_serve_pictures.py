"""POST /stylize: returns the painted picture."""

from __future__ import annotations

import asyncio
import contextlib
import io
import struct
import threading
import time
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

pytest.importorskip("aiortc")
pytest.importorskip("aiohttp")

import aiohttp

from st.runtime import Stylizer
from st.runtime.pictures.io import read_picture
from st.video.serve import pictures
from tests.support import toys
from tests.support.serve.visiting import Served, served, session_defaults

PICTURE = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)


def encoded(kind: str = "png", picture: np.ndarray = PICTURE) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, kind)
    return out.getvalue()


@pytest.fixture
def tint(tmp_path: Path) -> Stylizer:
    return Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device="cpu", threads=1)


def visit(tint: Stylizer, work: Callable[[Served], Awaitable[None]]) -> None:
    async def run() -> None:
        async with served(session_defaults(tint)) as server:
            await work(server)

    asyncio.run(run())


async def stylize(
    server: Served, data: bytes, query: str = "", headers: dict[str, str] | None = None
) -> tuple[int, str, bytes]:
    url = f"{server.url}/stylize{query}"
    async with server.http.post(url, data=data, headers=headers) as answer:
        return answer.status, answer.content_type, await answer.read()


def test_posted_pictures_are_painted_as_by_the_stylizer(tint: Stylizer) -> None:
    cases = {
        "": tint.styled(),
        "?style=black&strength=0.25": tint.styled("black", 0.25),
        "?style=negative&color=luminance": tint.styled("negative").set_color("luminance"),
        "?style=negative:3&style=black:1": tint.styled({"negative": 3, "black": 1}),
    }

    async def work(server: Served) -> None:
        for query, paint in cases.items():
            status, kind, data = await stylize(server, encoded(), query)
            assert (status, kind) == (200, "image/png")
            np.testing.assert_array_equal(read_picture(data).rgb, paint(PICTURE))
        headers = {"St-Style": "black", "St-Strength": "0.25"}
        _, _, data = await stylize(server, encoded(), "", headers)
        np.testing.assert_array_equal(read_picture(data).rgb, tint.styled("black", 0.25)(PICTURE))

    visit(tint, work)


@pytest.mark.parametrize(
    ("given", "query", "expected"),
    [
        ("jpeg", "", "jpeg"),
        ("webp", "", "webp"),
        ("tiff", "", "tiff"),
        ("gif", "", "png"),
        ("bmp", "", "png"),
        ("png", "?format=jpeg", "jpeg"),
        ("png", "?format=JPG", "jpeg"),
        ("avif", "", "avif"),
    ],
)
def test_the_format_is_that_of_the_picture_or_the_requested_one(
    tint: Stylizer, given: str, query: str, expected: str
) -> None:
    async def work(server: Served) -> None:
        status, kind, data = await stylize(server, encoded(given), query)
        assert (status, kind) == (200, f"image/{expected}")
        assert Image.open(io.BytesIO(data)).format == expected.upper()

    visit(tint, work)


def test_bad_requests_get_a_reason(tint: Stylizer, tmp_path: Path) -> None:
    file = tmp_path / "style.png"
    file.write_bytes(encoded())

    async def work(server: Served) -> None:
        for query, words in {
            "?style=wave": "negative, black",
            f"?style={file}": "negative, black",
            "?style=black:x": "number",
            "?style=black:-1": "weights",
            "?strength=2": "strength",
            "?strength=nan": "strength",
            "?strength=x": "strength",
            "?color=red": "luminance",
            "?format=exe": "jpeg",
            "?styl=black": "accepts color, format, strength, style",
            "?strength=1&strength=0": "give it once",
        }.items():
            status, _, data = await stylize(server, encoded(), query)
            assert status == 400, query
            assert words in data.decode(), query
        for bad in (b"", b"no picture", encoded()[:100]):
            assert (await stylize(server, bad))[0] == 400
        broken = {"Content-Type": "multipart/form-data; boundary=x"}
        assert (await stylize(server, b"--x--", "", broken))[0] == 400

    visit(tint, work)


def chunk(name: bytes, data: bytes) -> bytes:
    checked = name + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


def test_pixels_are_counted_before_any_is_decoded(
    tint: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("it was decoded"))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 10_000_000))

    async def work(server: Served) -> None:
        status, _, data = await stylize(server, bomb)
        assert status == 400
        assert "megapixels" in data.decode()

    visit(tint, work)


def test_few_requests_at_once_and_the_others_are_told_to_wait(
    tint: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, most = 0, 0
    lock = threading.Lock()
    real = pictures.read_picture

    def slow(*arguments: object) -> object:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.05)
        with lock:
            inside -= 1
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pictures, "read_picture", slow)

    async def work(server: Served) -> None:
        answers = await asyncio.gather(*(stylize(server, encoded()) for _ in range(20)))
        found = [status for status, _, _ in answers]
        assert set(found) == {200, 503}
        assert found.count(200) == 1 + pictures.MAX_WAITING
        assert (await stylize(server, encoded()))[0] == 200

    visit(tint, work)
    assert most == 1


def test_an_engine_of_named_styles_refuses_a_posted_style_picture(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        assert (await server.info())["pictures"] is False
        async with server.http.post(f"{server.url}/sessions/x/pictures", data=encoded()) as answer:
            assert answer.status == 404

    visit(tint, work)


def form(**fields: object) -> aiohttp.FormData:
    data = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        data.add_field(name, value, filename="a.png" if isinstance(value, bytes) else None)
    return data


def test_multipart_forms_are_accepted(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        url = f"{server.url}/stylize"
        fields = form(picture=encoded(), style="black", strength="0.25")
        async with server.http.post(url, data=fields) as answer:
            assert answer.status == 200
            painted = read_picture(await answer.read()).rgb
        np.testing.assert_array_equal(painted, tint.styled("black", 0.25)(PICTURE))
        for fields, words in (
            (form(style="black"), "no picture"),
            (form(picture=encoded(), mood="sad"), "unknown parameter 'mood'"),
            (form(picture=encoded(), style=encoded()), "accepts no style pictures"),
        ):
            async with server.http.post(url, data=fields) as answer:
                assert answer.status == 400
                assert words in await answer.text()

    visit(tint, work)


def test_a_style_picture_in_a_form(tmp_path: Path) -> None:
    """An arbitrary-style engine that was started without a style."""
    code = Stylizer(toys.code_engine(tmp_path / "code.onnx"), device="cpu", threads=1)
    style = np.full((20, 20, 3), 90, np.uint8)

    async def work(server: Served) -> None:
        url = f"{server.url}/stylize"
        assert (await server.info())["styles"] == []
        async with server.http.post(url, data=encoded()) as answer:
            assert answer.status == 400
            assert "no style is set" in await answer.text()
        fields = form(picture=encoded(), style=encoded(picture=style))
        async with server.http.post(url, data=fields) as answer:
            assert answer.status == 200
            painted = read_picture(await answer.read()).rgb
        np.testing.assert_array_equal(painted, code.styled(style)(PICTURE))

    visit(code, work)


def test_stalled_uploads_do_not_block_others(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        stalled = []
        for _ in range(20):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"POST /stylize HTTP/1.1\r\nHost: {host}:{port}\r\n".encode())
            writer.write(b"Content-Length: 9999\r\n\r\n" + encoded()[:100])
            stalled.append(writer)
        await asyncio.sleep(0.2)
        async with asyncio.timeout(5):
            assert (await stylize(server, encoded()))[0] == 200
        for writer in stalled:
            writer.close()

    visit(tint, work)


def test_too_many_bytes_at_once_are_refused(
    tint: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("st.video.serve.request_body.BUFFERED", len(encoded()) + 50)

    async def work(server: Served) -> None:
        for _ in range(3):  # each finished request releases its buffer
            assert (await stylize(server, encoded()))[0] == 200
        assert (await stylize(server, encoded() + b"\0" * 100))[0] == 503
        assert (await stylize(server, encoded()))[0] == 200

    visit(tint, work)


def test_work_for_a_disconnected_client_is_stopped(tmp_path: Path) -> None:
    """Painting stops between two tiles, and the next client is served at once."""
    stylizer = Stylizer(toys.tiles_pair(tmp_path / "pair.onnx"), device="cpu", threads=1)
    stylizer._whole_pixels = 100
    ended = threading.Event()
    painted = Stylizer.__call__

    def slow(self: Stylizer, frame: np.ndarray, progress: object = None) -> np.ndarray:
        def tick(done: int, total: int) -> None:
            time.sleep(0.05)
            try:
                progress(done, total)  # type: ignore[operator]
            except BaseException:
                ended.set()
                raise

        return self.tiled(frame, 16, tick)

    async def work(server: Served) -> None:
        large = encoded(picture=np.zeros((600, 600, 3), np.uint8))
        waiting = asyncio.create_task(stylize(server, large))
        await asyncio.sleep(0.5)
        waiting.cancel()
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(ended.wait, 4)
            assert (await stylize(server, encoded()))[0] == 200

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylizer, "__call__", slow)
        visit(stylizer, work)
    assert Stylizer.__call__ is painted


def test_painting_has_a_time_limit(tint: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PAINT_SECONDS", 0.05)
    real = pictures.read_picture
    monkeypatch.setattr(pictures, "read_picture", lambda *a: time.sleep(0.3) or real(*a))

    async def work(server: Served) -> None:
        status, _, data = await stylize(server, encoded())
        assert status == 503
        assert "send a smaller picture" in data.decode()

    visit(tint, work)


def test_connections_with_incomplete_headers_are_closed(
    tint: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("st.video.serve.connections.IDLE_SECONDS", 0.3)

    async def work(server: Served) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /stylize HTTP/1.1\r\nHost: ")
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()

    visit(tint, work)


def test_previews_of_styles(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        found = []
        for number in (0, 1, 0):
            async with server.http.get(f"{server.url}/styles/{number}") as answer:
                assert (answer.status, answer.content_type) == (200, "image/jpeg")
                found.append(read_picture(await answer.read()).rgb)
        assert found[0].shape == (144, 144, 3)
        assert found[0].std() > 20
        assert found[1].max() < 5, "black"
        for number in ("2", "-1", "x", "9999999"):
            async with server.http.get(f"{server.url}/styles/{number}") as answer:
                assert answer.status == 404

    visit(tint, work)
