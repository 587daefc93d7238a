"""The real window on a virtual screen: xdotool presses keys, and the screen is read."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageGrab

from tests.support.toys import tint_engine
from tests.support.video import clips
from tests.support.video.streams import MjpegServer, wait_for

pytest.importorskip("pygame", reason="pygame-ce is not installed: pip install 'painterly[live]'")
pytestmark = pytest.mark.skipif(
    not (shutil.which("Xvfb") and shutil.which("xdotool")),
    reason="needs Xvfb and xdotool: apt-get install xvfb xdotool",
)

PROGRAM = [sys.executable, "-c", "from st.video.webcam_command import main; main()"]
SCREEN = (800, 600)
LEFT, RIGHT = 55, 155  # grays of the two halves of the camera's picture


def halves(number: int) -> np.ndarray:
    picture = np.full((240, 320, 3), LEFT, np.uint8)
    picture[:, 160:] = RIGHT
    return picture


class Screen:
    """A virtual screen without a window manager, so windows are centered."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        words = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "{}x{}x24".format(*SCREEN)]
        words += ["-noreset"]  # else it starts anew whenever a reader of pixels leaves it alone
        self._server = subprocess.Popen(
            words, pass_fds=[writer], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(writer)
        with os.fdopen(reader) as numbers:
            self.name = f":{int(numbers.readline())}"
        self.environment = os.environ | {"DISPLAY": self.name}
        self.environment.pop("WAYLAND_DISPLAY", None)
        self.environment.pop("SDL_VIDEODRIVER", None)

    def press(self, *keys: str) -> None:
        subprocess.run(["xdotool", "key", *keys], env=self.environment, check=True, timeout=20)

    def move(self, x: int, y: int) -> None:
        words = ["xdotool", "mousemove", str(x), str(y)]
        subprocess.run(words, env=self.environment, check=True, timeout=20)

    def pixels(self) -> np.ndarray:
        """(H, W, 3) of the whole screen, read rarely to save processor time."""
        time.sleep(0.1)
        return np.array(ImageGrab.grab(xdisplay=self.name).convert("RGB"))

    def grays(self) -> tuple[int, int]:
        """The grays in the middle of both halves of the window, away from any text."""
        pixels = self.pixels()
        y, x = SCREEN[1] // 2, SCREEN[0] // 2
        return int(pixels[y, x - 80].mean()), int(pixels[y, x + 80].mean())

    def wait(self, left: int, right: int) -> None:
        """Wait until the halves have these grays."""

        def same() -> bool:
            return all(abs(a - b) <= 6 for a, b in zip(self.grays(), (left, right), strict=True))

        try:
            wait_for(same, 60)  # a program's start on a busy machine
        except AssertionError:
            raise AssertionError(f"{self.grays()}, not {(left, right)}") from None

    def close(self) -> None:
        self._server.terminate()
        self._server.wait(20)


@pytest.fixture
def screen() -> Iterator[Screen]:
    screen = Screen()
    yield screen
    screen.close()


@pytest.fixture
def camera() -> Iterator[MjpegServer]:
    with MjpegServer(halves, rate=20) as server:
        yield server


@pytest.fixture
def start(screen: Screen, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start st-webcam with the toy engine; it is killed at the end if it still runs."""
    engine = tint_engine(tmp_path / "tint.onnx")
    running: list[subprocess.Popen[str]] = []

    def start(*words: object) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [*PROGRAM, *map(str, words), "--engine", str(engine), "--folder", str(tmp_path)],
            env=screen.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(program)
        return program

    yield start
    for program in running:
        if program.poll() is None:
            program.kill()
        program.communicate()


def text_on(screen: Screen) -> bool:
    """Whether there are white letters at the bottom of the window."""
    foot = screen.pixels()[420:570, 40:760]  # the window is 720×540, in the middle
    return bool((foot.min(axis=-1) > 245).sum() > 20)


def test_keys_change_style_view_and_save(
    screen: Screen, camera: MjpegServer, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    program = start(camera.url)
    screen.wait(255 - LEFT, 255 - RIGHT)
    assert text_on(screen)
    screen.press("i")
    wait_for(lambda: not text_on(screen))  # the greeting disappears after a while
    _press_style_keys(screen)
    _press_view_keys(screen)
    _press_saving_keys(screen, tmp_path)

    screen.press("1")
    screen.wait(255 - LEFT, 255 - RIGHT)
    screen.press("f")  # 320×240 on 800×600 fills it
    corner = (slice(2, 6), slice(2, 6))
    wait_for(lambda: abs(screen.pixels()[corner].astype(int) - (255 - LEFT)).max() < 8)
    screen.move(1, 599)  # the window gets the keys wherever the pointer is
    screen.press("Escape")  # leaves the full screen first
    wait_for(lambda: screen.pixels()[corner].max() == 0)
    screen.wait(255 - LEFT, 255 - RIGHT)
    screen.press("z")
    wait_for(lambda: text_on(screen))  # a message that the key has no function
    screen.press("q")
    assert program.wait(20) == 0
    assert program.stderr is not None
    lines = program.stderr.read().splitlines()
    assert len(lines) == 2, lines  # the camera's and the summary's, and none of SDL
    assert "frames/s" in lines[-1]


def _press_style_keys(screen: Screen) -> None:
    """Choose and blend styles, and change the strength; ends with the first style."""
    screen.press("Right")
    screen.wait(0, 0)
    screen.press("p")
    screen.wait(255 - LEFT, 255 - RIGHT)
    screen.press("2")
    screen.wait(0, 0)
    screen.press("1", "b")
    screen.wait((255 - LEFT) // 2, (255 - RIGHT) // 2)
    screen.press("comma", "comma")
    screen.wait(round((255 - LEFT) * 0.7), round((255 - RIGHT) * 0.7))
    screen.press("1", *["Down"] * 5)
    screen.wait(127, 127)
    screen.press(*["Up"] * 5)
    screen.wait(255 - LEFT, 255 - RIGHT)


def _press_view_keys(screen: Screen) -> None:
    """Mirror, compare and show the help."""
    screen.press("m")
    screen.wait(255 - RIGHT, 255 - LEFT)
    screen.press("m", "c")
    screen.wait(LEFT, 255 - RIGHT)
    screen.press("c", "c")
    screen.wait(255 - LEFT, 255 - RIGHT)

    screen.press("h")
    wait_for(lambda: (screen.pixels()[200:400, 300:500].min(axis=-1) > 245).sum() > 200)
    box = screen.pixels()[200:400, 300:500].reshape(-1, 3)
    assert np.median(box, axis=0).tolist() == [16, 20, 24], "opaque: nothing shines through"
    screen.press("h")
    screen.wait(255 - LEFT, 255 - RIGHT)


def _press_saving_keys(screen: Screen, tmp_path: Path) -> None:
    """Save a picture and record a video; ends with the second style."""
    screen.press("s")
    (saved,) = wait_for(lambda: list(tmp_path.glob("st-webcam-*.png")))
    picture = np.asarray(Image.open(saved)).astype(int)
    assert picture.shape == (240, 320, 3)
    assert abs(picture[:, :150] - (255 - LEFT)).max() < 8
    screen.press("r")
    wait_for(lambda: list(tmp_path.glob(".st-webcam-*.mp4")))
    screen.press("2")
    screen.wait(0, 0)
    screen.press("r")
    (film,) = wait_for(lambda: list(tmp_path.glob("st-webcam-*.mp4")))
    frames = clips.read(film)
    assert len(frames) > 1
    assert frames[-1].to_ndarray(format="rgb24").max() < 12
    assert not list(tmp_path.glob(".st*"))


def test_the_first_size_of_a_window() -> None:
    from st.video.live.window import first_size

    assert first_size((180, 320), (1080, 1920)) == (540, 960)
    assert first_size((48, 64), (1080, 1920)) == (720, 960)
    assert first_size((720, 1280), (1080, 1920)) == (720, 1280)
    assert first_size((2160, 3840), (1080, 1920)) == (900, 1600)
    assert first_size((720, 1280), (600, 800)) == (405, 720)
    assert first_size((1280, 720), (1080, 1920)) == (900, 960)


def test_a_lost_stream_is_shown_in_the_window_and_reconnects(
    screen: Screen, camera: MjpegServer, start: Callable[..., subprocess.Popen[str]]
) -> None:
    program = start(camera.url)
    screen.wait(255 - LEFT, 255 - RIGHT)
    screen.press("2", "i")
    screen.wait(0, 0)
    wait_for(lambda: not text_on(screen))
    camera.refused.set()
    camera.drop()
    wait_for(lambda: text_on(screen))
    screen.press("1")  # the window still obeys
    camera.refused.clear()
    screen.wait(255 - LEFT, 255 - RIGHT)
    wait_for(lambda: not text_on(screen))
    close_window(screen)
    assert program.wait(20) == 0


def close_window(screen: Screen) -> None:
    """Ask the focused window to close, like its close button, which xdotool cannot press."""
    focused = subprocess.run(
        ["xdotool", "getwindowfocus"],
        env=screen.environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    display = ctypes.c_void_p(x11.XOpenDisplay(screen.name.encode()))
    window = int(focused.stdout)
    kind, wish = (x11.XInternAtom(display, n, 0) for n in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
    client_message = 33
    # XClientMessageEvent: type, serial, send_event, display, window, message_type, format, data.
    event = struct.pack("@iLiPLLi5l", client_message, 0, 1, 0, window, kind, 32, wish, 0, 0, 0, 0)
    x11.XSendEvent(display, ctypes.c_ulong(window), 0, ctypes.c_long(0), event.ljust(192, b"\0"))
    x11.XCloseDisplay(display)
