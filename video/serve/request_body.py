"""Read request bodies with limits on size, on time, and on the total memory of all bodies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import BodyPartReader, MultipartReader, web

from st.runtime import BadInput
from st.runtime.errors import printable

READ_SECONDS = 60  # timeout for a body, from the first line of the request
BUFFERED = 256 << 20  # maximum bytes of all bodies that are being read or processed
MAX_FIELD = 1024  # bytes of a form's text field
MAX_FIELDS = 40


@dataclass
class Form:
    """A request's picture and parameters.

    parameters: (name, value) pairs, of the query, St-… headers and form fields.
    picture: the encoded picture; b"" for none. style_pictures: files of form fields named "style".
    """

    parameters: list[tuple[str, str]] = field(default_factory=list)
    picture: bytes = b""
    style_pictures: list[bytes] = field(default_factory=list)

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.parameters if key == name]

    def value(self, name: str) -> str | None:
        """The value of a parameter that may be given once. Raises BadInput: given twice."""
        values = self.values(name)
        if len(values) > 1:
            raise BadInput(f"{name} is given {len(values)} times: give it once")
        return values[0] if values else None


class Reader:
    """Reads bodies. A server has one, so that all bodies share one memory limit."""

    def __init__(self) -> None:
        self._free = BUFFERED

    @asynccontextmanager
    async def body(self, request: web.Request, most: int) -> AsyncIterator[bytes]:
        """The body, of at most `most` bytes; its memory counts until the block ends.

        Raises HTTP 413: too large; 408: timeout; 503: the memory limit is reached.
        """
        async with self._budget(request, most) as budget, _in_time():
            data = await budget.read(request.content)
        try:
            yield data
        finally:
            self._free += budget.used

    @asynccontextmanager
    async def form(
        self, request: web.Request, names: frozenset[str], most: int
    ) -> AsyncIterator[Form]:
        """The picture and the parameters of a request, whose body is a picture or a form.

        names: the parameters of the route.

        Raises: as `body`; BadInput: an unknown parameter, or a form without a picture.
        """
        form = Form(parameters_of(request, names))
        async with self._budget(request, most) as budget, _in_time():
            if request.content_type == "multipart/form-data":
                await _read_form(request, form, names, budget)
            else:
                form.picture = await budget.read(request.content)
        try:
            yield form
        finally:
            self._free += budget.used

    @asynccontextmanager
    async def _budget(self, request: web.Request, most: int) -> AsyncIterator[_Budget]:
        if (length := request.content_length or 0) > most:
            raise too_large(most, length)
        budget = _Budget(self, most)
        try:
            yield budget
        except BaseException:
            self._free += budget.used
            raise

    def take(self, count: int) -> None:
        if count > self._free:
            raise web.HTTPServiceUnavailable(
                text="too many uploads at once: try again", headers={"Retry-After": "5"}
            )
        self._free -= count


class _Budget:
    """The memory of one request."""

    def __init__(self, reader: Reader, most: int) -> None:
        self._reader, self._most = reader, most
        self.used = 0

    async def read(self, content: asyncio.StreamReader | BodyPartReader | object) -> bytes:
        data = bytearray()
        while chunk := await _chunk(content):
            if self.used + len(chunk) > self._most:
                raise too_large(self._most, self.used + len(chunk))
            self._reader.take(len(chunk))
            self.used += len(chunk)
            data += chunk
        return bytes(data)


async def _chunk(content: object) -> bytes:
    if isinstance(content, BodyPartReader):
        return await content.read_chunk()
    return await content.readany()  # type: ignore[attr-defined]


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(READ_SECONDS):
            yield
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body did not arrive in time") from None


async def _read_form(
    request: web.Request, form: Form, names: frozenset[str], budget: _Budget
) -> None:
    try:
        parts: MultipartReader = await request.multipart()
        count = 0
        async for part in parts:
            count += 1
            if not isinstance(part, BodyPartReader) or count > MAX_FIELDS:
                raise BadInput(f"a form has at most {MAX_FIELDS} fields, none of them nested")
            data = await budget.read(part)
            name = part.name or ""
            if part.filename is None and name in names:
                if len(data) > MAX_FIELD:
                    raise BadInput(f"{name}: more than {MAX_FIELD} bytes of text")
                form.parameters.append((name, data.decode("utf-8", "replace")))
            elif name == "style" and part.filename is not None:
                form.style_pictures.append(data)
            elif name in ("picture", "image", "file"):
                form.picture = data
            else:
                raise _unknown(name, names | {"picture"})
    except (ValueError, AssertionError) as error:  # raised by aiohttp for a damaged form
        raise BadInput(f"not a valid form: {printable(error, 80)}") from None
    if not form.picture:
        raise BadInput("the form has no picture: send it in the field `picture`")


def parameters_of(request: web.Request, names: frozenset[str]) -> list[tuple[str, str]]:
    """The parameters of the query and of St-… headers; the query takes precedence.

    Raises BadInput: an unknown parameter.
    """
    found = list(request.query.items())
    given = {name for name, _ in found}
    for header, value in request.headers.items():
        name = header.lower()
        if name.startswith("st-") and name[3:] not in given:
            found.append((name[3:], value))
    for name, _ in found:
        if name not in names:
            raise _unknown(name, names)
    return found


def _unknown(name: str, names: frozenset[str]) -> BadInput:
    known = ", ".join(sorted(names)) or "none"
    return BadInput(f"unknown parameter {printable(name, 40)!r}: this address accepts {known}")


def too_large(most: int, actual: int) -> web.HTTPRequestEntityTooLarge:
    return web.HTTPRequestEntityTooLarge(
        most, actual, text=f"the body is larger than {most // 1024} kB, the maximum"
    )
