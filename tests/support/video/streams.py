"""Real servers on loopback that play a stream, and can drop it or hang."""

from __future__ import annotations

import contextlib
import io
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import av
import cv2
import numpy as np

Scene = Callable[[int], np.ndarray]


class MjpegServer:
    """An HTTP camera: JPEG pictures in an endless multipart response.

    scene: number -> (H, W, 3) uint8 RGB; may be changed.
    hanging: while set, connections stay open and nothing is sent.
    refused: while set, requests are answered 503.
    """

    def __init__(self, scene: Scene, rate: float = 30.0) -> None:
        self.scene, self.rate = scene, rate
        self.hanging, self.refused = threading.Event(), threading.Event()
        self.visits = 0
        self._drop = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/camera"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def drop(self) -> None:
        """End the current responses."""
        drop, self._drop = self._drop, threading.Event()
        drop.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.drop()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        drop = self._drop
        if self.refused.is_set():
            request.send_error(503)
            return
        self.visits += 1
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
        request.end_headers()
        for number in itertools.count():
            while self.hanging.is_set() and not drop.is_set():
                drop.wait(0.05)
            if drop.wait(1 / self.rate):
                return
            data = jpeg(self.scene(number))
            head = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            try:
                request.wfile.write(head.encode() + data + b"\r\n")
            except OSError:
                return


def jpeg(rgb: np.ndarray) -> bytes:
    good, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    assert good
    return data.tobytes()


class RtspServer:
    """An RTSP camera that speaks TCP only: an MPEG transport stream in RTP packets.

    hanging: while set, nothing is sent.
    """

    def __init__(self, scene: Scene, rate: int = 15) -> None:
        self._parts = transport_stream([scene(n) for n in range(rate)], rate)
        self._rate = rate
        self.hanging = threading.Event()
        self.transports: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://user:secret@127.0.0.1:{self._listener.getsockname()[1]}/live"
        self._clients: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def drop(self) -> None:
        while self._clients:
            with contextlib.suppress(OSError):  # the client may have left
                self._clients.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.drop()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        reader = client.makefile("rb")
        try:
            while request := reader.readline().decode():
                heads = {}
                while line := reader.readline().decode().strip():
                    name, _, value = line.partition(":")
                    heads[name.lower()] = value.strip()
                if self._reply(client, request.split()[0], heads):
                    self._play(client)
                    return
        except OSError:
            return

    def _reply(self, client: socket.socket, method: str, heads: dict[str, str]) -> bool:
        more, body, code = "", "", "200 OK"
        if method == "OPTIONS":
            more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=live\r\nt=0 0\r\n"
                "m=video 0 RTP/AVP 33\r\na=control:track\r\n"
            )
            more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            self.transports.append(heads["transport"])
            more = "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            if "TCP" not in heads["transport"]:
                code = "461 Unsupported Transport"
        else:
            more = "Session: 1\r\n"
        text = f"RTSP/1.0 {code}\r\nCSeq: {heads['cseq']}\r\n{more}\r\n{body}"
        client.sendall(text.encode())
        return method == "PLAY"

    def _play(self, client: socket.socket) -> None:
        sequence = 0
        for number in itertools.count():
            while self.hanging.is_set():
                time.sleep(0.05)
            data = self._parts[number % len(self._parts)]
            for start in range(0, len(data), 7 * 188):
                payload = data[start : start + 7 * 188]
                stamp = number * 90_000 // self._rate & 0xFFFFFFFF
                rtp = struct.pack(">BBHII", 0x80, 33, sequence & 0xFFFF, stamp, 1) + payload
                client.sendall(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
                sequence += 1
            time.sleep(1 / self._rate)


def transport_stream(pictures: list[np.ndarray], rate: int) -> list[bytes]:
    """An MPEG transport stream of the pictures, cut at each; every one is a keyframe."""
    file = io.BytesIO()
    cuts = [0]
    with av.open(file, "w", format="mpegts") as target:
        stream: Any = target.add_stream("libx264", rate=rate)
        stream.width, stream.height = pictures[0].shape[1], pictures[0].shape[0]
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "1"}
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts = number
            target.mux(stream.encode(frame))
            cuts.append(file.tell())
        target.mux(stream.encode(None))
    data = file.getvalue()
    cuts[-1] = len(data)
    return [data[a:b] for a, b in itertools.pairwise(cuts) if b > a]


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A free port of loopback."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait until the condition returns a true value; returns that. Fails after a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:g} s")
