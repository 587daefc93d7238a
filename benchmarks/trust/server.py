"""G13: the server under attack."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from benchmarks.trust.bench import TESTS, Bench, Reached, tell
from st.runtime import Stylizer
from tests.support import toys

TOKEN = "a token of the server's own choice"
MAX_BODY = 64 * 1024
FREED = 30.0  # seconds within which a dead peer must be removed
SESSIONS = 2
JSON = {"Content-Type": "application/json"}


@dataclass
class Tally:
    """requests: number of requests. wrong: unexpected answers."""

    requests: int = 0
    wrong: list[str] = field(default_factory=list)

    def expect(self, what: str, found: int, *wanted: int) -> None:
        self.requests += 1
        if found not in wanted:
            self.wrong.append(f"{what}: {found} instead of {wanted}")


def server(bench: Bench) -> Reached:
    """G13: check every rule over real HTTP and WebRTC on loopback."""
    if find_spec("aiortc") is None or find_spec("aiohttp") is None:
        return Reached("not measured: aiortc and aiohttp are not here", False)
    tally = Tally()
    logging.getLogger("aiohttp.server").setLevel(
        logging.CRITICAL + 1
    )  # rejected requests are expected
    engine = toys.tint_engine(bench.folder / "tint.onnx")
    with Stylizer(engine, device="cpu", threads=1) as stylizer:
        freed = asyncio.run(_all_rules(stylizer, tally))
    if not freed <= FREED:
        tally.wrong.append(f"a dead peer is freed after {freed:.0f} s")
    tell(tally.wrong)
    figure = f"{tally.requests} requests: {len(tally.wrong)} answered wrongly"
    return Reached(f"{figure}; a killed peer freed after {freed:.0f} s", not tally.wrong)


async def _all_rules(stylizer: Stylizer, tally: Tally) -> float:
    from tests.support.serve.visiting import served, session_defaults

    async with served(session_defaults(stylizer), max_sessions=SESSIONS) as here:
        await _strangers(here, tally)
        await _bodies(here, tally)
        await _sessions(here, tally)
        freed = await _dead_peer(here)
    async with served(session_defaults(stylizer), TOKEN) as here:
        await _tokens(here, tally)
    await _queue(tally)
    return freed


async def _strangers(here, tally: Tally) -> None:
    from tests.support.serve.probes import (
        PATHS,
        ROUTES,
        foreign_hosts,
        foreign_origins,
        path_status,
        statuses,
    )

    for name, texts in (("Host", foreign_hosts(here)), ("Origin", foreign_origins(here))):
        for text in texts:
            for route, status in zip(ROUTES, await statuses(here, {name: text}), strict=True):
                tally.expect(f"{name} {text!r}, {route}", status, 403)
    for path in PATHS:
        tally.expect(f"path {path!r}", await path_status(here, path), 400, 404, 405)


async def _bodies(here, tally: Tally) -> None:
    async def in_pieces() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY // 1024 + 8):
            yield b"x" * 1024

    large = json.dumps({"sdp": "v=0\r\n" + "a=x\r\n" * (MAX_BODY // 5)}).encode()
    for name, body in (("of a length", large), ("in pieces", in_pieces())):
        async with here.http.post(f"{here.url}/offer", data=body, headers=JSON) as answer:
            tally.expect(f"a body {name} over 64 kB", answer.status, 413)
    fitting = json.dumps({"sdp": "x" * (MAX_BODY - 100)}).encode()
    async with here.http.post(f"{here.url}/offer", data=fitting, headers=JSON) as answer:
        tally.expect("an offer of 64 kB that is none", answer.status, 400)


async def _sessions(here, tally: Tally) -> None:
    from tests.support.serve.visiting import Camera, Visitor

    visitors = [Visitor(Camera([_flat()])) for _ in range(SESSIONS + 1)]
    try:
        for number, one in enumerate(visitors):
            wanted = 200 if number < SESSIONS else 503
            tally.expect(f"visitor {number + 1}", await one.connect(here), wanted)
    finally:
        await asyncio.gather(*(one.peer.close() for one in visitors))
    await here.emptied(FREED)


async def _dead_peer(here) -> float:
    """Seconds from the kill -9 of a visitor until its slot is free."""
    program = [sys.executable, str(TESTS / "serve" / "lasting_visitor.py"), here.url]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(
        *program, stdout=asyncio.subprocess.PIPE, env=env
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        await process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    await process.wait()
    return await here.emptied(2 * FREED)


async def _tokens(here, tally: Tally) -> None:
    from st.video.serve import guard
    from tests.support.serve.probes import ROUTES, statuses

    for route, status in zip(ROUTES, await statuses(here, {}), strict=True):
        tally.expect(
            f"no token, {route}", status, 401
        )  # /?token=x counts as the first wrong attempt
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return hmac.compare_digest(one, other)

    with mock.patch.object(guard, "hmac", mock.Mock(compare_digest=compare)):
        tries = [TOKEN[:-1] + "x", *(f"wrong {n}" for n in range(8)), "one too many"]
        for number, token in enumerate(tries, 1):
            headers = {"Authorization": f"Bearer {token}"}
            async with here.http.get(f"{here.url}/info", headers=headers) as answer:
                tally.expect(f"wrong token {number}", answer.status, 401 if number < 10 else 429)
    tally.expect("tokens compared in constant time", len(compared), 9)


async def _queue(tally: Tally) -> None:
    from st.video.live.latest import LatestSlot

    place: LatestSlot[int] = LatestSlot()
    for number in range(100):
        place.put(number)
    tally.expect("the newest of a hundred frames", await place.get(), 99)
    tally.expect("frames that were dropped", place.replaced, 99)


def _flat() -> NDArray[np.uint8]:
    return np.full((120, 160, 3), 60, np.uint8)
