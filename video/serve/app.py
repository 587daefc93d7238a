"""The HTTP routes. No route reads a file by name: the page's files are read once, at startup."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from aiohttp import web

from st.runtime import BadControl, StError, Stylizer
from st.runtime.errors import printable
from st.runtime.web.files import MIME, page_html, shared_files
from st.runtime.web.previews import style_preview
from st.video.serve.connections import Connections
from st.video.serve.guard import Guard, add_headers, refusal
from st.video.serve.painting import Pool
from st.video.serve.pictures import (
    MAX_BYTES,
    MAX_PIXELS,
    MAX_STYLE_BYTES,
    PARAMETERS,
    Pictures,
    encoded_style,
)
from st.video.serve.request_body import Form, parameters_of, too_large
from st.video.serve.session import SILENCE, Session, SessionDefaults
from st.video.serve.settings import stylizer_from_request

MAX_BODY = 64 * 1024
PAGE = ("page.html", "page.js", "stream.js")
LIMITS = {"/stylize": MAX_BYTES, "/pictures": MAX_STYLE_BYTES}  # bytes, by the suffix of the path
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Visits:
    """The sessions of all visitors, and the resources that they share.

    connections: keeps track of requests, see `Connections`.
    """

    def __init__(
        self,
        defaults: SessionDefaults,
        max_sessions: int,
        workers: int,
        silence: float = SILENCE,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """max_pixels: maximum pixels of a picture sent over HTTP."""
        self._defaults = defaults
        self._most = max_sessions
        self._silence = silence
        self._sessions: dict[str, Session] = {}
        self._pool = Pool(workers)
        self._pictures = Pictures(max_pixels)
        self._previews: dict[int, asyncio.Task[bytes]] = {}
        self.connections = Connections()

    def app(self, guard: Guard) -> web.Application:
        """The server's application."""
        app = web.Application(
            middlewares=[self.connections.middleware, guard.middleware, _answered, _bounded],
            client_max_size=MAX_BODY,
        )
        app.on_response_prepare.append(add_headers)
        app.on_shutdown.append(self._shutdown)
        own = Path(__file__).parent / "page"
        for name, path in {**shared_files(), **{name: own / name for name in PAGE}}.items():
            route = "/" if name == "page.html" else f"/{name}"
            app.router.add_get(route, _file(path, MIME[path.suffix]))
        app.router.add_get("/info", self._info)
        app.router.add_get("/styles/{number}", self._preview)
        app.router.add_post("/offer", self._offer)
        app.router.add_delete("/sessions/{number}", self._leave)
        app.router.add_post("/sessions/{number}/pictures", self._style_picture)
        app.router.add_post("/sessions/{number}/stylize", self._save)
        app.router.add_post("/stylize", self._stylize)
        return app

    async def _info(self, _request: web.Request) -> web.Response:
        """The available styles and settings, and the number of visitors."""
        defaults, metadata = self._defaults, self._defaults.base.metadata
        return web.json_response(
            {
                "styles": [choice.label for choice in defaults.choices],
                "begin": defaults.begin.as_json(),
                "blends": metadata.blends,
                "pictures": _takes_pictures(defaults),
                "camera": {
                    "height": defaults.size[0],
                    "width": defaults.size[1],
                    "rate": defaults.target_fps,
                },
                "engine": metadata.method,
                "sessions": len(self._sessions),
                "max_sessions": self._most,
            }
        )

    async def _preview(self, request: web.Request) -> web.Response:
        """The sample picture in a style, painted on the first request."""
        text = request.match_info["number"]
        number = int(text) if text.isdecimal() and len(text) < 7 else -1
        if not 0 <= number < len(self._defaults.choices):
            raise web.HTTPNotFound(text="no such style")
        if number not in self._previews:
            weights = self._defaults.choices[number].weights
            work = partial(style_preview, self._defaults.base, weights)
            self._previews[number] = asyncio.create_task(self._pictures.run(work))
        # Shielded: if this visitor leaves, others may still wait for the preview.
        data = await asyncio.shield(self._previews[number])
        return web.Response(body=data, content_type="image/jpeg")

    async def _offer(self, request: web.Request) -> web.Response:
        """{"sdp"} of a browser's offer -> {"sdp", "session"}."""
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="an offer is JSON")
        async with self._pictures.reader.body(request, MAX_BODY) as data:
            pass
        try:
            sdp = json.loads(data)["sdp"]
        except (ValueError, RecursionError, KeyError, TypeError):
            sdp = None
        if not isinstance(sdp, str):
            raise web.HTTPBadRequest(text='an offer is {"sdp": "…"}')
        if len(self._sessions) >= self._most:
            raise web.HTTPServiceUnavailable(
                text=_full(self._most),
                headers={"Retry-After": "10"},
            )
        session = Session(self._defaults, self._pool, self._gone, self._silence)
        self._sessions[session.number] = session  # reserves its place before the first await
        try:
            answer = await session.answer(sdp)
        except BaseException:
            session.close()
            raise
        return web.json_response({"sdp": answer, "session": session.number})

    async def _leave(self, request: web.Request) -> web.Response:
        """End a session, if it has not ended yet."""
        session = self._sessions.get(request.match_info["number"])
        if session is not None:
            await session.close()
        return web.json_response({})

    async def _style_picture(self, request: web.Request) -> web.Response:
        """A style picture -> {"style"}: its number in the settings."""
        session = self._session(request)
        if not _takes_pictures(self._defaults):
            raise BadControl("this engine accepts no style pictures")
        names: frozenset[str] = frozenset()
        async with self._pictures.reader.form(request, names, MAX_STYLE_BYTES) as form:
            code = await self._pictures.style(form.picture, self._defaults.base)
        return web.json_response({"style": session.add_picture(code)})

    async def _save(self, request: web.Request) -> web.Response:
        """A full-size frame of a visitor's camera -> its painting, with the visitor's settings."""
        session = self._session(request)
        names = frozenset({"format"})
        async with self._pictures.reader.form(request, names, MAX_BYTES) as form:
            return await self._pictures.stylized(form, lambda _: session.stylizer)

    async def _stylize(self, request: web.Request) -> web.Response:
        """A picture -> the painted one. Parameters: style (repeatable), strength, color, format."""
        self._stylizer(Form(parameters_of(request, PARAMETERS)))  # reject before reading the body
        async with self._pictures.reader.form(request, PARAMETERS, MAX_BYTES) as form:
            return await self._pictures.stylized(form, self._stylizer)

    def _stylizer(self, form: Form) -> Stylizer:
        defaults = self._defaults
        if form.style_pictures and not _takes_pictures(defaults):
            raise BadControl(
                "this engine accepts no style pictures: name one of its styles, style=NAME"
            )
        codes = [encoded_style(data, defaults.base) for data in form.style_pictures]
        choices = defaults.choices if form.values("style") or not codes else ()
        paint = stylizer_from_request(
            defaults.base,
            choices,
            form.values("style"),
            form.value("strength"),
            form.value("color"),
        )
        return paint.set_style(dict.fromkeys(codes, 1.0)) if codes else paint

    def _session(self, request: web.Request) -> Session:
        session = self._sessions.get(request.match_info["number"])
        if session is None:
            raise web.HTTPNotFound(text="no such session: reload the page")
        return session

    def _gone(self, session: Session) -> None:
        self._sessions.pop(session.number, None)
        if not self._sessions:
            # aiortc's objects form reference cycles that hold codecs and threads, which would
            # accumulate until Python collects them. Nobody is connected, so collect them now.
            gc.collect()

    async def _shutdown(self, _app: web.Application) -> None:
        await asyncio.gather(*(session.close() for session in self._sessions.values()))
        await asyncio.to_thread(self._pool.close)
        await asyncio.to_thread(self._pictures.close)


