"""All programs in examples/, run like a user would."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from st.runtime import Stylizer

EXAMPLES = Path(__file__).parents[2] / "examples"


def picture(seed: int, height: int = 48, width: int = 80) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (5 + c) + y / 9 + seed) for c in range(3)]
    return np.round(np.dstack(waves) * 100 + 127).astype(np.uint8)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 80, 48, "yuv420p"
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"photo{n}.png" for n in range(3)]
    for number, path in enumerate(paths):
        Image.fromarray(picture(number, 40 + number, 61)).save(path)
    return paths


def run(name: str, *words: object, **env: str) -> str:
    """The output of the program, which must exit with code 0."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *(str(word) for word in words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | env,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


def test_in_a_thread_example(film: Path, tmp_path: Path) -> None:
    said = run("in_a_thread.py", film, tmp_path / "out.png", "--style", "udnie")
    assert said.startswith("10 frames played, ")
    painted = int(said.split()[3])
    assert 1 <= painted <= 10
    with av.open(str(film)) as source:
        *_, last = source.decode(video=0)
    expected = Stylizer("paintings").set_style("udnie")(last.to_ndarray(format="rgb24"))
    np.testing.assert_array_equal(pixels(tmp_path / "out.png"), expected)


def test_in_asyncio(photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    said = run("in_asyncio.py", *photos, tmp_path / "bad.png", "--folder", tmp_path / "painted")
    assert "3 of 4 pictures painted" in said
    assert "bad.png" in said
    paint = Stylizer("paintings")
    for photo in photos:
        painted = pixels(tmp_path / "painted" / photo.name)
        np.testing.assert_array_equal(painted, paint(pixels(photo)))


def test_in_qt(film: Path, tmp_path: Path) -> None:
    reason = "needs PySide6-Essentials and the system's libegl1 and libgl1"
    pytest.importorskip("PySide6.QtWidgets", reason=reason, exc_type=ImportError)
    shot = tmp_path / "window.png"
    said = run("in_qt.py", film, "--frames", 5, "--save", shot, QT_QPA_PLATFORM="offscreen")
    assert said == "5 paintings shown\n"
    assert pixels(shot).reshape(-1, 3).std(axis=0).min() > 10, "a picture, not a bare window"


def test_in_fastapi(photos: list[Path]) -> None:
    pytest.importorskip("fastapi", reason="needs fastapi and httpx")
    pytest.importorskip("httpx", reason="needs fastapi and httpx")
    testclient = importlib.import_module("fastapi.testclient")
    client = testclient.TestClient(example("in_fastapi").app)
    assert "wave" in client.get("/styles").json()
    done = client.post("/paint?style=scream", content=photos[0].read_bytes())
    assert done.status_code == 200
    expected = Stylizer("paintings", "the_scream")(pixels(photos[0]))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(done.content))), expected)
    for query, data in (("style=wvae", photos[0].read_bytes()), ("style=wave", b"no picture")):
        failed = client.post(f"/paint?{query}", content=data)
        assert failed.status_code == 400
    assert "not a picture" in failed.json()["detail"]


def test_in_streamlit(photos: list[Path]) -> None:
    testing = pytest.importorskip("streamlit.testing.v1", reason="needs streamlit")
    page = testing.AppTest.from_file(str(EXAMPLES / "in_streamlit.py"), default_timeout=60).run()
    assert not page.exception
    assert list(page.selectbox[0].options) == list(Stylizer("paintings").styles)
    page.selectbox[0].set_value("udnie")
    page.file_uploader[0].set_value(("a.png", photos[0].read_bytes(), "image/png")).run()
    assert not page.exception
    assert not page.error
    assert [element.type for element in page.main][-1] == "image"
    page.file_uploader[0].set_value(("bad.png", b"no picture", "image/png")).run()
    assert not page.exception
    assert "not a picture" in page.error[0].value


def test_in_gradio(photos: list[Path]) -> None:
    pytest.importorskip("gradio", reason="needs gradio")
    client = importlib.import_module("gradio_client")
    app = example("in_gradio").app
    _, address, _ = app.launch(prevent_thread_lock=True, quiet=True)
    try:
        sent = client.handle_file(str(photos[0]))
        done = client.Client(address, verbose=False).predict(sent, "udnie", 1, api_name="/paint")
        painted = pixels(Path(done))
    finally:
        app.close()
    np.testing.assert_array_equal(painted, Stylizer("paintings", "udnie")(pixels(photos[0])))


def test_in_tkinter(photos: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("tkinter", reason="needs tkinter")
    if not shutil.which("xvfb-run"):
        pytest.skip("needs Xvfb")
    program = [sys.executable, str(EXAMPLES / "in_tkinter.py"), str(photos[0])]
    command = ["xvfb-run", "-a", *program, "--save", str(tmp_path / "out.png")]
    subprocess.run(command, check=True, timeout=120)
    np.testing.assert_array_equal(
        pixels(tmp_path / "out.png"), Stylizer("paintings")(pixels(photos[0]))
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("in_a_thread.py", ["no.mp4", "out.png"]),
        ("in_opencv.py", ["no.mp4", "-o", "out.mp4"]),
        ("in_processes.py", ["no.png", "--folder", "painted", "--workers", "1"]),
        ("in_tkinter.py", ["no.png"]),
    ],
)
def test_a_bad_file_gives_one_line(name: str, words: list[str], tmp_path: Path) -> None:
    if name == "in_tkinter.py":
        pytest.importorskip("tkinter", reason="needs tkinter")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_code_in_the_docs_runs() -> None:
    text = (EXAMPLES.parent / "docs" / "embedding.md").read_text(encoding="utf-8")
    (block,) = text.split("```python\n")[1:]
    names: dict[str, Any] = {"picture": picture(0)}
    exec(compile(block.partition("```")[0], "docs/embedding.md", "exec"), names)
    expected = Stylizer("paintings", "the_scream", 0.9)(picture(0))
    np.testing.assert_array_equal(names["painting"], expected)


