"""The page in a headless browser whose camera plays a clip.

As a program, for another network namespace: live_page.py URL CLIP FOLDER SPKI -> what it saw, JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av

from tests.support.browsers import chromium, complaints

MEAN = """
const video = document.getElementById(arguments[0]);
const canvas = document.createElement("canvas");
canvas.width = 32; canvas.height = 18;
const context = canvas.getContext("2d");
context.drawImage(video, 0, 0, 32, 18);
const data = context.getImageData(0, 0, 32, 18).data;
const sums = [0, 0, 0];
data.forEach((value, n) => { if (n % 4 < 3) sums[n % 4] += value; });
return sums.map((sum) => sum / (32 * 18));
"""
SET = """
const control = document.getElementById(arguments[0]);
control.value = arguments[1];
control.dispatchEvent(new Event("input", {bubbles: true}));
"""


def camera_file(clip: Path, target: Path, frames: int = 50) -> Path:
    """A clip in the format of Chromium's fake camera."""
    with av.open(str(clip)) as film, target.open("wb") as out:
        out.write(b"YUV4MPEG2 W320 H180 F25:1 Ip A1:1 C420jpeg\n")
        for number, frame in enumerate(film.decode(video=0)):
            if number == frames:
                break
            out.write(b"FRAME\n" + frame.reformat(320, 180, "yuv420p").to_ndarray().tobytes())
    return target


@contextmanager
def page(url: str, clip: Path, folder: Path, spki: str = "") -> Iterator[Page]:
    """The page in a browser whose camera plays the clip.

    spki: SHA-256 of the one self-signed key to trust, base64.
    """
    flags = [
        "--disable-gpu",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={clip}",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE 10.78.0.1",
    ]
    if spki:
        flags.append(f"--ignore-certificate-errors-spki-list={spki}")
    with chromium(folder, flags=flags) as driver:
        yield Page(driver, url)


class Page:
    """The page's controls, as a visitor uses them."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        driver.get(url)

    def click(self, name: str) -> None:
        self.driver.find_element("id", name).click()

    def text(self, name: str) -> str:
        return self.driver.find_element("id", name).text

    def shown(self, name: str) -> bool:
        return self.driver.find_element("id", name).is_displayed()

    def set(self, name: str, value: object) -> None:
        """Set a select element or a slider."""
        self.driver.execute_script(SET, name, str(value))

    def choose(self, style: str) -> None:
        self.run(f"document.querySelector('[data-style=\"{style}\"]').click()")

    def chosen(self) -> list[str]:
        """The styles whose buttons are active."""
        pressed = "[...document.querySelectorAll('[data-style][aria-pressed=true]')]"
        return self.run(f"return {pressed}.map((button) => button.dataset.style)")

    def press(self, key: str) -> None:
        """Press a key while no input has the focus."""
        self.run("document.activeElement.blur()")
        self.driver.find_element("tag name", "body").send_keys(key)

    def mean(self, video: str) -> list[float]:
        """The current mean color of a video, 0..255."""
        return self.driver.execute_script(MEAN, video)

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def wait(self, what: Any, seconds: float = 40) -> Any:
        """Wait until `what()` returns a true value; returns that."""
        end = time.monotonic() + seconds
        while not (value := what()):
            if time.monotonic() > end:
                raise TimeoutError(f"{self.text('message')!r}, {self.text('figures')!r}")
            time.sleep(0.1)
        return value

    def start(self) -> None:
        """Press the button and wait for painted frames and those of the camera."""
        self.wait(lambda: self.run("return document.getElementById('strength-shown').value"))
        self.click("start")
        self.wait(lambda: self.run("return document.getElementById('painted').currentTime > 0.5"))
        self.wait(lambda: "frames/s" in self.text("figures"))
        self.focused = self.run("return document.activeElement.id")
        if not self.shown("own"):
            self.click("beside")
        assert self.shown("own")
        self.wait(lambda: max(self.mean("camera")) > 0)


def main(url: str, clip: str, folder: str, spki: str) -> None:
    with page(url, Path(clip), Path(folder), spki) as one:
        one.start()
        seen = {
            "address": one.driver.current_url,
            "secure": one.run("return isSecureContext"),
            "figures": one.text("figures"),
            "camera": one.mean("camera"),
            "painted": one.mean("painted"),
            "complaints": complaints(one.driver),
        }
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
