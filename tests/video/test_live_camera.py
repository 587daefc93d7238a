"""Cameras. The test machine has none: a folder replaces the system's device list, and a fake
replaces OpenCV's capture. The fake behaves like the real cameras in opencv#9540."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from st.runtime.errors import BadInput, Unavailable
from st.video.live import camera
from st.video.live.camera import CameraOpener, CameraRequest, Device, find_camera, list_cameras
from st.video.live.capture import Capture, Lost
from tests.support.video.streams import wait_for

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names are Linux's")


def plug(root: Path, number: int, name: str, index: int = 0) -> Path:
    folder = root / f"video{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(name + "\n")
    (folder / "index").write_text(f"{index}\n")
    return folder


class FakeCapture:
    """Fake of cv2.VideoCapture: a camera with 640×480 and 1280×720, MJPG and YUYV.

    dead: camera numbers that fail to open. unplugged: while set, no frames arrive.
    """

    dead: set[int]
    unplugged: threading.Event
    asked: list[tuple[int, float]]
    opened: list[int]

    def __init__(self, index: int, api: int) -> None:
        self.index = index
        FakeCapture.opened.append(index)
        yuyv = float(cv2.VideoWriter.fourcc(*"YUYV"))
        self.values = {cv2.CAP_PROP_FOURCC: yuyv, cv2.CAP_PROP_FPS: 5.0}
        self.values |= {cv2.CAP_PROP_FRAME_WIDTH: 640.0, cv2.CAP_PROP_FRAME_HEIGHT: 480.0}

    def isOpened(self) -> bool:  # noqa: N802
        return self.index not in FakeCapture.dead and not FakeCapture.unplugged.is_set()

    def set(self, key: int, value: float) -> bool:
        FakeCapture.asked.append((key, value))
        if key == cv2.CAP_PROP_FRAME_WIDTH:
            value = 1280.0 if value >= 1280 else 640.0
            self.values[cv2.CAP_PROP_FRAME_HEIGHT] = value * 9 / 16 if value > 640 else 480.0
        if key == cv2.CAP_PROP_FPS:
            mjpg = self.values[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
            value = min(value, 30.0) if mjpg else 5.0
        if key != cv2.CAP_PROP_FRAME_HEIGHT:
            self.values[key] = float(value)
        return True

    def get(self, key: int) -> float:
        return self.values.get(key, 0.0)

    def grab(self) -> bool:
        return not FakeCapture.unplugged.wait(0.01)

    def retrieve(self) -> tuple[bool, np.ndarray]:
        height = int(self.get(cv2.CAP_PROP_FRAME_HEIGHT))
        blue = np.zeros((height, int(self.get(cv2.CAP_PROP_FRAME_WIDTH)), 3), np.uint8)
        blue[..., 0] = 200  # BGR
        return True, blue

    def release(self) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    FakeCapture.dead, FakeCapture.unplugged = set(), threading.Event()
    FakeCapture.asked, FakeCapture.opened = [], []
    monkeypatch.setattr(camera.cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr("st.video.live.capture.FIRST_PAUSE", 0.02)
    return FakeCapture


@linux
def test_cameras_by_number_and_name(tmp_path: Path) -> None:
    plug(tmp_path, 0, "Integrated Camera: Integrated C")
    plug(tmp_path, 1, "Integrated Camera: Integrated C", index=1)  # metadata only, no pictures
    plug(tmp_path, 2, "Logitech BRIO")
    plug(tmp_path, 10, "Logitech C920\x1b[2J")
    assert [d.index for d in list_cameras(tmp_path)] == [0, 2, 10]
    assert find_camera(2, tmp_path) == Device(2, "Logitech BRIO")
    assert find_camera("brio", tmp_path).index == 2
    assert find_camera("logitech brio", tmp_path).index == 2
    with pytest.raises(BadInput, match="2 Logitech BRIO, 10 Logitech C920") as several:
        find_camera("logitech", tmp_path)
    assert "\x1b" not in str(several.value)
    with pytest.raises(Unavailable, match="there is 0 Integrated"):
        find_camera(1, tmp_path)
    with pytest.raises(Unavailable, match="there is 0 Integrated"):
        find_camera("nikon", tmp_path)
    with pytest.raises(Unavailable, match="no camera is connected"):
        find_camera(0, tmp_path / "none")


@linux
def test_mjpg_is_requested_first_and_the_actual_format_reported(fake: Any, tmp_path: Path) -> None:
    plug(tmp_path, 0, "Toy Cam")
    opened = CameraOpener(0, CameraRequest((1080, 1920), 60), tmp_path)(threading.Event())
    keys = [key for key, _ in fake.asked]
    assert keys.index(cv2.CAP_PROP_FOURCC) < keys.index(cv2.CAP_PROP_FRAME_WIDTH)
    assert keys.index(cv2.CAP_PROP_FRAME_WIDTH) < keys.index(cv2.CAP_PROP_FPS)
    assert opened.description == (
        "camera 0 (Toy Cam): 1280×720 at 30 frames/s, MJPG (asked for 1920×1080, 60 frames/s)"
    )
    captured = opened.read()
    assert captured.rgb.shape == (720, 1280, 3)
    assert captured.rgb[0, 0].tolist() == [0, 0, 200]  # RGB
    slow = CameraOpener(0, CameraRequest((480, 640), 30, mjpg=False), tmp_path)(threading.Event())
    assert slow.description == (
        "camera 0 (Toy Cam): 640×480 at 5 frames/s, YUYV (asked for 30 frames/s)"
    )


@linux
def test_a_camera_in_use_gives_a_clear_error(fake: Any, tmp_path: Path) -> None:
    plug(tmp_path, 0, "Toy Cam")
    fake.dead.add(0)
    with pytest.raises(Unavailable, match="another program"):
        Capture(CameraOpener(0, CameraRequest(), tmp_path))


@linux
def test_a_camera_that_is_unplugged_is_found_again_by_its_name(fake: Any, tmp_path: Path) -> None:
    folder = plug(tmp_path, 0, "Toy Cam")
    feed = Capture(CameraOpener(0, CameraRequest(), tmp_path))
    try:
        assert feed.size == (720, 1280)
        assert wait_for(feed.latest.take)
        fake.unplugged.set()
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        wait_for(lambda: "no camera" in feed.trouble)
        # The camera returns with another number; another camera now has its old number.
        plug(tmp_path, 0, "Other Cam")
        plug(tmp_path, 3, "Toy Cam")
        fake.unplugged.clear()
        wait_for(lambda: not feed.trouble)
        assert feed.reopened == 1
        assert fake.opened[-1] == 3
    finally:
        feed.close()


@linux
def test_a_camera_without_frames_gives_a_clear_error(fake: Any, tmp_path: Path) -> None:
    plug(tmp_path, 0, "Toy Cam")
    opened = CameraOpener(0, CameraRequest(), tmp_path)(threading.Event())
    fake.unplugged.set()
    with pytest.raises(Lost, match=r"camera 0 \(Toy Cam\) delivers no picture"):
        opened.read()