def test_in_opencv(film: Path, tmp_path: Path) -> None:
    assert run("in_opencv.py", film, "-o", tmp_path / "out.mp4") == "10 frames painted\n"
    with av.open(str(tmp_path / "out.mp4")) as out, av.open(str(film)) as source:
        paint = Stylizer("paintings")
        frames = zip(out.decode(video=0), source.decode(video=0), strict=True)
        for painted, frame in frames:
            expected = paint(frame.to_ndarray(format="rgb24")).astype(float)
            error = painted.to_ndarray(format="rgb24") - expected
            # mp4v loses some; with red and blue swapped it would be 50 and more
            assert np.abs(error.mean((0, 1))).max() < 12
            assert np.abs(error).mean() < 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_in_processes(photos: list[Path], tmp_path: Path) -> None:
    said = run("in_processes.py", *photos, "--folder", tmp_path / "painted", "--workers", 2)
    assert said.count("painted by a process of its own") == 3
    assert "after a fork: this engine was opened before a fork" in said
    assert "a new one paints (32, 32, 3)" in said
    for photo in photos:
        painted = pixels(tmp_path / "painted" / photo.name)
        np.testing.assert_array_equal(painted, Stylizer("paintings")(pixels(photo)))


def test_the_comfyui_node_alone(photos: list[Path], tmp_path: Path) -> None:
    said = run("comfyui_node.py", photos[0], tmp_path / "out.png", "--style", "the_scream")
    assert said == "(1, 40, 61, 3) torch.float32\n"
    expected = Stylizer("paintings").set_style("the_scream")(pixels(photos[0]))
    np.testing.assert_array_equal(pixels(tmp_path / "out.png"), expected)


def nodes() -> Any:
    return example("comfyui_node")


def example(name: str) -> Any:
    """The module, imported by its path, as ComfyUI imports the contents of custom_nodes/."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def execute(node: type, given: dict[str, Any]) -> tuple[Any, ...]:
    """Like ComfyUI's executor: inputs by name, as in INPUT_TYPES; returns a tuple."""
    types = node.INPUT_TYPES()
    offered = types["required"] | types.get("optional", {})
    assert set(types["required"]) <= set(given) <= set(offered)
    result = getattr(node(), node.FUNCTION)(**given)
    assert isinstance(result, tuple)
    assert len(result) == len(node.RETURN_TYPES)
    return result


def test_comfyui_nodes_implement_the_protocol() -> None:
    import torch

    module = nodes()
    stylize, blend = (module.NODE_CLASS_MAPPINGS[name] for name in ("StStylize", "StBlend"))
    assert set(module.NODE_CLASS_MAPPINGS) == set(module.NODE_DISPLAY_NAME_MAPPINGS)
    for node in (stylize, blend):
        assert node.CATEGORY
        for name, kind in {
            k: v for part in node.INPUT_TYPES().values() for k, v in part.items()
        }.items():
            assert isinstance(name, str)
            assert isinstance(kind, tuple)
            default = kind[1].get("default") if len(kind) > 1 else None
            assert default is None or not isinstance(kind[0], list) or default in kind[0]
    frames = np.stack([picture(1), picture(2)])
    image = torch.from_numpy(frames).float() / 255
    defaults = {"engine": "paintings", "style": "", "strength": 1.0}
    (painted,) = execute(stylize, defaults | {"image": image})
    assert (painted.shape, painted.dtype) == (image.shape, torch.float32)
    assert 0 <= painted.min() <= painted.max() <= 1
    paint = Stylizer("paintings")
    np.testing.assert_array_equal(module.to_frames(painted), paint(frames))

    (two,) = execute(blend, {"first": "wave", "second": "udnie", "share": 0.25})
    (three,) = execute(
        blend, {"first": "wave", "second": "mondrian", "share": 0.5, "instead_of_first": two}
    )
    assert three == {"wave": 0.375, "udnie": 0.125, "mondrian": 0.5}
    rgba = torch.cat([image, torch.ones_like(image[..., :1])], dim=3)
    given = defaults | {"image": rgba, "blend": three, "strength": 0.5}
    (blended,) = execute(stylize, given)
    expected = paint.set_style(three, 0.5)(frames)
    np.testing.assert_array_equal(module.to_frames(blended), expected)
    np.testing.assert_array_equal(frames, np.stack([picture(1), picture(2)]))
    assert stylize.VALIDATE_INPUTS(strength=0.5) is True
    assert isinstance(stylize.VALIDATE_INPUTS(strength=float("nan")), str)


def test_the_notebook_runs() -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs nbclient")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient")
    pytest.importorskip("ipykernel", reason="needs ipykernel")
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    nbformat.validate(notebook)
    kept = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(kept), "kept without outputs: they would swell the repository"
    client = nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(EXAMPLES)}}
    )
    client.execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 5
    assert any("frames a second" in out.get("text", "") for out in outputs)


def test_the_dockerfile_copies_what_the_package_needs() -> None:
    """There is no Docker here, so the test checks that all files that pip needs are copied."""
    copied = {
        word.rstrip("/")
        for line in (EXAMPLES / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY")
        for word in line.split()[1:-1]
    }
    project = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())
    places = project["tool"]["setuptools"]["package-dir"].values()
    folders = {place.partition("/")[0] for place in places}
    named = {project["project"]["readme"], *project["project"]["license-files"]}
    assert copied == folders | named | {"pyproject.toml"}
