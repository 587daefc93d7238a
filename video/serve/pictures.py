"""Pictures sent by HTTP: read within bounds, painted few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from aiohttp import web

from st.runtime import BadInput, StyleCode, Stylizer
from st.runtime.errors import printable
from st.runtime.pictures.io import FORMATS, encode_picture, read_picture
from st.video.serve.painting import Pool

MOST_BYTES = 32 << 20
MOST_PIXELS = 25_000_000
MOST_STYLE_BYTES = 8 << 20
WAITING = 8  # requests beside the one that is painted
SECONDS = 60  # for a picture to arrive
MIME = {name: f"image/{name}" for name in FORMATS}
MAGIC = ((b"\xff\xd8\xff", "jpeg"), (b"RIFF", "webp"), (b"II*\0", "tiff"), (b"MM\0*", "tiff"))
T = TypeVar("T")


class Pictures:
    """One picture at a time, in a thread of its own beside those for live frames."""

    def __init__(self) -> None:
        self._pool = Pool(1)
        self._turn = asyncio.Semaphore(1)
        self._inside = 0

    async def stylized(self, request: web.Request, paint: Stylizer) -> web.Response:
        """The picture in a request's body, painted.

        Its format is that of the query's `format`, or the picture's own (PNG where that is not
        written).
        """
        form = request.query.get("format")
        if form is not None and form not in FORMATS:
            raise BadInput(f"no format {printable(form, 20)!r}: choose from {', '.join(FORMATS)}")

        def work(data: bytes) -> tuple[bytes, str]:
            picture = read_picture(data, MOST_PIXELS)
            painted = replace(picture, rgb=paint(picture.rgb))
            target = form or _own_format(data)
            return encode_picture(painted, target)[0], target

        data, target = await self._worked(request, MOST_BYTES, work)
        return web.Response(body=data, content_type=MIME[target])

    async def style(self, request: web.Request, base: Stylizer) -> StyleCode:
        """The style code of the picture in a request's body.

        Raises BadControl: the engine paints its own styles only. BadInput: not a picture.
        """

        def work(data: bytes) -> StyleCode:
            return base.encode_style(read_picture(data, MOST_PIXELS).rgb)

        return await self._worked(request, MOST_STYLE_BYTES, work)

    def close(self) -> None:
        self._pool.close()

    async def _worked(self, request: web.Request, most: int, work: Callable[[bytes], T]) -> T:
        if (request.content_length or 0) > most:
            raise too_large(most, request.content_length or 0)
        if request.content_type.startswith("multipart/"):
            raise web.HTTPUnsupportedMediaType(
                text="send the picture as the body: curl --data-binary @picture.jpg"
            )
        async with self._place():
            data = await body(request, most)
            return await self._pool.run(lambda: work(data))

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Wait for a turn, where not too many wait already: their bodies take memory."""
        if self._inside > WAITING:
            raise web.HTTPServiceUnavailable(
                text="too many pictures at once: try again", headers={"Retry-After": "5"}
            )
        self._inside += 1
        try:
            async with self._turn:
                yield
        finally:
            self._inside -= 1


async def body(request: web.Request, most: int) -> bytes:
    """A request's body of at most `most` bytes. Raises HTTP 413, or 408 when it takes too long."""
    data = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > most:
                    raise too_large(most, len(data))
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body did not arrive in time") from None
    return bytes(data)


def too_large(most: int, actual: int) -> web.HTTPRequestEntityTooLarge:
    return web.HTTPRequestEntityTooLarge(
        most, actual, text=f"the body may have {most // 1024} kB at most"
    )


def _own_format(data: bytes) -> str:
    """By the file's first bytes; the picture has been read, so it is one."""
    if data[4:12] == b"ftypavif":
        return "avif"
    return next((name for magic, name in MAGIC if data.startswith(magic)), "png")
