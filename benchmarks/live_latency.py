"""End-to-end latency of st-webcam: from a camera picture to its decoded painting at the receiver.

    python -m benchmarks.live_latency --engine paintings --size 640x360

An HTTP camera on loopback draws the time into each picture, as blocks in a strip that a mask keeps
unpainted. st-webcam paints the picture and sends it as H.264 over UDP. An unbuffered player decodes
the stream and reads the time back. The delays of a real sensor and screen are not included.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import click
import cv2
import numpy as np
from av.error import FFmpegError

from benchmarks.machine import this_machine
from benchmarks.pictures import Rgb
from benchmarks.report import Row, progress, show
from st import engines
from st.runtime.backends.open import ONNX_DEVICES
from st.runtime.bench.clips import frames_of
from st.runtime.bench.device_check import verdict_of
from st.runtime.cli.base import command
from st.runtime.errors import BadInput, StError, printable
from st.runtime.pictures.resize import parse_size
from st.runtime.stylizer import Stylizer

BITS = 20  # for milliseconds since the start: 17 minutes
CHECK = 4  # for a checksum, so that a torn picture is not read as a time
STRIP = 32  # rows
WARM_UP = 20  # received frames that are not counted
SILENCE = 30.0  # seconds without a frame, after which the measurement fails


class Clock:
    """Draws times into pictures, and reads them back."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def stamp(self, frame: Rgb) -> Rgb:
        """A copy with the current time in its strip, in black and white."""
        now = round((time.monotonic() - self._began) * 1000) % (1 << BITS)
        bits = [now >> at & 1 for at in range(BITS)] + [_sum(now) >> at & 1 for at in range(CHECK)]
        stamped = frame.copy()
        width = frame.shape[1] // len(bits)
        row = np.repeat(np.array(bits, np.uint8) * 255, width)
        stamped[:STRIP] = 0
        stamped[:STRIP, : len(row)] = row[None, :, None]
        return stamped

    def age(self, frame: Rgb) -> float | None:
        """Milliseconds since the time in the strip; None if it cannot be read."""
        count = BITS + CHECK
        width = frame.shape[1] // count
        middle = frame[STRIP // 4 : STRIP * 3 // 4, : count * width].mean(axis=(0, 2))
        bits = middle.reshape(count, width)[:, width // 4 : -(-width * 3 // 4)].mean(axis=1) > 127
        stamp = sum(int(bit) << at for at, bit in enumerate(bits[:BITS]))
        told = sum(int(bit) << at for at, bit in enumerate(bits[BITS:]))
        if told != _sum(stamp):
            return None
        return (round((time.monotonic() - self._began) * 1000) - stamp) % (1 << BITS)


def _sum(number: int) -> int:
    """A checksum that no all-black strip has."""
    return (sum(number >> at & 15 for at in range(0, BITS, 4)) + 5) & 15


@contextmanager
def camera(film: list[Rgb], rate: float, clock: Clock) -> Iterator[str]:
    """The URL of an HTTP camera that plays these pictures with the time of sending."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
            self.end_headers()
            due = time.monotonic()
            for frame in itertools.cycle(film):
                due += 1 / rate
                time.sleep(max(0.0, due - time.monotonic()))
                bgr = cv2.cvtColor(clock.stamp(frame), cv2.COLOR_RGB2BGR)
                data = cv2.imencode(".jpg", bgr)[1].tobytes()
                head = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + data + b"\r\n")
                except OSError:
                    return

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/camera"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def webcam(
    source: str, target: str, engine: str, device: str, mask: Path, size: tuple[int, int]
) -> Iterator[subprocess.Popen[str]]:
    """Run st-webcam in its own process; it paints where the mask is white."""
    with Stylizer(engine, device="cpu") as stylizer:
        region = f"{mask}={stylizer.styles[0]}" if stylizer.styles else str(mask)
    words = [source, "--engine", engine, "--device", device, "--headless", "-o", target]
    words += ["--paint-size", str(max(size)), "--region", region, "--bitrate", "20"]
    code = "from st.video.webcam_command import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ages(target: str, clock: Clock, count: int) -> list[float]:
    """The latency of each picture in the stream at `target`, in milliseconds.

    Raises StError: no stream arrives.
    """
    options = {
        "fflags": "nobuffer",
        "flags": "low_delay",
        "probesize": "100000",
        "analyzeduration": "0",
        "timeout": str(int(SILENCE * 1_000_000)),
    }
    found: list[float] = []
    seen = 0
    try:
        with av.open(target, options=options, timeout=SILENCE) as stream:
            picture = stream.streams.video[0]
            picture.codec_context.thread_count = 1  # threads per frame would delay frames
            for frame in stream.decode(picture):
                age = clock.age(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                seen += 1
                if age is not None and seen > WARM_UP:
                    found.append(age)
                if len(found) == count:
                    return found
                if seen > 10 * count + WARM_UP:
                    raise StError("the received pictures have no readable time")
    except (FFmpegError, OSError, IndexError) as error:
        raise StError(f"no stream arrived ({printable(error, 80)})") from None
    raise StError("the stream ended")


def measure(engine: str, device: str, film: list[Rgb], rate: float, count: int) -> list[float]:
    """The latency of `count` pictures on one device, in ms. Raises StError: no stream arrives."""
    height, width = film[0].shape[:2]
    clock = Clock()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        target = f"udp://127.0.0.1:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder, camera(film, rate, clock) as source:
        mask = np.full((height, width), 255, np.uint8)
        mask[: STRIP + 8] = 0
        path = Path(folder, "mask.png")
        cv2.imwrite(str(path), mask)
        with webcam(source, target, engine, device, path, (height, width)) as process:
            try:
                return ages(target, clock, count)
            except StError as error:
                process.terminate()
                told = (process.stderr.read() if process.stderr else "").strip()
                raise StError(f"{error}: {printable(told.rpartition(chr(10))[2], 200)}") from None


@command(epilog="Example: python -m benchmarks.live_latency --engine paintings --size 640x360")
@click.argument("clip", required=False, type=click.Path(path_type=Path))
@click.option("--engine", default=engines.DEFAULT, show_default=True)
@click.option("--device", "devices", multiple=True, type=click.Choice(ONNX_DEVICES))
@click.option("--size", default="640x360", show_default=True)
@click.option("--rate", default=25.0, show_default=True, help="Frame rate of the camera.")
@click.option("--frames", "count", default=100, show_default=True, type=click.IntRange(2))
@click.option("--json", "as_json", is_flag=True)
def main(
    clip: Path | None,
    engine: str,
    devices: tuple[str, ...],
    size: str,
    rate: float,
    count: int,
    as_json: bool,
) -> None:
    """Measure the latency from an HTTP camera through st-webcam to a player."""
    height, width = parse_size(size)
    if width < 8 * (BITS + CHECK) or height < 2 * STRIP:
        raise BadInput(f"--size takes WxH, {8 * (BITS + CHECK)}x{2 * STRIP} or more")
    film = frames_of(clip, (height, width), 50)
    here = [name for name in devices or ONNX_DEVICES if verdict_of(engine, name, None).runs]
    rows: list[Row] = []
    with progress() as bar:
        for device in bar.track(here, description="measuring"):
            own = measure(engine, device, film, rate, count)
            p50, p95 = (float(np.percentile(own, part)) for part in (50, 95))
            rows.append({"device": device, "ms": p50, "95 %": p95, "least": min(own)})
    if not rows:
        raise StError(f"{engine} does not run on any device here")
    show(f"End-to-end latency, {size} at {rate:g} frames/s", this_machine(), rows, as_json)


if __name__ == "__main__":
    main()
