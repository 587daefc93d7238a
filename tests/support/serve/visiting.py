"""A server on loopback inside the test, and visitors that are aiortc peers."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
from aiohttp import web
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame
from numpy.typing import NDArray

from st.runtime import Stylizer
from st.video.live.style_state import LiveStyle
from st.video.serve.app import Visits
from st.video.serve.guard import Guard
from st.video.serve.server import runner_of, sweep
from st.video.serve.session import SILENCE, SessionDefaults
from st.video.serve.settings import Settings
from tests.support.video import clips

PICTURE: NDArray[np.uint8] = np.full((120, 160, 3), 60, np.uint8)
SHARED = Path(__file__).parents[4] / "shared/data/video/fox.mp4"
SIZE = 180, 320  # (height, width)
RATE = 25


def clip(folder: Path) -> Path:
    """A real clip if there is one beside the checkout, else a dark generated one."""
    if SHARED.is_file():
        return SHARED
    path = folder / "clip.mp4"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(50):
            picture = clips.scene(number, *SIZE) // 2  # else its negative would be like it
            film.mux(stream.encode(VideoFrame.from_ndarray(picture, "rgb24")))
        film.mux(stream.encode())
    return path


def frames(path: Path, count: int = 50) -> list[NDArray[np.uint8]]:
    """The first frames of a video, reduced."""
    found = []
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            found.append(frame.reformat(SIZE[1], SIZE[0], "rgb24").to_ndarray())
            if len(found) == count:
                break
    return found


def session_defaults(stylizer: Stylizer, *styles: str, target_fps: float = 2) -> SessionDefaults:
    """target_fps: so low that a busy machine does not reduce the paint size."""
    live = LiveStyle(stylizer, styles, needs_style=False)
    weights = {live.first: 1 - live.blend} if live.choices else {}
    begin = Settings(weights, live.strength)
    return SessionDefaults(stylizer, live.choices, begin, target_fps)


@dataclass
class Served:
    """url: without a trailing slash."""

    url: str
    http: aiohttp.ClientSession

    async def info(self) -> dict[str, Any]:
        async with self.http.get(f"{self.url}/info") as answer:
            return await answer.json()

    async def emptied(self, seconds: float) -> float:
        """Wait until all visitors have left; returns the duration in seconds."""
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(seconds):
            while (await self.info())["sessions"]:
                await asyncio.sleep(0.1)
        return asyncio.get_running_loop().time() - began


@asynccontextmanager
async def served(
    defaults: SessionDefaults,
    token: str | None = None,
    max_sessions: int = 4,
    workers: int = 2,
    silence: float = SILENCE,
) -> AsyncIterator[Served]:
    guard = Guard(token)
    visits = Visits(defaults, max_sessions, workers, silence)
    app = visits.app(guard)
    runner = runner_of(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        guard.allow([url])
        sweeping = asyncio.create_task(sweep(visits, runner))
        async with aiohttp.ClientSession() as http:
            yield Served(url, http)
        sweeping.cancel()
    finally:
        await runner.cleanup()


class Camera(MediaStreamTrack):
    """Frames in real time, repeated forever."""

    kind = "video"

    def __init__(self, pictures: list[NDArray[np.uint8]], rate: float = RATE) -> None:
        super().__init__()
        self._pictures, self._rate = pictures, rate
        self._number = 0
        self._began = 0.0
        self.sent: list[float] = []  # when each frame was sent

    async def recv(self) -> VideoFrame:
        now = asyncio.get_running_loop().time()
        self._began = self._began or now
        await asyncio.sleep(max(0.0, self._began + self._number / self._rate - now))
        picture = self._pictures[self._number % len(self._pictures)]
        frame = VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts, frame.time_base = round(self._number * 90000 / self._rate), Fraction(1, 90000)
        self._number += 1
        self.sent.append(asyncio.get_running_loop().time())
        return frame


@dataclass
class Visitor:
    """A visitor's browser, simulated with aiortc. got: painted frames and their arrival times."""

    camera: Camera
    peer: RTCPeerConnection = field(
        default_factory=lambda: RTCPeerConnection(RTCConfiguration(iceServers=[]))
    )
    got: list[tuple[float, VideoFrame]] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)
    session: str = ""
    keep: int = 1000

    async def offer(self) -> str:
        self.channel = self.peer.createDataChannel("controls")
        self.channel.on("message", lambda text: self.heard.append(json.loads(text)))
        self.peer.addTrack(self.camera)
        self.peer.on("track", lambda track: asyncio.ensure_future(self._receive(track)))
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return self.peer.localDescription.sdp

    async def connect(self, server: Served, headers: dict[str, str] | None = None) -> int:
        """Connect; returns the HTTP status, 200 for success."""
        offer = {"sdp": await self.offer()}
        url = f"{server.url}/offer"
        async with server.http.post(url, json=offer, headers=headers) as answer:
            if answer.status == 200:
                values = await answer.json()
                self.session = values["session"]
                sdp = RTCSessionDescription(values["sdp"], "answer")
                await self.peer.setRemoteDescription(sdp)
            return answer.status

    async def wait(self, count: int, seconds: float = 30) -> list[NDArray[np.uint8]]:
        """The next `count` painted frames as (H, W, 3) uint8 RGB."""
        start = len(self.got)
        async with asyncio.timeout(seconds):
            while len(self.got) < start + count:
                await asyncio.sleep(0.02)
        return [f.to_ndarray(format="rgb24") for _, f in self.got[start : start + count]]

    async def hear(self, key: str, seconds: float = 10) -> Any:
        """The next message with this entry."""
        start = len(self.heard)
        async with asyncio.timeout(seconds):
            while True:
                for values in self.heard[start:]:
                    if key in values:
                        return values[key]
                await asyncio.sleep(0.02)

    async def send(self, **values: Any) -> None:
        async with asyncio.timeout(10):
            while self.channel.readyState != "open":
                await asyncio.sleep(0.02)
        self.channel.send(json.dumps(values))

    async def _receive(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                assert isinstance(frame, VideoFrame)
                self.got.append((asyncio.get_running_loop().time(), frame))
        except MediaStreamError:
            pass


@asynccontextmanager
async def visitor(camera: Camera) -> AsyncIterator[Visitor]:
    one = Visitor(camera)
    try:
        yield one
    finally:
        await one.peer.close()


async def visits_growth(engine: Path, times: int, first: int = 5) -> int:
    """The memory growth of a real server over successive visits, in bytes, after the first few."""

    async def visit(server: Served, count: int) -> None:
        for _ in range(count):
            async with visitor(Camera([PICTURE])) as one:
                assert await one.connect(server) == 200
                await one.wait(2)
            await server.emptied(15)

    code = "from st.video.webcam_command import main; main()"
    arguments = ["--serve", ":0", "--engine", str(engine), "--threads", "1"]
    program = [sys.executable, "-c", code, *arguments]
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip().rstrip("/")
        async with aiohttp.ClientSession() as http:
            server = Served(url, http)
            await visit(server, first)
            before, threads = resident(process.pid), threads_of(process.pid)
            await visit(server, times)
            assert threads_of(process.pid) <= threads + 8  # of pools that fill slowly
            return resident(process.pid) - before
    finally:
        process.terminate()
        await process.wait()


def resident(pid: int) -> int:
    """The memory of a process, in bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return 1024 * int(found[1])


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
