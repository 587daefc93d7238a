"""Access rules and request limits, tested over real HTTP."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("aiortc")
pytest.importorskip("aiohttp")

from st.runtime import Stylizer
from st.video.serve import guard
from st.video.serve.guard import HEADERS, Tries
from tests.support import toys
from tests.support.serve.probes import (
    PATHS,
    ROUTES,
    foreign_hosts,
    foreign_origins,
    path_status,
    raw,
    statuses,
)
from tests.support.serve.visiting import SIZE, Camera, Served, served, session_defaults, visitor

FLAT: list[NDArray[np.uint8]] = [np.full((*SIZE, 3), 60, np.uint8)]
TOKEN = "a token of the server's own choice"


@pytest.fixture
def tint(tmp_path: Path) -> Stylizer:
    return Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device="cpu", threads=1)


def visit(
    tint: Stylizer, work: Callable[[Served], Awaitable[None]], token: str | None = None
) -> None:
    async def run() -> None:
        async with served(session_defaults(tint), token) as server:
            await work(server)

    asyncio.run(run())


def test_a_foreign_host_is_refused_on_every_route(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        for host in foreign_hosts(server):
            assert set(await statuses(server, {"Host": host})) == {403}, host

    visit(tint, work)


def test_no_host_or_two_are_refused(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        own = server.url.removeprefix("http://").encode()
        assert b" 403 " in await raw(server, b"GET / HTTP/1.0\r\n\r\n")
        two = b"GET / HTTP/1.1\r\nHost: " + own + b"\r\nHost: evil\r\n\r\n"
        assert (await raw(server, two)).split()[1] in (b"400", b"403")
        assert b" 200 " in await raw(server, b"GET / HTTP/1.1\r\nHost: " + own + b"\r\n\r\n")

    visit(tint, work)


def test_a_foreign_origin_is_refused_on_every_route(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        for origin in foreign_origins(server):
            assert set(await statuses(server, {"Origin": origin})) == {403}, origin
        assert 200 in await statuses(server, {"Origin": server.url})

    visit(tint, work)


def test_the_right_token_does_not_help_a_foreign_page(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}", "Origin": "https://evil.example"}
        assert set(await statuses(server, headers)) == {403}

    visit(tint, work, TOKEN)


def test_no_token_is_refused_on_every_route(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        found = set()
        for method, path in ROUTES:
            if "token" not in path:
                async with server.http.request(method, server.url + path) as answer:
                    found.add(answer.status)
        assert found == {401}
        async with server.http.get(f"{server.url}/info?token={TOKEN}") as answer:
            assert answer.status == 401  # a query token works for the page only

    visit(tint, work, TOKEN)


def test_ten_wrong_tokens_a_minute(tint: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(Tries.__init__, "__defaults__", (lambda: now[0],))

    async def work(server: Served) -> None:
        async def status(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            async with server.http.get(f"{server.url}/info", headers=headers) as answer:
                return answer.status

        for n in range(10):
            assert await status(f"wrong {n}") == 401
            now[0] += 1
        assert await status(TOKEN) == 429
        assert await status("wrong") == 429
        now[0] += 49
        assert await status(TOKEN) == 429
        now[0] += 1.5  # the first attempt is now over a minute old
        assert await status(TOKEN) == 200
        assert await status("wrong") == 401
        assert await status(TOKEN) == 429

    visit(tint, work, TOKEN)


def test_failed_tokens_are_counted_per_network() -> None:
    tries = Tries(lambda: 5.0)
    for n in range(10):
        tries.wrong(f"2001:db8::{n}")
    assert tries.wait("2001:db8::ffff") > 0
    assert tries.wait("2001:db8:0:1::1") == 0
    assert tries.wait("192.0.2.1") == 0


def test_the_table_of_failed_tokens_is_bounded() -> None:
    tries = Tries(lambda: 5.0)
    for n in range(guard.REMEMBERED + 50):
        tries.wrong(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert len(tries._wrong) == guard.REMEMBERED


def test_tokens_are_compared_in_constant_time(
    tint: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(guard, "hmac", type("", (), {"compare_digest": staticmethod(spy)}))

    async def work(server: Served) -> None:
        for token in ("wrong", TOKEN[:-1] + "x", TOKEN):
            headers = {"Authorization": f"Bearer {token}"}
            async with server.http.get(f"{server.url}/info", headers=headers):
                pass

    visit(tint, work, TOKEN)
    assert [one.decode() for one, _ in compared] == ["wrong", TOKEN[:-1] + "x", TOKEN]
    assert {other.decode() for _, other in compared} == {TOKEN}


def test_the_token_moves_from_the_url_to_a_cookie(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        url = f"{server.url}/"
        async with server.http.get(url, params={"token": TOKEN}, allow_redirects=False) as answer:
            assert answer.status == 303
            assert answer.headers["Location"] == "/"
            (cookie,) = answer.cookies.values()
        assert cookie.value == TOKEN
        assert cookie["httponly"] is True
        assert cookie["secure"] is True
        assert cookie["samesite"] == "Lax"
        headers = {"Cookie": f'{cookie.key}="{TOKEN}"'}
        async with server.http.get(f"{server.url}/info", headers=headers) as answer:
            assert answer.status == 200

    visit(tint, work, TOKEN)


def test_a_body_over_64_kb_is_refused(tint: Stylizer) -> None:
    async def chunks():
        for _ in range(80):
            yield b"x" * 1024

    async def work(server: Served) -> None:
        url, kind = f"{server.url}/offer", {"Content-Type": "application/json"}
        sdp = {"sdp": "v=0\r\n" + "a=x\r\n" * 14_000}
        async with server.http.post(url, json=sdp) as answer:
            assert answer.status == 413
        async with server.http.post(url, data=chunks(), headers=kind) as answer:
            assert answer.status == 413
        async with server.http.request("GET", server.url, data=b"x" * 70_000) as answer:
            assert answer.status == 413
        async with server.http.post(url, json={"sdp": "x" * 60_000}) as answer:
            assert answer.status == 400
        assert (await server.info())["sessions"] == 0

    visit(tint, work)


def test_a_large_body_is_refused_before_it_is_sent(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        host = server.url.removeprefix("http://").encode()
        for path in (b"/offer", b"/stylize", b"/sessions/x/pictures"):
            head = b"POST " + path + b" HTTP/1.1\r\nHost: " + host
            head += b"\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
            assert b" 413 " in await raw(server, head)

    visit(tint, work)


def test_invalid_offers_are_refused_and_leave_no_session(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        url = f"{server.url}/offer"
        async with visitor(Camera(FLAT)) as one:
            good = await one.offer()
        video = good[good.index("m=video") : good.index("m=application")]
        offers = [
            "",
            "x",
            "v=0\r\n",
            good.replace("m=video", "m=audio"),
            good.replace("a=fingerprint", "a=print"),
            good.replace("a=ice-pwd", "a=pwd"),
            good.replace("VP8", "VP7").replace("H264", "H1"),
            good.replace("m=application", "m=\0"),
            good + video * 4,
            good + "a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n" * 100,
            good[: len(good) // 2],
        ]
        random = np.random.default_rng(3)
        for _ in range(20):
            noisy = np.frombuffer(good.encode(), np.uint8).copy()
            noisy[random.integers(0, len(noisy), 12)] = random.integers(10, 127, 12)
            offers.append(noisy.tobytes().decode())
        for sdp in offers:
            async with server.http.post(url, json={"sdp": sdp}) as answer:
                assert answer.status in (200, 400, 503), sdp
                text = await answer.text()
                assert answer.status != 200 or json.loads(text)["session"]
                if answer.status == 200:  # the corrupted picture was still decodable
                    leave = f"{server.url}/sessions/{json.loads(text)['session']}"
                    async with server.http.delete(leave):
                        pass
        for body in (b"", b"[]", b"{}", b'{"sdp": 3}', b"\xff", b"[" * 60_000):
            kind = {"Content-Type": "application/json"}
            async with server.http.post(url, data=body, headers=kind) as answer:
                assert answer.status == 400, body[:20]
        async with server.http.post(url, data=b"{}") as answer:
            assert answer.status == 415
        await server.emptied(10)

    visit(tint, work)


def test_no_route_serves_files_by_path(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        for path in PATHS:
            assert await path_status(server, path) in (400, 404, 405), path

    visit(tint, work)


def test_every_response_has_the_security_headers(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        for headers in ({}, {"Host": "evil"}, {"Authorization": f"Bearer {TOKEN}"}):
            for method, path in ROUTES:
                url = server.url + path
                async with server.http.request(method, url, headers=headers) as answer:
                    for name, value in HEADERS.items():
                        assert answer.headers[name] == value, (path, answer.status)
                    assert not [h for h in answer.headers if h.lower().startswith("access-control")]

    visit(tint, work, TOKEN)


def test_the_served_page_refers_to_no_other_host(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        for path in ("/", "/common.css", "/page.js", "/stream.js", "/styles.js"):
            async with server.http.get(server.url + path) as answer:
                assert answer.status == 200
                text = await answer.text()
                assert "http://" not in text
                assert "https://" not in text

    visit(tint, work)


def test_internal_errors_show_no_traceback(
    tint: Stylizer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from st.video.serve import app

    def broken(*_: object) -> None:
        raise KeyError("inner \x1b[31m matter")

    monkeypatch.setattr(app, "stylizer_from_request", broken)

    async def work(server: Served) -> None:
        async with server.http.post(f"{server.url}/stylize", data=b"x") as answer:
            assert answer.status == 500
            assert "inner" not in await answer.text()

    visit(tint, work)
    said = capsys.readouterr().err
    assert "inner" in said
    assert "\x1b" not in said


def test_a_slow_body_times_out(tint: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    from st.video.serve import request_body

    monkeypatch.setattr(request_body, "READ_SECONDS", 0.3)

    async def work(server: Served) -> None:
        host = server.url.removeprefix("http://").encode()
        for path in (b"/offer", b"/stylize"):
            head = b"POST " + path + b" HTTP/1.1\r\nHost: " + host
            head += b"\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\nx"
            assert b" 408 " in await raw(server, head)  # though the body never ends

    visit(tint, work)


def test_a_browser_without_a_token_gets_a_field_for_it(tint: Stylizer) -> None:
    async def work(server: Served) -> None:
        browser = {"Accept": "text/html,application/xhtml+xml"}
        async with server.http.get(server.url, headers=browser) as answer:
            assert (answer.status, answer.content_type) == (401, "text/html")
            text = await answer.text()
        assert '<input id="token" name="token"' in text
        async with server.http.get(f"{server.url}/?token=wrong", headers=browser) as answer:
            assert answer.status == 401
            assert "This token is wrong" in await answer.text()
        async with server.http.get(f"{server.url}/info", headers=browser) as answer:
            assert answer.content_type == "application/json"

    visit(tint, work, TOKEN)


def test_the_qr_code_contains_the_address() -> None:
    """The QR code is rendered as in a terminal and decoded by OpenCV."""
    pytest.importorskip("segno")
    import cv2

    from st.video.serve.qr import qr_text

    address = "https://192.168.17.23:8765/?token=" + "x9_-" * 8
    halves = {"█": (255, 255), "▀": (255, 0), "▄": (0, 255), " ": (0, 0), "\xa0": (0, 0)}
    plain = re.sub(r"\x1b\[[0-9;]*m", "", qr_text(address))
    lines = [[halves[letter] for letter in line] for line in plain.splitlines() if line]
    width = max(map(len, lines))
    rows = [
        row for line in lines for row in zip(*(line + [(0, 0)] * (width - len(line))), strict=True)
    ]
    found = ""
    for picture in (np.array(rows, np.uint8), 255 - np.array(rows, np.uint8)):
        large = np.kron(picture, np.ones((6, 6), np.uint8))
        large = cv2.copyMakeBorder(large, 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=255)
        found = found or cv2.QRCodeDetector().detectAndDecode(large)[0]
    assert found == address
