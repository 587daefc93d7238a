"""A real browser for page tests: headless Chromium, driven by Selenium, offline."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

needs_chromium = pytest.mark.skipif(
    not CHROMIUM or not DRIVER, reason="needs Debian's chromium and chromium-driver"
)


@contextmanager
def chromium(profile: Path, *, size: tuple[int, int] = (1280, 800), flags: Sequence[str] = ()):
    """A Selenium driver that reaches only loopback addresses; downloads go to `profile`."""
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--force-color-profile=srgb",
        "--force-device-scale-factor=1",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--window-size={size[0]},{size[1]}",
        f"--user-data-dir={profile / 'profile'}",
        *flags,
    ):
        options.add_argument(flag)
    options.add_experimental_option(
        "prefs",
        {
            "download.default_directory": str(profile),
            "download.prompt_for_download": False,
            "profile.default_content_setting_values.automatic_downloads": 1,  # more than one
        },
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        driver.set_script_timeout(60)
        yield driver
    finally:
        driver.quit()


def complaints(driver: Any) -> list[str]:
    """Warnings and errors in the browser's console since the last call."""
    entries = driver.get_log("browser")
    said = [e["message"] for e in entries if e["level"] in ("SEVERE", "WARNING")]
    return [
        line for line in said if "No available adapters" not in line
    ]  # Chromium's remark about GPUs


@contextmanager
def served(folder: Path, headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serve a folder on a free loopback port; yields the URL."""

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            super().end_headers()

        def copyfile(self, source: Any, outputfile: Any) -> None:
            with suppress(ConnectionError):  # the page was left while it loaded
                super().copyfile(source, outputfile)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
