"""--add-style: adds a style to a bank, from a checkpoint or an engine, and preserves everything
else."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from click.testing import CliRunner
from onnx import numpy_helper

from st.export.onnx.engines import export
from st.runtime.engine.location import engine_path
from st.runtime.errors import BadInput
from st.train.bank.from_engine import engine_checkpoint, load_any
from st.train.checkpoint import Checkpoint, load_checkpoint
from st.train.command import main
from st.train.data.pictures import load_style
from st.train.features import VGG
from st.train.loop.optimizer import planned_steps
from st.train.methods import METHODS
from st.train.networks.transform import FoldedUpsampleConv, UpsampleConv, unfold_upsampling
from tests.support import toys

BANKS = [name for name, method in METHODS.items() if method.bank]


def a_bank(name: str, path: Path, small: Callable[..., Any]) -> Checkpoint:
    """An untrained bank of two visibly different styles."""
    torch.manual_seed(3)
    method = METHODS[name]
    config = small(method)
    network = method.build(config, ("wave", "scream"))
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    state = network.state_dict()
    made = Checkpoint(name, dataclasses.asdict(config), ("wave", "scream"), state, {"steps": 9})
    made.save(path)
    return made


def add(name: str, source: object, output: Path, picture: Path, *words: object) -> None:
    given = (name, "--add-style", f"new={picture}", "--from", source, "-o", output, *words)
    scales = ("--style-scales", 1) if hasattr(METHODS[name].config, "style_scales") else ()
    common = ("--device", "cpu", "--workers", 0, "--size", 48, "--batch", 1, *scales)
    result = CliRunner().invoke(main, [str(word) for word in (*given, *common)])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", BANKS)
def test_a_style_is_added_and_the_others_are_unchanged(
    name: str,
    small: Callable[..., Any],
    tmp_path: Path,
    photographs: Path,
    paintings: Path,
    vgg: VGG,
) -> None:
    before = a_bank(name, tmp_path / "bank.pt", small)
    picture = paintings / "strokes.png"
    words = ("--content", photographs, "--steps", 4, "--style-size", 48)
    add(name, tmp_path / "bank.pt", tmp_path / "more.pt", picture, *words)
    after = load_checkpoint(tmp_path / "more.pt")
    assert after.styles == ("wave", "scream", "new")
    assert after.card["steps"] == 9
    assert "new (strokes.png) in 4 steps" in str(after.card["added"])
    assert after.config == before.config
    for key, value in before.state.items():
        kept = after.state[key][:2] if key == METHODS[name].bank else after.state[key]
        assert torch.equal(kept, value), key
    rows = after.state[METHODS[name].bank]
    assert all(not torch.equal(rows[2], row) for row in rows[:2])
    after.network()


def test_weights_are_read_back_from_an_engine(small: Callable[..., Any], tmp_path: Path) -> None:
    """The weights of a method with its own norms, whose names the graph does not contain."""
    before = a_bank("stylebank", tmp_path / "bank.pt", small)
    next(iter(export(before, tmp_path / "bank.onnx")))
    after = engine_checkpoint(tmp_path / "bank.onnx")
    assert (after.method, after.styles, after.card) == ("stylebank", before.styles, before.card)
    assert after.state.keys() == before.state.keys()
    for key, value in before.state.items():
        torch.testing.assert_close(after.state[key], value, rtol=1e-5, atol=1e-6)


def test_biases_of_zero_are_read_back(tmp_path: Path, small: Callable[..., Any]) -> None:
    """The exporter drops them; networks of other programs have no biases at all."""
    bank = a_bank("cin", tmp_path / "bank.pt", small)
    for key, value in bank.state.items():
        if key.endswith(".bias"):
            value.zero_()
    next(iter(export(bank, tmp_path / "bank.onnx")))
    after = engine_checkpoint(tmp_path / "bank.onnx")
    for key, value in bank.state.items():
        torch.testing.assert_close(after.state[key], value, rtol=1e-5, atol=1e-6)


def test_engines_that_cannot_be_read_back_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.int8.onnx"
    toys.tint_engine(path, method="cin", precision="int8")
    with pytest.raises(BadInput, match="an INT8 engine, whose weights are rounded too far"):
        load_any(str(path))
    toys.tint_engine(path, method="adain", card=(("weights", "decoder.pth"),))
    with pytest.raises(BadInput, match=r"made from decoder\.pth, a network that st does not train"):
        load_any(str(path))
    with pytest.raises(BadInput, match=r"give the \.onnx it was built from"):
        load_any(str(tmp_path / "a.trt"))


def test_a_style_is_added_to_the_shipped_engine(
    tmp_path: Path, paintings: Path, photographs: Path, vgg: VGG
) -> None:
    """From its ONNX file, without photographs, until a time limit."""
    picture = paintings / "dashes.png"
    words = ("--style-size", 48, "--minutes", 0.001)
    add("cin", "paintings", tmp_path / "more.pt", picture, *words)
    after = load_checkpoint(tmp_path / "more.pt")
    assert len(after.styles) == 9
    assert after.styles[-1] == "new"
    rows = after.state["bank"]
    distances = (rows[:-1] - rows[-1]).square().mean(1)
    assert 0 < float(distances.min()) < 0.5, "it starts at what the bank has"


def test_unfolding_inverts_folding() -> None:
    torch.manual_seed(0)
    whole = UpsampleConv(5, 7)
    folded = FoldedUpsampleConv(whole)
    torch.testing.assert_close(unfold_upsampling(folded.weight.detach()), whole.weight.detach())
    assert whole.bias is not None
    assert folded.bias is not None
    assert torch.equal(unfold_upsampling(folded.bias.detach()), whole.bias.detach())


def test_the_time_limit_plans_the_steps() -> None:
    assert planned_steps(5, 100, 1.0, None) == 100
    assert planned_steps(0, 100, 0.0, 1.0) == 100
    assert planned_steps(10, 1000, 6.0, 1.0) == 100
    assert planned_steps(10, 50, 6.0, 1.0) == 50
    assert planned_steps(10, 1000, 120.0, 1.0) == 10


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--add-style", "PICTURE"], "belong together"),
        (["--from", "paintings"], "belong together"),
        (["--add-style", "PICTURE", "--from", "paintings", "--style", "PICTURE"], "--style"),
        (["--add-style", "wave=PICTURE", "--from", "paintings"], "'wave': the bank has"),
        (["--add-style", "PICTURE", "--from", "nothing"], "nothing"),
        (["--add-style", "PICTURE", "--from", "absent.pt"], "no such file"),
        (["--add-style", "none.jpg", "--from", "paintings"], "none.jpg"),
        (["--add-style", "PICTURE", "--from", "paintings", "--minutes", "0"], "--minutes"),
        (["--style", "PICTURE"], "--content"),
    ],
)
def test_wrong_usage(
    words: list[str], problem: str, paintings: Path, tmp_path: Path, vgg: VGG
) -> None:
    given = [word.replace("PICTURE", str(paintings / "dashes.png")) for word in words]
    result = CliRunner().invoke(main, ["cin", "-o", str(tmp_path / "a.pt"), *given])
    assert result.exit_code == 2, result.output
    assert problem in result.stderr
    assert len(result.stderr.splitlines()) == 1 or "Usage" in result.stderr
    assert list(tmp_path.glob("*.pt")) == []


def test_an_engine_whose_graph_contradicts_its_metadata_is_refused(tmp_path: Path) -> None:
    """Weights that do not produce the engine's pictures are rejected."""
    model = onnx.load(engine_path("paintings"))
    name = "network.transform.last.bias"
    bias = next(entry for entry in model.graph.initializer if entry.name == name)
    other = numpy_helper.from_array(numpy_helper.to_array(bias) + 0.5, "other")
    model.graph.initializer.append(other)
    for node in model.graph.node:
        node.input[:] = ["other" if x == name else x for x in node.input]
    onnx.save(model, tmp_path / "bank.onnx")
    with pytest.raises(BadInput, match="cannot be read back"):
        engine_checkpoint(tmp_path / "bank.onnx")


