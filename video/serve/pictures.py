"""Pictures sent over HTTP: painted one at a time, in bounded time, while the client waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from aiohttp import web

from st.runtime import BadInput, StError, StyleCode, Stylizer
from st.runtime.errors import printable
from st.runtime.pictures.io import FORMATS, Picture, encode_picture, read_picture
from st.video.serve.painting import Pool
from st.video.serve.request_body import Form, Reader

MAX_BYTES = 32 << 20
MAX_STYLE_BYTES = 8 << 20
MAX_STYLE_PIXELS = 25_000_000  # style pictures are scaled down before they are used
MAX_PIXELS = 16_000_000
MAX_WAITING = 8  # requests besides the one that is being painted
PAINT_SECONDS = 60
PARAMETERS = frozenset({"style", "strength", "color", "format"})
MIME = {name: f"image/{name}" for name in FORMATS}
ALIASES = {"jpg": "jpeg", "tif": "tiff"}
MAGIC = ((b"\xff\xd8\xff", "jpeg"), (b"RIFF", "webp"), (b"II*\0", "tiff"), (b"MM\0*", "tiff"))
T = TypeVar("T")


class _AbandonedError(Exception):
    """The client no longer waits for the result."""


class Pictures:
    """Paints one picture at a time, in its own thread besides those for live frames."""

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        self._max_pixels = max_pixels
        self._pool = Pool(1)
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0
        self.reader = Reader()

    async def stylized(self, form: Form, paint_for: Callable[[Form], Stylizer]) -> web.Response:
        """The picture of a form, painted.

        The output format is the parameter `format`, else that of the picture, else PNG.
        paint_for: called in the worker thread, since it may encode style pictures.

        Raises: BadInput, BadControl; HTTP 503: too many wait, or painting takes too long.
        """
        wanted = form.value("format")
        target = ALIASES.get(wanted.lower(), wanted.lower()) if wanted else None
        if target is not None and target not in FORMATS:
            known = ", ".join(FORMATS)
            raise BadInput(f"unknown format {printable(wanted, 20)!r}: choose from {known}")

        def work(check: Callable[..., None]) -> tuple[bytes, str]:
            paint = paint_for(form)
            picture = _read(form.picture, self._max_pixels)
            check()
            painted = replace(picture, rgb=paint(picture.rgb, progress=check))
            check()
            kind = target or _own_format(form.picture)
            return encode_picture(painted, kind)[0], kind

        data, kind = await self._worked(work)
        return web.Response(body=data, content_type=MIME[kind])

    async def style(self, data: bytes, base: Stylizer) -> StyleCode:
        """The style code of an encoded style picture.

        Raises BadControl: the engine accepts no style pictures. BadInput: not a picture.
        """
        return await self._worked(lambda _: encoded_style(data, base))

    async def run(self, work: Callable[[], T]) -> T:
        """Run other work in the same thread."""
        return await self._pool.run(work)

    def close(self) -> None:
        self._pool.close()

    async def _worked(self, work: Callable[[Callable[..., None]], T]) -> T:
        """Run `work`. Its argument is a function that raises an exception if the client is gone."""
        gone = threading.Event()

        def check(*_: object) -> None:
            if gone.is_set():
                raise _AbandonedError

        async with self._place():
            try:
                async with asyncio.timeout(PAINT_SECONDS):
                    return await self._pool.run(lambda: work(check))
            except TimeoutError:
                raise web.HTTPServiceUnavailable(
                    text=f"painting took longer than {PAINT_SECONDS} s: send a smaller picture"
                ) from None
            finally:
                gone.set()

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._waiting > MAX_WAITING:
            raise web.HTTPServiceUnavailable(
                text="too many pictures at once: try again", headers={"Retry-After": "5"}
            )
        self._waiting += 1
        try:
            async with self._turn:
                yield
        finally:
            self._waiting -= 1


def encoded_style(data: bytes, base: Stylizer) -> StyleCode:
    """Raises: as `Pictures.style`."""
    return base.encode_style(read_picture(data, MAX_STYLE_PIXELS, "style picture").rgb)


def _read(data: bytes, max_pixels: int) -> Picture:
    if not data:
        raise BadInput("no picture: send it as the body, or in the form field `picture`")
    try:
        return read_picture(data, max_pixels)
    except MemoryError:
        raise StError("out of memory: send a smaller picture") from None


def _own_format(data: bytes) -> str:
    """The format by the first bytes of a picture that has already been read."""
    if data[4:12] == b"ftypavif":
        return "avif"
    return next((name for magic, name in MAGIC if data.startswith(magic)), "png")
