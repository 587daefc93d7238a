"""WebRTC: a visitor's camera is painted and sent back."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("aiortc")
pytest.importorskip("aiohttp")

from st.runtime import Stylizer
from tests.support import toys
from tests.support.serve import lasting_visitor
from tests.support.serve.visiting import (
    RATE,
    SIZE,
    Camera,
    clip,
    frames,
    served,
    session_defaults,
    visitor,
)

FLAT: list[NDArray[np.uint8]] = [np.full((*SIZE, 3), 60, np.uint8)]


@pytest.fixture
def tint(tmp_path: Path) -> Stylizer:
    return Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device="cpu", threads=1)


@pytest.fixture
def code(tmp_path: Path) -> Stylizer:
    return Stylizer(toys.code_engine(tmp_path / "code.onnx"), device="cpu", threads=1)


def test_a_streamed_clip_is_painted(tint: Stylizer, tmp_path: Path) -> None:
    film = frames(clip(tmp_path))

    async def play() -> list[NDArray[np.uint8]]:
        async with served(session_defaults(tint)) as server, visitor(Camera(film)) as one:
            assert await one.connect(server) == 200
            await one.wait(10)
            return await one.wait(15)

    painted = asyncio.run(play())
    inverted = [cv2.resize(255 - frame, (64, 36)).astype(float) for frame in film]
    for picture in painted:
        assert picture.shape == (*SIZE, 3)
        small = cv2.resize(picture, (64, 36)).astype(float)
        # Two low-bitrate encodings: the colors are close, not equal. The unpainted clip is far off.
        assert min(np.abs(small - frame).mean() for frame in inverted) < 12
    assert min(np.abs(255 - f - inverted[0]).mean() for f in inverted) > 20, "a clip that shows it"


def test_every_visitor_has_settings_of_their_own(tint: Stylizer) -> None:
    async def play() -> None:
        async with (
            served(session_defaults(tint)) as server,
            visitor(Camera(FLAT)) as one,
            visitor(Camera(FLAT)) as other,
        ):
            assert await one.connect(server) == 200
            assert await other.connect(server) == 200
            await one.send(settings={"weights": {"1": 1}, "strength": 0.5})
            await other.send(settings={"weights": {"0": 0.6, "1": 0.4}})
            await asyncio.gather(one.wait(10), other.wait(10))
            ones, others = await asyncio.gather(one.wait(1), other.wait(1))
            assert abs(ones[0].mean() - 30) < 4
            assert abs(others[0].mean() - 0.6 * 195) < 4

    asyncio.run(play())


def test_bad_settings_get_an_error_and_change_nothing(tint: Stylizer) -> None:
    async def play() -> None:
        async with served(session_defaults(tint)) as server, visitor(Camera(FLAT)) as one:
            assert await one.connect(server) == 200
            await one.wait(2)
            for bad in (
                {"weights": {"7": 1}},
                {"weights": {"../x": 1}},
                {"weights": {"0": 0}},
                {"weights": [1]},
                {"weights": {"0": float("nan")}},
                {"sharp": 1},
                {"strength": 2},
                {"color": "red"},
                {"file": "x"},
                [],
                3,
            ):
                await one.send(settings=bad)
                assert await one.hear("error")
            one.channel.send("no JSON")
            assert "JSON" in await one.hear("error")
            await one.send(ping=17)
            assert await one.hear("pong") == 17
            assert abs((await one.wait(1))[0].mean() - 195) < 4

    asyncio.run(play())


def test_the_server_reports_rate_delay_and_size(tint: Stylizer) -> None:
    async def play() -> None:
        async with served(session_defaults(tint)) as server, visitor(Camera(FLAT)) as one:
            assert await one.connect(server) == 200
            await one.hear("rate")
            await one.hear("rate")
            last = one.heard[-1]
            assert 1 <= last["rate"] <= RATE + 5
            assert 0 <= last["delay"] < 1000
            assert (last["height"], last["width"]) == SIZE

    asyncio.run(play())


def test_an_uploaded_picture_becomes_a_style(code: Stylizer, tmp_path: Path) -> None:
    dark = tmp_path / "dark.png"
    cv2.imwrite(str(dark), np.full((20, 20, 3), 20, np.uint8))
    bright = cv2.imencode(".png", np.full((20, 20, 3), 100, np.uint8))[1].tobytes()

    async def play() -> None:
        async with (
            served(session_defaults(code, str(dark))) as server,
            visitor(Camera(FLAT)) as one,
        ):
            info = await server.info()
            assert info["pictures"] is True
            assert info["styles"] == ["dark"]
            assert await one.connect(server) == 200
            assert abs((await one.wait(5))[-1].mean() - 80) < 4
            url = f"{server.url}/sessions/{one.session}/pictures"
            async with server.http.post(url, data=bright) as answer:
                number = (await answer.json())["style"]
            await one.send(settings={"weights": {str(number): 1}})
            await one.wait(10)
            assert abs((await one.wait(1))[-1].mean() - 160) < 4
            for n in range(8):
                async with server.http.post(url, data=bright) as answer:
                    assert answer.status == (200 if n < 7 else 400)

    asyncio.run(play())


def test_only_the_newest_frame_is_queued(tint: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Painting takes four frame periods; the delay stays that of one or two paintings."""
    from st.video.serve import session

    real = session.paint_frame

    def slow(*arguments: object) -> object:
        time.sleep(4 / RATE)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(session, "paint_frame", slow)

    async def play() -> list[float]:
        async with served(session_defaults(tint)) as server, visitor(Camera(FLAT)) as one:
            assert await one.connect(server) == 200
            await one.wait(25, seconds=40)
            return [values["delay"] for values in one.heard if "delay" in values]

    delays = asyncio.run(play())
    assert len(delays) >= 3
    assert max(delays[1:]) < 1000 * 4 / RATE * 3


