"""The page in Chromium, with a clip as its camera. The tests check the received pictures."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("aiortc")
pytest.importorskip("aiohttp")
pytest.importorskip("selenium")

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.support import toys
from tests.support.browsers import complaints, needs_chromium
from tests.support.serve import live_page
from tests.support.serve.live_page import camera_file, page
from tests.support.serve.visiting import clip

pytestmark = needs_chromium
FIGURES = re.compile(r"\d+ frames/s · \d+ ms · \d+×\d+")


@contextmanager
def webcam(
    *arguments: str, cache: Path, before: tuple[str, ...] = (), killed: bool = False
) -> Iterator[list[str]]:
    """Run st-webcam --serve in a child process; yields its first lines of output.

    killed: the test itself kills the process, `webcam.running`.
    """
    run = "from st.video.webcam_command import main; main()"
    program = [*before, sys.executable, "-c", run]
    env = os.environ | {"XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
    )
    assert process.stdout is not None
    if killed:
        webcam.running = process  # type: ignore[attr-defined]
    lines: list[str] = []
    try:
        lines.append(process.stdout.readline().strip())
        assert lines[0].startswith("http"), lines[0] + process.stdout.read()
        if lines[0].startswith("https"):
            lines.append(process.stdout.readline().strip())
        yield lines
    finally:
        if killed:
            process.kill()
        else:
            process.send_signal(signal.SIGTERM)
        try:
            rest, _ = process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert killed or process.returncode == 0
    assert rest == "", "nothing is logged, and no token"


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("camera")
    return camera_file(clip(folder), folder / "camera.y4m")


def near(one: list[float], other: list[float], most: float = 12) -> bool:
    return bool(np.abs(np.subtract(one, other)).max() < most)


def negative(color: list[float]) -> list[float]:
    return [255 - value for value in color]


def test_the_camera_is_painted_and_the_controls_work(camera: Path, tmp_path: Path) -> None:
    engine = toys.tint_engine(tmp_path / "tint.onnx")
    serve = ["--serve", "127.0.0.1:0", "--engine", str(engine), "--paint-size", "320"]
    with webcam(*serve, cache=tmp_path) as (url,), page(url, camera, tmp_path) as one:
        one.start()
        assert FIGURES.fullmatch(one.text("figures"))
        one.wait(lambda: near(one.mean("painted"), negative(one.mean("camera"))))
        assert not one.shown("add-style"), "an engine of its own styles takes no pictures"
        assert not one.shown("notice")
        assert one.focused == "stop"

        one.choose("black")
        one.wait(lambda: max(one.mean("painted")) < 12)
        one.set("strength", 0)
        one.wait(lambda: near(one.mean("painted"), one.mean("camera")))
        one.set("strength", 100)
        one.set("color", "only")  # luma from the camera; black has no chroma
        one.wait(lambda: np.ptp(one.mean("painted")) < 8 and min(one.mean("painted")) > 20)
        one.set("color", "style")
        one.run("document.getElementById('blend').open = true")
        one.wait(lambda: one.run("return document.getElementById('weight-0')"))
        one.set("weight-0", 100)
        half = lambda: [value / 2 for value in negative(one.mean("camera"))]  # noqa: E731
        one.wait(lambda: near(one.mean("painted"), half()))

        assert one.run("return getComputedStyle(painted).transform") == "matrix(-1, 0, 0, 1, 0, 0)"
        one.click("mirror")
        assert one.run("return getComputedStyle(painted).transform") == "none"
        one.click("beside")
        assert not one.shown("own")

        info = json.load(urlopen(f"{url}info"))
        assert info["sessions"] == 1
        one.click("stop")
        assert one.shown("start")
        one.wait(lambda: json.load(urlopen(f"{url}info"))["sessions"] == 0, 20)
        one.click("start")
        one.wait(lambda: "frames/s" in one.text("figures"))
        assert complaints(one.driver) == []
        one.driver.get("about:blank")
        one.wait(lambda: json.load(urlopen(f"{url}info"))["sessions"] == 0, 20)


def test_a_visitor_can_upload_a_style_picture(camera: Path, tmp_path: Path) -> None:
    engine = toys.code_engine(tmp_path / "code.onnx")
    dark, red = tmp_path / "dark.png", tmp_path / "my red.png"
    cv2.imwrite(str(dark), np.zeros((20, 20, 3), np.uint8))
    cv2.imwrite(str(red), np.full((1500, 20, 3), (0, 0, 90), np.uint8))
    serve = ["--serve", "--engine", str(engine), "-s", str(dark), "--paint-size", "320"]
    serve[1:1] = [":0"]
    with webcam(*serve, cache=tmp_path) as (url,), page(url, camera, tmp_path) as one:
        one.start()
        one.wait(lambda: near(one.mean("painted"), one.mean("camera")))
        one.driver.find_element("id", "style-file").send_keys(str(red))
        one.wait(lambda: one.mean("painted")[0] > one.mean("camera")[0] + 40)
        names = "return [...document.querySelectorAll('[data-style]')].map(b => b.dataset.style)"
        assert one.run(names) == ["dark", "my red"]
        bad = tmp_path / "bad.png"
        bad.write_bytes(b"no picture")
        one.driver.find_element("id", "style-file").send_keys(str(bad))
        one.wait(lambda: "not a picture" in one.text("message"))


WINDOWS = ((844, 390), (390, 844), (1280, 500), (1440, 900))
BELOW = """
const seen = document.querySelectorAll("header *, #stage, #pictures *, #actions *, #controls");
const beyond = (node) => {
  const box = node.getBoundingClientRect();
  return box.bottom > innerHeight + 1 || box.right > innerWidth + 1;
};
const found = [...seen].filter((node) => node.checkVisibility() && beyond(node));
if (document.documentElement.scrollHeight > innerHeight) found.push({id: "the page scrolls"});
return found.map((node) => node.id || node.tagName);
"""


def test_the_page_fits_the_window_and_keeps_settings(camera: Path, tmp_path: Path) -> None:
    engine = toys.tint_engine(tmp_path / "tint.onnx")
    serve = ["--serve", ":0", "--engine", str(engine), "--paint-size", "160"]
    with webcam(*serve, cache=tmp_path) as (url,), page(url, camera, tmp_path) as one:
        one.start()
        for width, height in WINDOWS:
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            one.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            assert one.run(BELOW) == [], (width, height)
            assert one.run("return document.getElementById('stage').offsetHeight") > height * 0.4
        for key in ("\ue014", "\ue015", "\ue015", "m"):  # right, down, down
            one.press(key)
        one.wait(lambda: one.text("strength-shown") == "80 %")
        assert one.chosen() == ["black"]
        one.press("m")
        assert one.run("return document.getElementById('mirror').checked") is True
        one.press("m")

        one.click("save")
        (saved,) = one.wait(lambda: list(tmp_path.glob("painted-*.png")))
        picture = cv2.imread(str(saved))
        assert picture.shape == (180, 320, 3), "the camera's size, though less is painted live"
        assert near(list(picture.mean((0, 1))[::-1]), [v / 5 for v in one.mean("camera")])
        one.click("record")
        one.wait(lambda: one.text("record") == "Stop recording")
        one.wait(lambda: one.run("return document.getElementById('painted').currentTime > 3"))
        one.click("record")
        (film,) = one.wait(lambda: [*tmp_path.glob("painted-*.mp4"), *tmp_path.glob("*.webm")])
        with av.open(str(film)) as made:
            assert sum(1 for _ in made.decode(video=0)) > 5

        one.driver.refresh()
        one.wait(lambda: one.text("strength-shown") == "80 %")
        assert one.chosen() == ["black"]
        assert one.run("return document.getElementById('mirror').checked") is False
        assert one.run("return document.getElementById('beside').checked") is True
        assert complaints(one.driver) == []


def test_a_lost_server_is_shown_over_the_picture(camera: Path, tmp_path: Path) -> None:
    """A killed server sends no message: the page shows one and reconnects to a new server."""
    engine = toys.tint_engine(tmp_path / "tint.onnx")
    serve = ["--serve", ":0", "--engine", str(engine), "--paint-size", "160"]
    with webcam(*serve, cache=tmp_path, killed=True) as (url,):
        port = url.rstrip("/").rpartition(":")[2]
        with page(url, camera, tmp_path) as one:
            one.start()
            assert not one.shown("notice")
            webcam.running.send_signal(signal.SIGSTOP)
            one.wait(lambda: one.shown("notice"), 10)
            assert "does not answer" in one.text("message")
            webcam.running.send_signal(signal.SIGCONT)
            one.wait(lambda: not one.shown("notice"), 10)
            webcam.running.kill()
            one.wait(lambda: "Trying again" in one.text("message"))
            assert one.shown("cancel")
            serve[1] = f":{port}"
            with webcam(*serve, cache=tmp_path):
                one.wait(lambda: "frames/s" in one.text("figures"))
                one.wait(lambda: not one.shown("notice"))
            one.wait(lambda: "Trying again" in one.text("message"))
            one.click("cancel")
            assert one.shown("start")
            assert not one.shown("notice")


def test_an_any_style_engine_starts_without_a_style(camera: Path, tmp_path: Path) -> None:
    engine = toys.code_engine(tmp_path / "code.onnx")
    red = tmp_path / "red.png"
    cv2.imwrite(str(red), np.full((20, 20, 3), (0, 0, 90), np.uint8))
    serve = ["--serve", ":0", "--engine", str(engine), "--paint-size", "160"]
    with webcam(*serve, cache=tmp_path) as (url,), page(url, camera, tmp_path) as one:
        one.wait(lambda: "Add a style picture" in one.text("message"))
        one.driver.find_element("id", "style-file").send_keys(str(red))  # before the camera runs
        one.wait(lambda: one.chosen() == ["red"])
        one.driver.refresh()
        one.wait(lambda: one.chosen() == ["red"])
        one.start()
        one.wait(lambda: one.mean("painted")[0] > one.mean("camera")[0] + 40)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def house() -> Iterator[tuple[str, str]]:
    """Two network namespaces connected by a veth pair: 10.78.0.1 and 10.78.0.2."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if shutil.which("ip") is None:
        pytest.skip("no ip program (iproute2) here")
    server, client = names = f"st-s-{os.getpid()}", f"st-c-{os.getpid()}"
    try:
        for name in names:
            ip("netns", "add", name)
        cable = ["link", "add", "eth-s", "netns", server, "type", "veth"]
        ip(*cable, "peer", "name", "eth-c", "netns", client)
        for name, device, number in ((server, "eth-s", 1), (client, "eth-c", 2)):
            ip("-n", name, "addr", "add", f"10.78.0.{number}/24", "dev", device)
            ip("-n", name, "link", "set", device, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield server, client
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


PROBE = """
import hashlib, http.client, json, ssl, sys
token, found = sys.argv[1], {}
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
def status(path, **headers):
    line = http.client.HTTPSConnection("10.78.0.1", 8765, context=context, timeout=10)
    line.request("GET", path, headers={name.replace("_", "-"): v for name, v in headers.items()})
    found["mark"] = hashlib.sha256(line.sock.getpeercert(True)).hexdigest()
    return line.getresponse().status
found["bare"] = status("/info")
found["token"] = status("/info", Authorization="Bearer " + token)
found["host"] = status("/info", Authorization="Bearer " + token, Host="evil.example")
found["origin"] = status("/info", Authorization="Bearer " + token, Origin="https://evil.example")
plain = http.client.HTTPConnection("10.78.0.1", 8765, timeout=10)
try:
    plain.request("GET", "/info")
    found["plain"] = plain.getresponse().status
except (http.client.HTTPException, OSError):
    found["plain"] = "refused"
print(json.dumps(found))
"""


def test_over_tls_on_a_second_address(camera: Path, tmp_path: Path, house: tuple[str, str]) -> None:
    server, client = (("ip", "netns", "exec", name) for name in house)
    engine = toys.tint_engine(tmp_path / "tint.onnx")
    serve = ["--serve", "0.0.0.0:8765", "--engine", str(engine), "--paint-size", "320"]
    with webcam(*serve, cache=tmp_path, before=server) as (url, said):
        assert url.startswith("https://10.78.0.1:8765/?token=")
        token = url.partition("=")[2]
        probe = [*client, sys.executable, "-c", PROBE, token]
        done = subprocess.run(probe, capture_output=True, text=True, timeout=60, check=True)
        found = json.loads(done.stdout)
        mark = said.removeprefix("certificate SHA-256 ").replace(":", "").lower()
        assert found.pop("mark") == mark
        expected = {"bare": 401, "token": 200, "host": 403, "origin": 403, "plain": "refused"}
        assert found == expected

        (pem,) = (tmp_path / "st" / "tls").glob("*.pem")
        spki = x509.load_pem_x509_certificate(pem.read_bytes()).public_key()
        form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        digest = base64.b64encode(hashlib.sha256(spki.public_bytes(*form)).digest()).decode()
        program = [
            *client,
            sys.executable,
            live_page.__file__,
            url,
            str(camera),
            str(tmp_path),
            digest,
        ]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            program, capture_output=True, text=True, timeout=120, check=False, env=env
        )
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
    assert seen["address"] == "https://10.78.0.1:8765/", "the token is gone from the address"
    assert seen["secure"] is True
    assert FIGURES.fullmatch(seen["figures"])
    assert near(seen["painted"], negative(seen["camera"]), 25)
    assert seen["complaints"] == []
