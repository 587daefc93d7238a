"""The page of st-export --web in headless Chromium, offline: its paintings equal those of the
runtime."""

from __future__ import annotations

import base64
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from st.export.command import main
from st.export.web.npm_package import tarball
from st.runtime import Stylizer, Unavailable
from st.runtime.engine.metadata import Metadata, parse
from st.runtime.pictures.synthetic import synthetic_picture
from tests.support import toys
from tests.support.browsers import chromium, complaints, needs_chromium, served

pytestmark = needs_chromium

ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
RED, GREEN = (200, 0, 0), (0, 160, 0)
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module", autouse=True)
def onnxruntime_web() -> None:
    try:
        tarball()
    except Unavailable as error:
        pytest.skip(str(error))


def site_of(engine: str | Path, folder: Path, *more: str) -> Path:
    result = CliRunner().invoke(main, [str(engine), "--web", str(folder), *more])
    assert result.exit_code == 0, result.output
    return folder


class Page:
    """The actions of a visitor, and what the page shows."""

    def __init__(self, driver: Any, address: str, folder: Path) -> None:
        self.driver, self.folder = driver, folder
        if address:
            driver.get(address)
        self.wait("return ['ready', 'failed'].includes(document.body.dataset.state)")

    def wait(self, script: str, *given: object) -> Any:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if found := self.driver.execute_script(script, *given):
                return found
            time.sleep(0.05)
        raise AssertionError(f"never true: {script}; alert: {self.alert!r}")

    def text(self, name: str) -> str:
        return self.driver.execute_script(
            "return document.getElementById(arguments[0]).textContent", name
        )

    @property
    def alert(self) -> str:
        return self.text("alert")

    def set(self, selector: str, value: object, event: str = "input") -> None:
        self.driver.execute_script(
            """const node = document.querySelector(arguments[0]);
            node.value = arguments[1];
            node.dispatchEvent(new Event(arguments[2]));""",
            selector,
            str(value),
            event,
        )

    def click(self, selector: str) -> None:
        self.driver.execute_script("document.querySelector(arguments[0]).click()", selector)

    def open(self, picture: NDArray[np.uint8], name: str = "picture.png") -> None:
        self.file("file", picture, name)
        self.settled()

    def file(self, field: str, picture: NDArray[np.uint8], name: str) -> None:
        path = self.folder / name
        path.write_bytes(encoded(picture, ".png"))
        self.driver.find_element("id", field).send_keys(str(path))

    def settled(self) -> None:
        """Wait until the picture has been painted with the current controls."""
        time.sleep(0.1)  # until the page has been told of a file
        self.wait("return document.getElementById('canvas').getAttribute('aria-busy') === 'false'")

    def canvas(self) -> NDArray[np.uint8]:
        data = self.driver.execute_script(
            "return document.getElementById('canvas').toDataURL('image/png')"
        )
        return decoded(base64.b64decode(data.partition(",")[2]))


def encoded(picture: NDArray[np.uint8], suffix: str) -> bytes:
    """The file content of an RGB or RGBA picture."""
    code = cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR
    ok, data = cv2.imencode(suffix, cv2.cvtColor(picture, code))
    assert ok
    return data.tobytes()


