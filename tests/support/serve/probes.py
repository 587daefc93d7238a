"""Requests to the server from unauthorized clients and from pages of other origins."""

from __future__ import annotations

import asyncio

from tests.support.serve.visiting import Served

ROUTES = [
    ("GET", "/"),
    ("GET", "/?token=x"),
    ("GET", "/page.js"),
    ("GET", "/stream.js"),
    ("GET", "/icon.svg"),
    ("GET", "/info"),
    ("POST", "/offer"),
    ("DELETE", "/sessions/x"),
    ("POST", "/sessions/x/pictures"),
    ("POST", "/sessions/x/stylize"),
    ("GET", "/styles/0"),
    ("GET", "/common.css"),
    ("POST", "/stylize"),
    ("GET", "/nothing"),
    ("OPTIONS", "/stylize"),
    ("PUT", "/"),
]
PATHS = (  # that lead to files, were they taken for paths
    b"/etc/passwd",
    b"//etc/passwd",
    b"/../../etc/passwd",
    b"/page.js/../app.py",
    b"/%2e%2e/%2e%2e/etc/passwd",
    b"/..%2f..%2fetc%2fpasswd",
    b"/page/page.html",
    b"/page.html",
    b"/app.py",
    b"/sessions/..%2f..%2fetc/pictures",
    b"/.git/config",
    b"/\xc0\xae\xc0\xae/",
    b"/page.css%00.html",
)


def foreign_hosts(server: Served) -> tuple[str, ...]:
    """Host headers of other pages, and missing ones."""
    port = server.url.rpartition(":")[2]
    return ("evil.example", f"evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "")


def foreign_origins(server: Served) -> tuple[str, ...]:
    https = server.url.replace("http", "https")
    return ("http://evil.example", "null", "http://127.0.0.1", https, "")


async def statuses(server: Served, headers: dict[str, str]) -> list[int]:
    """The status of each of `ROUTES`."""
    found = []
    for method, path in ROUTES:
        url = server.url + path
        async with server.http.request(method, url, headers=headers, data=b"x") as answer:
            found.append(answer.status)
    return found


async def raw(server: Served, request: bytes) -> bytes:
    """The first line of the response to these bytes."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    return line


async def path_status(server: Served, path: bytes) -> int:
    """The response to GET for a literal path, which clients would normalize."""
    host = server.url.removeprefix("http://").encode()
    line = await raw(server, b"GET " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    return int(line.split()[1])
