"""The programs in docs/engine-format.md run engines correctly, and its description matches the
graphs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner

from st.engines import FOLDER, find
from st.export.command import main
from st.export.onnx.engines import Target, export
from st.export.web.npm_package import tarball
from st.runtime import BadInput, Stylizer, Unavailable
from st.runtime.engine.metadata import KINDS, Metadata
from st.runtime.engine.onnx_file import read_engine
from st.runtime.painting.frames import fitted_size, pad
from st.runtime.pictures.synthetic import synthetic_picture
from tests.export.test_export import make_checkpoint
from tests.support.onnxruntime_sdk import include_folder, sdk

PAGE = Path(__file__).parents[2] / "docs" / "engine-format.md"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the page's program finds onnxruntime-web."""
    if not shutil.which("node"):
        pytest.skip("Node.js is not installed")
    try:
        package = tarball()
    except Unavailable as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("ort")
    with tarfile.open(package, "r|gz") as archive:
        for member in archive:
            if "/dist/ort" in member.name and not member.name.endswith(".map"):
                archive.extract(member, folder, filter="data")
    # The build for browsers needs no other package, but asks for Node's own modules.
    (folder / "browser.mjs").write_text(
        'import { createRequire } from "node:module";\n'
        "globalThis.require = createRequire(import.meta.url);\n"
    )
    module = folder / "package" / "dist" / "ort.wasm.min.mjs"
    loading = f"--import {(folder / 'browser.mjs').as_uri()}"
    return os.environ | {"ORT": module.as_uri(), "NODE_OPTIONS": loading}