@pytest.mark.parametrize("kind", ["checkpoint", "engine"])
def test_a_bank_is_made_from_style_prediction(
    kind: str,
    predicting: Path,
    tmp_path: Path,
    paintings: Path,
    photographs: Path,
    vgg: VGG,
) -> None:
    """A bank with one row, initialized with the predicted code, on the network that predicted
    it."""
    saved = load_checkpoint(predicting)
    source = predicting if kind == "checkpoint" else predicting.with_suffix(".onnx")
    picture = paintings / "strokes.png"
    words = ("--content", photographs, "--steps", 1, "--learning-rate", 0)
    add("cin", source, tmp_path / "one.pt", picture, *words)
    bank = load_checkpoint(tmp_path / "one.pt")
    assert (bank.method, bank.styles) == ("cin", ("new",))
    for key, value in bank.state.items():
        if key != "bank":
            torch.testing.assert_close(value, saved.state[key], rtol=1e-5, atol=1e-6)
    network: Any = saved.network()
    expected = network.encode_style(load_style(picture, 384 if kind == "checkpoint" else 96))
    torch.testing.assert_close(bank.state["bank"], expected.detach(), rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def predicting(small: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of style prediction, with its engine and its encoder."""
    path = tmp_path_factory.mktemp("prediction") / "any.pt"
    torch.manual_seed(0)
    method = METHODS["prediction"]
    config = small(method)
    network = method.build(config, ())
    for name, parameter in network.named_parameters():
        if name.startswith(("transform", "style")):
            parameter.data += 0.02 * torch.randn_like(parameter)
    saved = Checkpoint("prediction", dataclasses.asdict(config), (), network.state_dict())
    saved.save(path)
    list(itertools.islice(export(saved, path.with_suffix(".onnx")), 2))
    return path
