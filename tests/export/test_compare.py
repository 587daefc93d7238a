"""st-compare: engines, checkpoints and slow methods on one sheet, and styles that some do not
accept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from test_export import make_checkpoint

from st.export.compare.command import main, method_name
from st.export.compare.methods import Comparison, Wanted, open_method
from st.runtime import BadInput
from st.runtime.pictures.contact_sheet import contact_sheet
from st.train.features import VGG
from st.train.measures import Judge, StylePatches
from tests.support import toys


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photo.png, scream.png, engines and checkpoints; the judge has random weights."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = VGG(16, width=8)
    monkeypatch.setattr("st.train.measures.load_hed", lambda: network)
    random = np.random.default_rng(0)
    for name, size in (("photo", (48, 64)), ("scream", (70, 40)), ("black", (30, 30))):
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
        coarse.resize(size[::-1], Image.Resampling.BICUBIC).save(f"{name}.png")
    toys.tint_engine(tmp_path / "tint.onnx")
    toys.code_engine(tmp_path / "code.onnx")
    toys.identity_engine(tmp_path / "one.onnx")
    return tmp_path


def compare(*methods: object, style: str = "black.png") -> Result:
    given = ["--content", "photo.png", "--style", style, "-o", "sheet.png", "--size", "64"]
    return CliRunner().invoke(main, [*given, *map(str, methods)])


@pytest.mark.usefixtures("folder")
def test_the_sheet_shows_engines_and_a_slow_method_with_figures(folder: Path) -> None:
    done = compare("tint.onnx", "code.onnx", "gatys", "--steps", 2, "--pictures", "all", "--json")
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert [m["method"] for m in record["methods"]] == ["tint", "code", "gatys"]
    assert all(m["seconds"] > 0 and m["patches"] > 0 for m in record["methods"])
    assert record["left_out"] == {}
    painted = {name: np.array(Image.open(f"all/{name}.png")) for name in ("tint", "code", "gatys")}
    assert not painted["tint"].any()  # its style "black", by the file's name
    photo = np.array(Image.open("photo.png"))
    assert all(picture.shape == photo.shape for picture in painted.values())
    assert np.abs(painted["gatys"].astype(int) - photo).mean() < 60
    # The figures are the benchmarks' measures of what was written.
    from st.runtime.pictures.resize import with_long_side

    style = with_long_side(np.array(Image.open("black.png")), 64)
    expected = Judge().distances(painted["gatys"], StylePatches(style), photo)
    assert record["methods"][2]["patches"] == pytest.approx(expected.patches)
    assert record["methods"][2]["content"] == pytest.approx(expected.content)
    sheet = Image.open("sheet.png")
    assert sheet.width > 2 * 64
    assert sheet.height > 2 * 48


@pytest.mark.usefixtures("folder")
def test_finished_paintings_are_reused_if_their_settings_match() -> None:
    def seconds(*options: object, style: str = "black.png") -> float:
        done = compare("code.onnx", "--pictures", "all", "--json", *options, style=style)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["methods"][0]["seconds"]

    first = seconds()
    assert seconds() == first
    assert seconds(style="scream.png") != first
    assert seconds("--seed", 1, style="scream.png") != seconds(style="scream.png")
    Path("all/code.json").write_text("[]")
    assert seconds() != first


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["cin", "adain", "perceptual"])
def test_checkpoints(folder: Path, name: str) -> None:
    make_checkpoint(name, folder / "model.pt")
    method = "model.pt=own" if name == "perceptual" else "model.pt"
    done = compare(method, "--json", style="scream.png")
    assert done.exit_code == 0, done.output
    (made,) = json.loads(done.stdout)["methods"]
    assert made["patches"] > 0
    if name == "cin":
        done = compare("model.pt", style="black.png")
        assert done.exit_code == 2
        assert "no method is left" in done.stderr


@pytest.mark.usefixtures("folder")
def test_a_bank_without_the_style_is_left_out_with_a_warning() -> None:
    done = compare("tint.onnx", "code.onnx", "one.onnx", "--json", style="scream.png")
    assert done.exit_code == 0
    record = json.loads(done.stdout)
    assert [m["method"] for m in record["methods"]] == ["code"]
    assert set(record["left_out"]) == {"tint.onnx", "one.onnx"}
    assert "Warning: tint.onnx: left out, it has negative, black, not scream" in done.stderr
    chosen = compare("tint.onnx=negative", "one.onnx=own", style="scream.png")
    assert chosen.exit_code == 0
    assert "tint: negative" in chosen.stdout


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["tint.onnx"], "no method is left"),
        (["nosuch"], "give gatys"),
        (["nosuch.onnx"], "no such engine"),
        (["nosuch.pt"], "no such file"),
        (["photo.png"], "photo.png"),
        (["code.onnx", "-o", "sheet.xyz"], "sheet.xyz"),
        (["code.onnx", "-o", "no/sheet.png"], "no such folder"),
        (["code.onnx", "-o", "photo.png"], "would replace"),
        (["code.onnx", "--size", "4"], "range"),
        ([], "METHODS"),
    ],
)
def test_errors_give_one_line(methods: list[str], message: str) -> None:
    done = compare(*methods, style="scream.png")
    assert done.exit_code == 2
    assert message in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error")]) == 1
    assert not Path("sheet.png").exists()


def test_a_painting_of_another_size_is_refused(folder: Path) -> None:
    rgb = np.zeros((40, 40, 3), np.uint8)
    comparison = Comparison(Judge(VGG(16, width=8)), rgb, rgb)
    with pytest.raises(BadInput, match="another size"):
        comparison.add("large", lambda content, progress: np.zeros((80, 80, 3), np.uint8))
    paint = open_method("tint.onnx", Wanted(rgb, Path("negative.png")))
    assert paint(rgb, lambda done, total: None).min() == 255


def test_labels_of_methods() -> None:
    assert method_name("folder/wct.pt") == "wct"
    assert method_name("gatys") == "gatys"
    assert method_name("bank.onnx=wave") == "bank: wave"


def test_a_second_label_line_gets_its_own_space() -> None:
    cell = np.zeros((60, 200, 3), np.uint8)
    one, two = contact_sheet([("a", cell)]), contact_sheet([("a\nb", cell)])
    assert two.shape[0] > one.shape[0] + 8
    assert (two[60:] < 128).any()