def test_a_slow_machine_paints_at_a_smaller_size(
    tint: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from st.video.serve import session

    real = session.paint_frame

    def slow(paint: Stylizer, frame: object, height: int, width: int) -> object:
        time.sleep(0.1 * height * width / (SIZE[0] * SIZE[1]))
        return real(paint, frame, height, width)  # type: ignore[arg-type]

    monkeypatch.setattr(session, "paint_frame", slow)

    async def play() -> None:
        defaults = session_defaults(tint, target_fps=15)
        async with served(defaults) as server, visitor(Camera(FLAT)) as one:
            assert await one.connect(server) == 200
            async with asyncio.timeout(30):
                while await one.hear("width") == SIZE[1]:
                    pass
            width, height = one.heard[-1]["width"], one.heard[-1]["height"]
            assert width < SIZE[1]
            assert abs(width / height - SIZE[1] / SIZE[0]) < 0.03
            assert (await one.wait(10))[-1].shape[1] < SIZE[1]

    asyncio.run(play())


def test_a_visitor_who_leaves_frees_the_slot_at_once(tint: Stylizer) -> None:
    async def play() -> None:
        async with served(session_defaults(tint), max_sessions=1) as server:
            async with visitor(Camera(FLAT)) as one:
                assert await one.connect(server) == 200
                await one.wait(1)
            assert await server.emptied(5) < 5
            async with visitor(Camera(FLAT)) as one:
                assert await one.connect(server) == 200
                await one.wait(1)
                async with server.http.delete(f"{server.url}/sessions/{one.session}") as answer:
                    assert answer.status == 200
                assert (await server.info())["sessions"] == 0

    asyncio.run(play())


def test_one_visitor_too_many_gets_a_message(tint: Stylizer) -> None:
    async def play() -> None:
        async with (
            served(session_defaults(tint), max_sessions=1) as server,
            visitor(Camera(FLAT)) as one,
            visitor(Camera(FLAT)) as other,
        ):
            statuses = await asyncio.gather(one.connect(server), other.connect(server))
            assert sorted(statuses) == [200, 503]

    asyncio.run(play())


def test_an_unanswered_offer_is_freed(tint: Stylizer) -> None:
    async def play() -> None:
        async with (
            served(session_defaults(tint), silence=2) as server,
            visitor(Camera(FLAT)) as one,
        ):
            offer = {"sdp": await one.offer()}
            async with server.http.post(f"{server.url}/offer", json=offer) as answer:
                assert answer.status == 200
            assert (await server.info())["sessions"] == 1
            await server.emptied(10)

    asyncio.run(play())


def test_a_dead_peer_is_freed_within_30_seconds(tint: Stylizer, tmp_path: Path) -> None:
    """With the real timeouts: a visitor's process is killed without closing its connection."""

    async def play() -> None:
        async with served(session_defaults(tint)) as server:
            env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
            program = [sys.executable, lasting_visitor.__file__]
            process = await asyncio.create_subprocess_exec(
                *program, server.url, stdout=asyncio.subprocess.PIPE, env=env
            )
            assert process.stdout is not None
            async with asyncio.timeout(40):
                assert (await process.stdout.readline()).strip() == b"painted"
            assert (await server.info())["sessions"] == 1
            process.send_signal(signal.SIGKILL)
            await process.wait()
            assert 1 < await server.emptied(30) < 30

    asyncio.run(play())
