"""Cameras through OpenCV: found by number or name, opened with MJPG where possible."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from st.runtime.errors import BadInput, Unavailable, printable
from st.runtime.system.opencv_log import SILENT, set_log_level
from st.video.live.capture import Captured, Lost

SYSFS = Path("/sys/class/video4linux")
MAX_PROBED = 10  # camera numbers to try where the system has no list of cameras
READ_SECONDS = 5

# Timeout after which an unplugged camera is noticed. OpenCV reads it with the first camera.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(READ_SECONDS))

_APIS = {"linux": "CAP_V4L2", "win32": "CAP_DSHOW", "darwin": "CAP_AVFOUNDATION"}


@dataclass(frozen=True)
class Device:
    """A camera: its OpenCV index and its name."""

    index: int
    name: str

    def __str__(self) -> str:
        return (
            f"camera {self.index} ({printable(self.name, 60)})"
            if self.name
            else (f"camera {self.index}")
        )


@dataclass(frozen=True)
class CameraRequest:
    """The format to request from a camera. Most reach high frame rates in MJPG only.

    size: (height, width) in pixels. fps: frames per second.
    """

    size: tuple[int, int] = (720, 1280)
    fps: float = 30.0
    mjpg: bool = True


def list_cameras(root: Path = SYSFS) -> list[Device]:
    """The cameras of this machine, by index. Names are known on Linux only."""
    if not sys.platform.startswith("linux"):
        return [Device(index, "") for index in range(MAX_PROBED) if _answers(index)]
    found = []
    for folder in root.glob("video*"):
        # A camera has several device nodes; the first delivers pictures, the others metadata.
        number = folder.name.removeprefix("video")
        if number.isdecimal() and _read(folder / "index") in ("", "0"):
            found.append(Device(int(number), _read(folder / "name")))
    return sorted(found, key=lambda device: device.index)


def find_camera(wanted: int | str, root: Path = SYSFS) -> Device:
    """A camera by index, or by its name or a part of the name.

    Raises:
        Unavailable: no such camera; the message lists those that exist.
        BadInput: several names match.
    """
    devices = list_cameras(root)
    if isinstance(wanted, int):
        known = {device.index: device for device in devices}
        if wanted in known or not sys.platform.startswith("linux"):
            return known.get(wanted, Device(wanted, ""))
        raise Unavailable(f"no camera {wanted}: {_listed(devices)}")
    name = wanted.casefold()
    same = [d for d in devices if d.name.casefold() == name]
    alike = same or [d for d in devices if name in d.name.casefold()]
    if len(alike) > 1 and not same:
        raise BadInput(f"{printable(wanted)!r} matches several cameras: {_listed(alike)}")
    if not alike:
        raise Unavailable(f"no camera or file {printable(wanted)!r}: {_listed(devices)}")
    return alike[0]


class Camera:
    """See st.video.live.capture.FrameSource."""

    def __init__(self, device: Device, request: CameraRequest, stop: threading.Event) -> None:
        """Raises Unavailable: it cannot be opened; another program may be using it."""
        self._stop = stop
        self._device = device
        _quiet()
        self._capture = cv2.VideoCapture(device.index, _api())
        if not self._capture.isOpened():
            raise Unavailable(f"{device} cannot be opened: is another program using it?")
        _ask(self._capture, request)
        self.rate: float | None = self._capture.get(cv2.CAP_PROP_FPS) or None
        self.description = _given(device, self._capture, request)

    def read(self) -> Captured | None:
        if not self._capture.grab():
            raise Lost(f"{self._device} delivers no picture")
        when = time.monotonic()
        good, bgr = self._capture.retrieve()
        if not good or bgr is None:
            raise Lost(f"{self._device} delivered a damaged frame")
        return Captured(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), when)

    def close(self) -> None:
        self._capture.release()


class CameraOpener:
    """Opens a camera repeatedly: after it was plugged in again, its index may differ."""

    def __init__(self, wanted: int | str, request: CameraRequest, root: Path = SYSFS) -> None:
        self._wanted, self._request, self._root = wanted, request, root
        self._name = ""

    def __call__(self, stop: threading.Event) -> Camera:
        device = self._find()
        self._name = device.name
        return Camera(device, self._request, stop)

    def _find(self) -> Device:
        try:
            device = find_camera(self._wanted, self._root)
            if not self._name or device.name == self._name:
                return device
        except Unavailable:
            if not self._name:
                raise
        return find_camera(self._name, self._root)


def _ask(capture: Any, request: CameraRequest) -> None:
    mjpg = cv2.VideoWriter.fourcc(*"MJPG")
    if request.mjpg:  # first, since the sizes and rates on offer depend on the format
        capture.set(cv2.CAP_PROP_FOURCC, mjpg)
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, request.size[1])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, request.size[0])
    capture.set(cv2.CAP_PROP_FPS, request.fps)
    if request.mjpg and int(capture.get(cv2.CAP_PROP_FOURCC)) != mjpg:
        capture.set(cv2.CAP_PROP_FOURCC, mjpg)  # DirectShow resets it when the size changes
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)


def _given(device: Device, capture: Any, request: CameraRequest) -> str:
    """The format in effect, and the request where it differs."""
    height, width = (
        int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
    )
    fps = capture.get(cv2.CAP_PROP_FPS)
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    letters = printable(code.to_bytes(4, "little").decode("latin-1").strip("\0 "))
    line = f"{device}: {width}×{height}"
    line += f" at {fps:g} frames/s" if fps > 0 else ""
    line += f", {letters}" if letters else ""
    missed = []
    if (height, width) != request.size:
        missed.append("{1}×{0}".format(*request.size))
    if fps > 0 and abs(fps - request.fps) > 0.5:
        missed.append(f"{request.fps:g} frames/s")
    if request.mjpg and letters and letters != "MJPG":
        missed.append("MJPG")
    return line + (f" (asked for {', '.join(missed)})" if missed else "")


def _answers(index: int) -> bool:
    _quiet()
    capture = cv2.VideoCapture(index, _api())
    try:
        return capture.isOpened()
    finally:
        capture.release()


def _api() -> int:
    return getattr(cv2, _APIS.get(sys.platform, "CAP_ANY"))


def _quiet() -> None:
    """Silence OpenCV's own messages about missing cameras."""
    set_log_level(SILENT)


def _listed(devices: list[Device]) -> str:
    shown = ", ".join(f"{d.index} {printable(d.name, 60)}".strip() for d in devices)
    return f"there is {shown}" if shown else "no camera is connected"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