@pytest.mark.parametrize(("height", "width"), [(61, 83), (6, 9)], ids=["mirrored", "repeated"])
def test_the_documented_node_program_paints_what_st_paints(
    node: dict[str, str], tmp_path: Path, height: int, width: int
) -> None:
    """Includes padding, which changes every pixel, since instance norms see it."""
    (program,) = re.findall(r"```js\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "paint.mjs").write_text(program)
    engine = find("paintings")
    assert engine is not None
    metadata = read_engine(engine)[1]
    (tmp_path / "engine.json").write_text(json.dumps(asdict(metadata)))
    photo = synthetic_picture(height, width, 2)[0]
    head = f"P6 {width} {height} 255\n".encode()
    (tmp_path / "photo.ppm").write_bytes(head + photo.tobytes())
    style = metadata.styles[2]
    done = subprocess.run(
        ["node", "paint.mjs", str(engine), "engine.json", "photo.ppm", "painted.ppm", style],
        cwd=tmp_path,
        env=node,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    painted = (tmp_path / "painted.ppm").read_bytes()
    assert painted.startswith(head)
    ours = np.frombuffer(painted, np.uint8, offset=len(head)).reshape(height, width, 3)
    with Stylizer(engine) as stylizer:
        theirs = stylizer.set_style(style)(photo)
    assert np.abs(ours.astype(int) - theirs).max() <= 2


@pytest.fixture(scope="module")
def paint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the page's C++ program against ONNX Runtime's headers and the wheel's library."""
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    try:
        include = include_folder()
    except Unavailable as error:
        pytest.skip(str(error))
    header = next(Path(include).rglob("onnxruntime_c_api.h")).read_text()
    needed = re.search(r"#define ORT_API_VERSION (\d+)", header)
    if needed and int(needed[1]) > int(ort.__version__.split(".")[1]):
        pytest.skip(f"the headers are of ONNX Runtime 1.{needed[1]}, newer than {ort.__version__}")
    capi = Path(ort.__file__).parent / "capi"
    library = next(capi.glob("libonnxruntime.so.*"), None)
    if library is None:
        pytest.skip(f"no libonnxruntime.so in {capi}")
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(library)
    (program,) = re.findall(r"```cpp\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (folder / "paint.cpp").write_text(program)
    words = f"g++ -std=c++20 -Wall -Werror -I{include} paint.cpp -L. -lonnxruntime -o paint".split()
    done = subprocess.run(
        [*words, f"-Wl,-rpath,{folder}"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "paint"


@pytest.fixture(scope="module", params=["cin", "superres"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    checkpoint = make_checkpoint(request.param, folder / "a.pt")
    return next(iter(export(checkpoint, folder / "a.onnx"))).path


@pytest.mark.parametrize(("height", "width"), [(61, 83), (6, 9)], ids=["mirrored", "repeated"])
def test_the_documented_cpp_program_paints_what_st_paints(
    paint: Path, exported: Path, height: int, width: int, tmp_path: Path
) -> None:
    engine, metadata = exported, read_engine(exported)[1]
    photo = synthetic_picture(height, width, 2)[0]
    given = f"P6 {width} {height} 255\n".encode() + photo.tobytes()
    (tmp_path / "photo.ppm").write_bytes(given)
    style = ["1"] if metadata.styles else []
    words = [paint, engine, "photo.ppm", "painted.ppm", *style]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    scale = metadata.scale
    feeds = {"content": pad(photo[None], *fitted_size(metadata, height, width))}
    if metadata.styles:
        feeds["weights"] = np.array([[0, 1]], np.float32)
    session = ort.InferenceSession(engine, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(["stylized"], feeds)
    head = f"P6 {width * scale} {height * scale} 255\n".encode()
    painted = (tmp_path / "painted.ppm").read_bytes()
    assert painted.startswith(head)
    ours = np.frombuffer(painted, np.uint8, offset=len(head))
    ours = ours.reshape(height * scale, width * scale, 3).astype(int)
    assert np.abs(ours - theirs[0, : height * scale, : width * scale]).max() <= 1


def test_the_documented_java_program_compiles(tmp_path: Path) -> None:
    """Compile it only: the library for desktops is on Maven. The page says where it was run."""
    if not shutil.which("javac"):
        pytest.skip("no JDK is installed")
    try:
        classes = sdk().classes
    except Unavailable as error:
        pytest.skip(str(error))
    (program,) = re.findall(r"```java\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "Paint.java").write_text(program)
    words = ["javac", "-Xlint:all", "-Werror", "-cp", str(classes), "Paint.java"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "Paint.class").is_file()


def test_shipped_engines_have_the_ir_version_of_their_opset() -> None:
    """Torch writes a newer one, which ONNX Runtime 1.17 refuses."""
    for path in FOLDER.glob("*.onnx"):
        model = onnx.load(path)
        assert model.opset_import[0].version <= 20
        assert model.ir_version <= 9, path.name


def test_the_page_documents_every_key_and_kind() -> None:
    text = PAGE.read_text()
    for name in (*asdict(Metadata("x")), *KINDS):
        assert f"`{name}`" in text, name


def test_ports_are_named_and_described(tmp_path: Path) -> None:
    checkpoint = make_checkpoint("cin", tmp_path / "a.pt")
    (made, *_) = export(checkpoint, tmp_path / "a.onnx")
    model = onnx.load(made.path)
    assert model.ir_version == 9
    graph = model.graph
    content, weights = graph.input
    dims = [d.dim_param or d.dim_value for d in content.type.tensor_type.shape.dim]
    assert dims == ["batch", "height", "width", 3]
    assert "multiples of 4, 16 or more" in content.doc_string
    assert "share of wave, scream" in weights.doc_string
    out = [d.dim_param or d.dim_value for d in graph.output[0].type.tensor_type.shape.dim]
    assert out[3] == 3
    session = ort.InferenceSession(made.path, providers=["CPUExecutionProvider"])
    odd = {"content": np.zeros((1, 63, 65, 3), np.uint8), "weights": np.ones((1, 2), np.float32)}
    with pytest.raises(Exception, match="height_and_width_must_be_multiples_of_4"):
        session.run(None, odd)


def test_an_older_opset_and_one_size(tmp_path: Path) -> None:
    checkpoint = make_checkpoint("cin", tmp_path / "a.pt")
    made = list(export(checkpoint, tmp_path / "a.onnx", Target(17, (48, 64))))
    assert [one.path.name for one in made] == ["a.onnx"]
    model = onnx.load(made[0].path)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [17]
    assert model.ir_version == 8
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == [1, 48, 64, 3]
    with Stylizer(made[0].path) as stylizer:
        assert stylizer(synthetic_picture(48, 64)[0]).shape == (48, 64, 3)
    with pytest.raises(BadInput, match="multiples of 4, 16 or more"):
        list(export(checkpoint, tmp_path / "b.onnx", Target(20, (50, 64))))
    with pytest.raises(BadInput, match="opset 16"):
        list(export(checkpoint, tmp_path / "b.onnx", Target(16, (48, 64))))
    result = CliRunner().invoke(main, ["paintings", "--half", "--opset", "17"])
    assert result.exit_code == 2
    assert "need the checkpoint" in result.output