def _full(most: int) -> str:
    taken = "the only place is taken" if most == 1 else f"all {most} places are taken"
    return f"{taken}: try again when a visitor has left"


def _takes_pictures(defaults: SessionDefaults) -> bool:
    return "code" in defaults.base.metadata.inputs


def _file(path: Path, kind: str) -> Handler:
    data = page_html(path).encode() if path.suffix == ".html" else path.read_bytes()

    async def send(_request: web.Request) -> web.Response:
        return web.Response(body=data, content_type=kind, charset="utf-8")

    return send


@web.middleware
async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors with a status and one line of JSON."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        answer = refusal(error.status, error.text or error.reason)
        for name in ("Allow", "Retry-After"):
            if name in error.headers:
                answer.headers[name] = error.headers[name]
        return answer
    except StError as error:
        return refusal(400 if error.exit_code == 2 else 503, printable(error, 1000))
    except (ConnectionError, asyncio.CancelledError):
        raise
    except MemoryError:
        return refusal(503, "out of memory: send a smaller picture")
    except Exception as error:
        print(f"{type(error).__name__}: {printable(error, 300)}", file=sys.stderr)
        return refusal(500, "internal server error")


@web.middleware
async def _bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Reject a body by its Content-Length, before any of it is read."""
    most = next((most for end, most in LIMITS.items() if request.path.endswith(end)), MAX_BODY)
    if (length := request.content_length or 0) > most:
        raise too_large(most, length)
    return await handler(request)
