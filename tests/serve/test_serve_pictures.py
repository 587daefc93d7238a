"""POST /stylize: a picture in, the painted picture out."""

from __future__ import annotations

import asyncio
import io
import struct
import threading
import time
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("aiortc")
pytest.importorskip("aiohttp")

from st.runtime import Stylizer
from st.runtime.pictures.io import read_picture
from st.video.serve import pictures
from tests.support import toys
from tests.support.serve.visiting import Served, served, stage_of

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
        async with served(stage_of(tint)) as server:
            await work(server)

    asyncio.run(run())


async def stylize(
    server: Served, data: bytes, query: str = "", headers: dict[str, str] | None = None
) -> tuple[int, str, bytes]:
    url = f"{server.url}/stylize{query}"
    async with server.http.post(url, data=data, headers=headers) as answer:
        return answer.status, answer.content_type, await answer.read()


def test_a_picture_comes_back_as_the_stylizer_paints_it(tint: Stylizer) -> None:
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
        ("avif", "", "avif"),
    ],
)
def test_the_format_is_the_pictures_own_or_the_one_asked_for(
    tint: Stylizer, given: str, query: str, expected: str
) -> None:
    async def work(server: Served) -> None:
        status, kind, data = await stylize(server, encoded(given), query)
        assert (status, kind) == (200, f"image/{expected}")
        assert Image.open(io.BytesIO(data)).format == expected.upper()

    visit(tint, work)


def test_what_cannot_be_done_is_said(tint: Stylizer, tmp_path: Path) -> None:
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
        }.items():
            status, _, data = await stylize(server, encoded(), query)
            assert status == 400, query
            assert words in data.decode(), query
        for bad in (b"", b"no picture", encoded()[:100]):
            assert (await stylize(server, bad))[0] == 400
        multipart = {"Content-Type": "multipart/form-data; boundary=x"}
        status, _, data = await stylize(server, b"--x--", "", multipart)
        assert status == 415
        assert b"--data-binary" in data

    visit(tint, work)


def chunk(name: bytes, data: bytes) -> bytes:
    checked = name + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


def test_pixels_are_counted_before_any_is_decoded(tint: Stylizer) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 10_000_000))

    async def work(server: Served) -> None:
        began = time.monotonic()
        status, _, data = await stylize(server, bomb)
        assert status == 400
        assert "megapixels" in data.decode()
        assert time.monotonic() - began < 2

    visit(tint, work)


def test_few_at_once_and_the_rest_is_told_to_wait(
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
        assert found.count(200) == 1 + pictures.WAITING
        assert (await stylize(server, encoded()))[0] == 200

    visit(tint, work)
    assert most == 1


def test_an_engine_of_its_own_styles_takes_no_style_picture(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        assert (await server.info())["pictures"] is False
        async with server.http.post(f"{server.url}/sessions/x/pictures", data=encoded()) as answer:
            assert answer.status == 404

    visit(tint, work)
