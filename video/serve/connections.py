"""Closes connections that send no complete request."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from aiohttp import web

IDLE_SECONDS = 20.0  # for a request's headers to arrive, and between two requests
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Connections:
    """Keeps track of the connections with a request in progress."""

    def __init__(self) -> None:
        self._busy: set[web.RequestHandler] = set()
        self._idle: dict[web.RequestHandler, float] = {}

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._busy.add(request.protocol)
        try:
            return await handler(request)
        finally:
            self._busy.discard(request.protocol)

    def close_idle(self, server: web.Server) -> None:
        """Close connections that have been without a request for too long. Call this repeatedly."""
        now = time.monotonic()
        idle = [one for one in server.connections if one not in self._busy]
        self._idle = {one: self._idle.get(one, now) for one in idle}
        for one, since in self._idle.items():
            if now - since > IDLE_SECONDS and one.transport is not None:
                one.transport.abort()