def decoded(data: bytes) -> NDArray[np.uint8]:
    """RGB, or RGBA if not all pixels are opaque."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    if picture.shape[2] == 3 or picture[..., 3].min() == 255:
        return picture[..., 2::-1]
    return cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA)


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


@pytest.fixture(scope="module")
def paintings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return site_of("paintings", tmp_path_factory.mktemp("paintings") / "site")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """One browser for all tests, whose camera plays a clip: red on the left, green on the right."""
    folder = tmp_path_factory.mktemp("browser")
    frame = np.zeros((240, 320, 3), np.uint8)
    frame[:, :160], frame[:, 160:] = RED, GREEN
    (folder / "clip.mjpeg").write_bytes(encoded(frame, ".jpg") * 4)
    flags = (*FAKE_CAMERA, f"--use-file-for-fake-video-capture={folder / 'clip.mjpeg'}")
    with chromium(folder, flags=flags) as driver:
        yield driver, folder


@pytest.fixture(scope="module")
def address(paintings: Path) -> Iterator[str]:
    with served(paintings) as address:
        yield address


@pytest.fixture
def page(browser: tuple[Any, Path], address: str) -> Iterator[Page]:
    """The page of the shipped engine, on one thread; reloaded only if it is no longer open."""
    driver, folder = browser
    page = Page(driver, "" if driver.current_url == address else address, folder)
    for name, value in (("size", 0), ("color", "style"), ("scale", 0), ("paint-size", 0)):
        page.set(f"#{name}", value)
    page.set("#strength", 100)
    yield page
    assert not complaints(driver)


@pytest.mark.parametrize("sides", [(1, 1), (7, 33), (16, 20), (61, 75), (123, 210)])
def test_odd_sizes_are_painted_as_by_the_runtime(page: Page, sides: tuple[int, int]) -> None:
    picture = synthetic_picture(*sides, seed=sides[0])[0]
    page.click("[data-style=wave]")
    page.open(picture)
    assert difference(page.canvas(), Stylizer("paintings")(picture)) <= 2


def test_blends_and_strength_are_those_of_the_runtime(page: Page) -> None:
    picture = synthetic_picture(50, 70, seed=4)[0]
    page.open(picture)
    page.driver.execute_script("document.getElementById('blend').open = true")
    page.wait("return document.querySelector('[data-weight=udnie]')")
    paint = Stylizer("paintings")
    for blend, strength in (
        ({"udnie": 100}, 35),
        ({"wave": 70, "the_scream": 30}, 100),
        ({"wave": 20, "mondrian": 100, "starry_night": 55}, 62),
        ({"perfume": 100}, 0),
    ):
        for name in paint.styles:
            page.set(f"[data-weight={name}]", blend.get(name, 0))
        page.set("#strength", strength)
        page.settled()
        expected = paint.set_style(blend, strength / 100)(picture)
        assert difference(page.canvas(), expected) <= 2, (blend, strength)
        assert page.text("strength-shown") == f"{strength} %"
    page.set("[data-weight=perfume]", 0)
    page.settled()
    assert "raise one of them" in page.alert
    page.click("[data-style=perfume]")
    page.settled()
    assert page.alert == ""


def test_pictures_are_opened_by_drop_and_by_paste(page: Page) -> None:
    page.click("[data-style=udnie]")
    for seed, give in enumerate(
        (
            "new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})",
            "new ClipboardEvent('paste', {clipboardData: data, bubbles: true})",
        )
    ):
        picture = synthetic_picture(30, 41 + seed, seed=seed)[0]
        page.driver.execute_script(
            f"""const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "a.png", {{type: "image/png"}}));
            document.getElementById("stage").dispatchEvent({give});""",
            base64.b64encode(encoded(picture, ".png")).decode(),
        )
        page.settled()
        expected = Stylizer("paintings").set_style("udnie")(picture)
        assert difference(page.canvas(), expected) <= 2


def test_transparency_is_kept_and_hidden_colors_are_ignored(page: Page) -> None:
    picture = synthetic_picture(40, 56, seed=1)[0]
    alpha = np.full((40, 56), 255, np.uint8)
    alpha[:, 30:] = 0
    page.click("[data-style=wave]")
    page.open(np.dstack([picture, alpha]), "cut.png")
    shown = page.canvas()
    np.testing.assert_array_equal(shown[..., 3], alpha)
    filled = picture.copy()
    filled[:, 30:] = np.round(picture[:, :30].mean((0, 1)))
    expected = Stylizer("paintings")(filled)
    assert difference(shown[:, :30, :3], expected[:, :30]) <= 2


def test_files_that_are_no_picture_show_an_error_and_the_page_still_works(page: Page) -> None:
    (page.folder / "notes.png").write_bytes(b"no picture")
    page.driver.find_element("id", "file").send_keys(str(page.folder / "notes.png"))
    page.wait("return document.getElementById('alert').textContent")
    assert page.alert == "notes.png is no picture that this browser can read."
    page.open(synthetic_picture(20, 30)[0])
    assert page.alert == ""


def test_saving_downloads_the_painting(page: Page) -> None:
    page.click("[data-style=the_scream]")
    page.open(synthetic_picture(33, 47, seed=6)[0])
    page.click("#save")
    saved = page.folder / "paintings-the_scream.png"
    end = time.monotonic() + 20
    while not saved.is_file() and time.monotonic() < end:
        time.sleep(0.05)
    np.testing.assert_array_equal(decoded(saved.read_bytes()), page.canvas())


def test_size_scales_down_only(page: Page) -> None:
    page.open(synthetic_picture(200, 400)[0])
    for side, width in ((320, 320), (480, 400), (32768, 400)):
        page.set("#size", side)
        page.settled()
        assert page.canvas().shape[:2] == (width // 2, width)


def test_controls_have_names_and_the_page_fits_a_phone(page: Page) -> None:
    page.open(synthetic_picture(30, 40)[0])
    for node in page.driver.find_elements("css selector", "button, select, input, summary, canvas"):
        if node.is_displayed():
            assert node.accessible_name.strip(), node.get_attribute("outerHTML")
    for width, height in ((390, 844), (1280, 800)):
        page.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        assert page.driver.execute_script(
            "return document.documentElement.scrollWidth <= innerWidth"
        )
        low = [
            node.get_attribute("outerHTML")
            for node in page.driver.find_elements("css selector", "button, select, summary")
            if node.is_displayed() and node.size["height"] < 40
        ]
        assert not low, "too small for a finger"
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_cannot_connect_to_another_host(page: Page) -> None:
    """Neither the page nor its worker can request another address, though a server is there."""
    asked: list[str] = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        refused = page.driver.execute_async_script(
            """const [address, done] = arguments;
            const tries = [fetch(address + "/page").then(() => "came", () => "refused")];
            tries.push(new Promise((tell) => {
              const image = new Image();
              image.onload = () => tell("came");
              image.onerror = () => tell("refused");
              image.src = address + "/image";
            }));
            const code = `fetch("${address}/worker").then(() => "came", () => "refused")
              .then((said) => postMessage(said));`;
            const blob = new Blob([code], {type: "text/javascript"});
            const worker = new Worker(URL.createObjectURL(blob), {type: "module"});
            tries.push(new Promise((tell) => { worker.onmessage = ({data}) => tell(data); }));
            Promise.all(tries).then(done);""",
            address,
        )
        assert refused == ["refused"] * 3
        assert not asked
    finally:
        server.shutdown()
        server.server_close()
    said = complaints(page.driver)
    assert all("Content Security Policy" in line or address in line for line in said), said


def test_the_camera_is_painted_and_mirrored(page: Page) -> None:
    page.click("#camera")
    page.wait("return document.getElementById('status').textContent.includes('frames/s')")
    assert page.canvas().shape == (240, 320, 3)
    assert page.canvas().reshape(-1, 3).std(axis=0).min() > 5, "painted: no two flat halves"

    def halves_become(left: tuple[int, ...], right: tuple[int, ...]) -> None:
        end = time.monotonic() + 20
        while True:
            shown = page.canvas()
            halves = shown[:, :150].mean((0, 1)), shown[:, 170:].mean((0, 1))
            if np.abs(np.subtract(halves, (left, right))).max() < 16:
                return
            assert time.monotonic() < end, halves
            time.sleep(0.1)

    page.set("#strength", 0)  # the source as it is
    halves_become(GREEN, RED)
    page.click("#mirror")
    halves_become(RED, GREEN)
    page.click("#camera")
    assert page.driver.execute_script("return document.getElementById('video').srcObject === null")
    assert page.driver.execute_script(
        "return document.getElementById('camera').getAttribute('aria-pressed') === 'false'"
    )


def test_a_missing_camera_shows_an_error(page: Page) -> None:
    for error, said in (
        ("NotFoundError", "No camera was found."),
        (
            "NotAllowedError",
            "The camera was not allowed. Allow it next to the address, then try again.",
        ),
    ):
        page.driver.execute_script(
            """const error = new DOMException("", arguments[0]);
            navigator.mediaDevices.getUserMedia = () => Promise.reject(error);""",
            error,
        )
        page.click("#camera")
        page.wait("return document.getElementById('alert').textContent === arguments[0]", said)
    page.driver.execute_script("delete navigator.mediaDevices.getUserMedia")


@pytest.mark.parametrize("color", ["luminance", "histogram", "only"])
def test_color_transfer_is_that_of_the_runtime(page: Page, color: str) -> None:
    # Soft edges: the histogram's map multiplies what two runtimes round apart.
    picture = cv2.GaussianBlur(synthetic_picture(61, 75, seed=5)[0], (0, 0), 1)
    page.click("[data-style=the_scream]")
    page.set("#color", color)
    page.open(picture)
    expected = Stylizer("paintings").set_style("the_scream").set_color(color)(picture)
    assert difference(page.canvas(), expected) <= 3


def test_stroke_size_is_that_of_the_runtime(page: Page) -> None:
    """The size is restored like in the runtime, which uses integer arithmetic."""
    picture = cv2.GaussianBlur(synthetic_picture(120, 200, seed=5)[0], (0, 0), 2)
    page.click("[data-style=wave]")
    page.set("#paint-size", 240)
    page.set("#scale", 1)  # as a power of two
    page.open(picture)
    paint = Stylizer("paintings").set_style("wave", scale=2).set_paint_size(240)
    apart = np.abs(page.canvas().astype(int) - paint(picture))
    assert apart.mean() < 3
    assert page.text("scale-shown") == "× 2"


def test_compare_shows_the_source_beside_the_painting(page: Page) -> None:
    picture = synthetic_picture(40, 60, seed=2)[0]
    page.open(picture)
    page.click("#beside")
    page.settled()
    data = page.driver.execute_script(
        "return document.getElementById('source').toDataURL('image/png')"
    )
    np.testing.assert_array_equal(decoded(base64.b64decode(data.partition(",")[2])), picture)
    page.click("#beside")
    assert not page.driver.find_element("id", "source-figure").is_displayed()


def test_the_page_fits_the_window(page: Page) -> None:
    page.open(synthetic_picture(90, 160)[0])
    for width, height in ((844, 390), (390, 844), (1280, 500), (1440, 900)):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        below = page.driver.execute_script(
            """const seen = document.querySelectorAll("#stage, #pictures *, #actions *, #controls");
            return [...seen].filter((node) => node.checkVisibility())
              .filter((node) => node.getBoundingClientRect().bottom > innerHeight + 1)
              .map((node) => node.id || node.tagName)"""
        )
        assert below == [], (width, height)
        assert page.driver.execute_script(
            "return document.documentElement.scrollHeight <= innerHeight"
        )
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_settings_survive_a_reload(page: Page) -> None:
    page.click("[data-style=udnie]")
    page.set("#strength", 40)
    page.driver.refresh()
    page.wait("return document.body.dataset.state === 'ready'")
    assert page.text("strength-shown") == "40 %"
    assert page.driver.execute_script(
        "return document.querySelector('[aria-pressed=true][data-style]').dataset.style === 'udnie'"
    )
    shown = "document.querySelector('[data-style=udnie] img')"
    page.wait(f"return {shown}.complete && {shown}.naturalWidth === 144")


def test_the_page_works_offline_and_with_threads(
    paintings: Path, browser: tuple[Any, Path]
) -> None:
    """The service worker makes the page cross-origin isolated on a host that sends no headers, and
    caches it."""
    picture = synthetic_picture(45, 61, seed=8)[0]
    with served(paintings) as address:
        page = Page(browser[0], address, browser[1])
        assert page.driver.execute_script("return crossOriginIsolated")
        page.wait("return caches.open('st-page').then((c) => c.keys()).then((k) => k.length > 15)")
    page = Page(browser[0], address, browser[1])
    page.click("[data-style=wave]")
    page.open(picture)
    assert difference(page.canvas(), Stylizer("paintings")(picture)) <= 2
    manifest = page.driver.execute_cdp_cmd("Page.getAppManifest", {})
    assert manifest["errors"] == []
    complaints(page.driver)  # of the server that is gone


def test_a_missing_engine_shows_a_lasting_error(
    paintings: Path, tmp_path: Path, browser: tuple[Any, Path]
) -> None:
    site = Path(shutil.copytree(paintings, tmp_path / "site"))
    (site / "engine.onnx").unlink()
    with served(site) as address:
        page = Page(browser[0], address, browser[1])
        assert page.alert == "engine.onnx is missing from this page's folder."
        page.file("file", synthetic_picture(20, 20)[0], "a.png")
        time.sleep(0.5)
        assert page.alert == "engine.onnx is missing from this page's folder."
        complaints(page.driver)


def test_opened_as_a_file_the_page_explains_how_to_serve_it(
    paintings: Path, browser: tuple[Any, Path]
) -> None:
    driver = browser[0]
    driver.get((paintings / "index.html").as_uri())
    assert "http.server" in driver.find_element("id", "as-file").text
    complaints(driver)


def test_a_reduced_picture_shows_its_size(page: Page) -> None:
    large = np.zeros((3100, 3100, 3), np.uint8)
    page.set("#paint-size", 240)
    page.set("#size", 32768)
    page.set("#strength", 0)
    page.open(large)
    page.wait("return document.getElementById('status').textContent.includes('reduced from')")
    assert "reduced from 3100×3100 to 3000×3000" in page.text("status")


def test_threads_are_used_on_an_isolated_page(paintings: Path, browser: tuple[Any, Path]) -> None:
    with served(paintings, ISOLATED) as address:
        page = Page(browser[0], address, browser[1])
        assert page.driver.execute_script("return crossOriginIsolated")
        cores = page.driver.execute_script("return navigator.hardwareConcurrency")
        assert page.text("status").startswith(f"WASM, {min(cores, 8)} thread")
        picture = synthetic_picture(45, 61, seed=8)[0]
        page.open(picture)
        assert difference(page.canvas(), Stylizer("paintings")(picture)) <= 2
        assert not complaints(page.driver)


def pixel_encoder(path: Path, side: str, **more: Any) -> None:
    """The style code is one pixel of the style, which shows how the style is scaled."""
    text = f"""pixel (uint8[1, {side}, 3] style) => (float[1, 3] code)
    <int64 row = {{21}}, int64 column = {{37}}> {{
        x = Cast<to: int = 1>(style)
        line = Gather<axis: int = 1>(x, row)
        code = Gather<axis: int = 1>(line, column)
    }}"""
    shared = {"code_size": 3, "fingerprint": "mean"}
    toys.save(text, path, Metadata("add", "style-encoder", ("style",), **shared, **more))


def test_visitors_can_use_their_own_style_picture(
    tmp_path: Path, browser: tuple[Any, Path]
) -> None:
    """Encoded by the style encoder, besides a style that the page offers."""
    engine = toys.code_engine(tmp_path / "any.onnx")
    pixel_encoder(engine.with_suffix(".encoder.onnx"), "H, W", multiple=8)
    own, large = synthetic_picture(44, 60, seed=1)[0], synthetic_picture(700, 901, seed=2)[0] // 2
    (tmp_path / "dusk.png").write_bytes(encoded(own, ".png"))
    site = site_of(engine, tmp_path / "site", "--web-style", str(tmp_path / "dusk.png"))
    content = synthetic_picture(31, 45, seed=3)[0] // 3
    paint = Stylizer(engine)
    with served(site) as address:
        page = Page(browser[0], address, tmp_path)
        page.open(content)
        assert difference(page.canvas(), paint.set_style(own)(content)) <= 2
        page.set("#strength", 40)
        page.file("style-file", large, "night sky.png")
        page.wait("return document.querySelector('[data-style=\"night sky\"]')")
        page.settled()
        assert difference(page.canvas(), paint.set_style(large, strength=0.4)(content)) <= 2
        page.driver.execute_script("document.getElementById('blend').open = true")
        page.wait("return document.querySelector('[data-weight=dusk]')")
        page.set("[data-weight=dusk]", 50)
        page.settled()
        blend = {paint.encode_style(own): 0.5, paint.encode_style(large): 1.0}
        assert difference(page.canvas(), paint.set_style(blend)(content)) <= 2
        assert not complaints(page.driver)


def test_an_encoder_of_one_size_and_an_engine_without_blends(
    tmp_path: Path, browser: tuple[Any, Path]
) -> None:
    engine = toys.code_engine(tmp_path / "any.onnx")
    model = onnx.load(engine)
    (entry,) = model.metadata_props
    entry.value = replace(parse(entry.value), blends=False).dump()
    onnx.save(model, engine)
    pixel_encoder(engine.with_suffix(".encoder.onnx"), "64, 48", fixed_size=(64, 48), blends=False)
    content = synthetic_picture(31, 45, seed=3)[0] // 3
    paint = Stylizer(engine)
    with served(site_of(engine, tmp_path / "site")) as address:
        page = Page(browser[0], address, tmp_path)
        page.open(content)
        assert page.alert == "Add a style picture to paint with."
        np.testing.assert_array_equal(page.canvas(), content)
        for name, sides in (("small", (40, 30)), ("large", (130, 200))):
            style = synthetic_picture(*sides, seed=7)[0]
            page.file("style-file", style, f"{name}.png")
            page.wait(f"return document.querySelector('[data-style={name}]')")
            page.settled()
            assert difference(page.canvas(), paint.set_style(style)(content)) <= 2, name
        assert not page.driver.find_element("id", "blend").is_displayed()
        assert page.alert == ""


def test_an_engine_of_one_style_shows_no_styles(tmp_path: Path, browser: tuple[Any, Path]) -> None:
    site = site_of(toys.identity_engine(tmp_path / "same.onnx", multiple=8), tmp_path / "site")
    with served(site) as address:
        page = Page(browser[0], address, tmp_path)
        assert not page.driver.find_element("id", "styles").is_displayed()
        picture = synthetic_picture(13, 17)[0]
        page.open(picture)
        np.testing.assert_array_equal(page.canvas(), picture)


@pytest.mark.slow
def test_webgpu_paints_as_the_runtime_does(paintings: Path, tmp_path: Path) -> None:
    """On Chromium's software implementation of WebGPU, which is slow but conforming."""
    flags = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
    with served(paintings) as address, chromium(tmp_path, flags=flags) as driver:
        page = Page(driver, address, tmp_path)
        assert page.text("status").startswith("WASM"), "software graphics are no card"
        page.set("#provider", "webgpu", "change")
        page.wait("return document.getElementById('status').textContent === 'WebGPU'")
        picture = synthetic_picture(61, 75, seed=8)[0]
        page.open(picture)
        page.wait("return document.getElementById('status').textContent.includes(' in ')")
        assert difference(page.canvas(), Stylizer("paintings")(picture)) <= 2
