"""The routes. None of them serves a path: the page's few files are read once, at the start."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from st.runtime import BadControl, StError
from st.runtime.errors import printable
from st.video.serve.guard import Guard, add_headers, refusal
from st.video.serve.painting import Pool
from st.video.serve.pictures import MOST_BYTES, MOST_STYLE_BYTES, Pictures, body, too_large
from st.video.serve.session import SILENCE, Session, SessionDefaults
from st.video.serve.settings import stylizer_from_request

MOST_BODY = 64 * 1024
PAGE = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/stream.js": ("stream.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
MOST = {"/stylize": MOST_BYTES, "/pictures": MOST_STYLE_BYTES}  # by the end of a route
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Visits:
    """The visitors of one defaults, and what they share."""

    def __init__(
        self, defaults: SessionDefaults, max_sessions: int, workers: int, silence: float = SILENCE
    ) -> None:
        self._defaults = defaults
        self._most = max_sessions
        self._silence = silence
        self._sessions: dict[str, Session] = {}
        self._pool = Pool(workers)
        self._pictures = Pictures()

    def app(self, guard: Guard) -> web.Application:
        """The server's application."""
        app = web.Application(
            middlewares=[guard.middleware, _answered, _bounded], client_max_size=MOST_BODY
        )
        app.on_response_prepare.append(add_headers)
        app.on_shutdown.append(self._shutdown)
        for route, (name, kind) in PAGE.items():
            app.router.add_get(route, _file(Path(__file__).parent / "page" / name, kind))
        app.router.add_get("/info", self._info)
        app.router.add_post("/offer", self._offer)
        app.router.add_delete("/sessions/{number}", self._leave)
        app.router.add_post("/sessions/{number}/pictures", self._style_picture)
        app.router.add_post("/stylize", self._stylize)
        return app

    async def _info(self, _request: web.Request) -> web.Response:
        """What there is to choose, and how many are here."""
        defaults = self._defaults
        return web.json_response(
            {
                "styles": [choice.label for choice in defaults.choices],
                "begin": vars(defaults.begin),
                "blends": defaults.base.metadata.blends,
                "pictures": _takes_pictures(defaults),
                "camera": {
                    "width": defaults.size[0],
                    "height": defaults.size[1],
                    "rate": defaults.target_fps,
                },
                "engine": defaults.base.metadata.method,
                "sessions": len(self._sessions),
                "max_sessions": self._most,
            }
        )

    async def _offer(self, request: web.Request) -> web.Response:
        """{"sdp"} of a browser's offer -> {"sdp", "session"}."""
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="an offer is JSON")
        try:
            sdp = json.loads(await body(request, MOST_BODY))["sdp"]
        except (ValueError, RecursionError, KeyError, TypeError):
            sdp = None
        if not isinstance(sdp, str):
            raise web.HTTPBadRequest(text='an offer is {"sdp": "…"}')
        if len(self._sessions) >= self._most:
            raise web.HTTPServiceUnavailable(
                text=f"{self._most} visitors are here already: try again later",
                headers={"Retry-After": "10"},
            )
        session = Session(self._defaults, self._pool, self._gone, self._silence)
        self._sessions[session.number] = session  # takes its place before anything is awaited
        try:
            answer = await session.answer(sdp)
        except BaseException:
            session.close()
            raise
        return web.json_response({"sdp": answer, "session": session.number})

    async def _leave(self, request: web.Request) -> web.Response:
        """The end of a session, which may have ended by itself just now."""
        session = self._sessions.get(request.match_info["number"])
        if session is not None:
            await session.close()
        return web.json_response({})

    async def _style_picture(self, request: web.Request) -> web.Response:
        """A picture -> {"style"}: the number that settings name it by."""
        session = self._session(request)
        if not _takes_pictures(self._defaults):
            raise BadControl("this engine paints its own styles only")
        code = await self._pictures.style(request, self._defaults.base)
        return web.json_response({"style": session.add_picture(code)})

    async def _stylize(self, request: web.Request) -> web.Response:
        """A picture -> the painted one. Query: style (repeatable), strength, color, format."""
        headers, query = request.headers, request.query
        styles = query.getall("style", headers.getall("St-Style", []))
        strength = query.get("strength", headers.get("St-Strength"))
        color = query.get("color", headers.get("St-Color"))
        paint = stylizer_from_request(
            self._defaults.base, self._defaults.choices, styles, strength, color
        )
        return await self._pictures.stylized(request, paint)

    def _session(self, request: web.Request) -> Session:
        session = self._sessions.get(request.match_info["number"])
        if session is None:
            raise web.HTTPNotFound(text="no such session: reload the page")
        return session

    def _gone(self, session: Session) -> None:
        self._sessions.pop(session.number, None)
        if not self._sessions:
            # aiortc's objects hold each other, with codecs and their threads: left to Python's own
            # time they pile up. The short stop that it costs is felt by nobody now.
            gc.collect()

    async def _shutdown(self, _app: web.Application) -> None:
        await asyncio.gather(*(session.close() for session in self._sessions.values()))
        await asyncio.to_thread(self._pool.close)
        await asyncio.to_thread(self._pictures.close)


def _takes_pictures(defaults: SessionDefaults) -> bool:
    return "code" in defaults.base.metadata.inputs


def _file(path: Path, kind: str) -> Handler:
    data = path.read_bytes()

    async def send(_request: web.Request) -> web.Response:
        return web.Response(body=data, content_type=kind, charset="utf-8")

    return send


@web.middleware
async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Everything that goes wrong as a status and one line of JSON."""
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
        return refusal(503, "out of memory: try a smaller picture")
    except Exception as error:
        print(f"{type(error).__name__}: {printable(error, 300)}", file=sys.stderr)
        return refusal(500, "this went wrong here, not there")


@web.middleware
async def _bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a body that says it is too long before any of it is read."""
    most = next((most for end, most in MOST.items() if request.path.endswith(end)), MOST_BODY)
    if (length := request.content_length or 0) > most:
        raise too_large(most, length)
    return await handler(request)
