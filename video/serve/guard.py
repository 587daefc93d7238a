"""Host and Origin checks (403), token checks (401), and security headers.

Any page in the user's browser can reach a server on localhost, with a form, or with a host name of
its own that resolves to 127.0.0.1 (DNS rebinding). So every request, to any path, must name one of
the server's hosts, and a request with an Origin header must come from the server's own page.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from st.video.serve.sign_in import sign_in_page

TRIES, PERIOD = 10, 60.0  # maximum number of wrong tokens from one address in this many seconds
REMEMBERED = 10_000  # addresses with wrong tokens
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
    "Server": "st",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Tries:
    """Counts the wrong tokens of each address in the last minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def wrong(self, remote: str | None) -> None:
        """Count a wrong token."""
        key = _neighborhood(remote)
        self._wrong.setdefault(key, deque(maxlen=TRIES)).append(self._clock())
        self._wrong.move_to_end(key)
        while len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)

    def wait(self, remote: str | None) -> float:
        """Seconds until this address may try again; 0 if it may now."""
        times = self._wrong.get(_neighborhood(remote), ())
        return max(0.0, times[0] + PERIOD - self._clock()) if len(times) == TRIES else 0.0


def _neighborhood(remote: str | None) -> str:
    """The key of an address: IPv4 itself, IPv6 its /64, which one machine can use as a whole."""
    try:
        ip = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return ""
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


class Guard:
    """Checks requests. Rejects all of them before `allow` is called."""

    def __init__(self, token: str | None) -> None:
        """token: None if only this machine can connect."""
        self._token = token
        self._tries = Tries()
        self._hosts: frozenset[str] = frozenset()
        self._origins: frozenset[str] = frozenset()
        self._cookie = "st"

    def allow(self, origins: Iterable[str]) -> None:
        """Accept requests to these origins, "https://HOST:PORT" as browsers send them."""
        self._origins = frozenset(origins)
        self._hosts = frozenset(origin.partition("://")[2] for origin in self._origins)
        # Browsers share cookies among all ports of a host, so the name depends on the origins.
        self._cookie = (
            "st-" + hashlib.sha256("".join(sorted(self._origins)).encode()).hexdigest()[:8]
        )

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Pass a request on, or reject it."""
        # Not `request.host`, which falls back to the machine's own name.
        hosts, origins = request.headers.getall("Host", []), request.headers.getall("Origin", [])
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return refusal(
                403,
                "unknown host: use the address that the server printed",
            )
        if len(origins) > 1 or not self._origins.issuperset(o.lower() for o in origins):
            return refusal(403, "requests from other pages are refused")
        if self._token is None:
            return await handler(request)
        if wait := self._tries.wait(request.remote):
            answer = _refused(request, 429, "Too many wrong tokens: wait a minute.")
            answer.headers["Retry-After"] = str(int(wait) + 1)
            return answer
        given = self._given(request)
        if not given:
            why = "This server needs the token in its printed address."
            return _refused(request, 401, why)
        # Compare all bytes in constant time, so that the time reveals nothing.
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token.encode()):
            self._tries.wrong(request.remote)
            why = "This token is wrong. Is the address from an earlier start of the server?"
            return _refused(request, 401, why)
        if "token" in request.query:
            return self._kept()
        return await handler(request)

    def _given(self, request: web.Request) -> str | None:
        if request.path == "/" and request.method == "GET" and "token" in request.query:
            return request.query["token"]
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return token.strip()
        return request.cookies.get(self._cookie)

    def _kept(self) -> web.Response:
        """Redirect to the page, with the token moved from the URL to a cookie."""
        answer = web.Response(status=303, headers={"Location": "/"})
        assert self._token is not None
        # Lax, not strict: strict would not be sent on this redirect from a link in a message.
        answer.set_cookie(
            self._cookie, self._token, path="/", secure=True, httponly=True, samesite="Lax"
        )
        return answer


def _refused(request: web.Request, status: int, why: str) -> web.Response:
    """A page with a field for the token if a browser opens the page, else JSON."""
    if request.path == "/" and "text/html" in request.headers.get("Accept", ""):
        page = sign_in_page(status, why)
        page.headers["WWW-Authenticate"] = "Bearer"
        page.force_close()
        return page
    return refusal(status, why)


def refusal(status: int, why: str) -> web.Response:
    """An error as JSON. Closes the connection, since the body of a refused request is not read."""
    answer = web.json_response({"error": why}, status=status)
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    answer.force_close()
    return answer


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to every response, errors included."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = HEADERS["Server"]
