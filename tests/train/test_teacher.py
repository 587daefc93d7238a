"""Distillation from checkpoints and engines of all suitable methods."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from st.export.onnx.engines import export
from st.runtime.errors import BadInput
from st.train.bank.teacher import open_teacher
from st.train.checkpoint import Checkpoint
from st.train.methods import METHODS
from tests.export.test_export import make_checkpoint

CANNOT = {"superres": "enlarges pictures", "colorize": "is a colorizer"}
CPU = torch.device("cpu")


def pictures(count: int, side: int, seed: int) -> list[Tensor]:
    """Smooth random pictures in whole steps of 1/255, since engines take bytes."""
    random = torch.Generator().manual_seed(seed)
    small = (torch.rand(1, 3, 8, 8, generator=random) for _ in range(count))
    large = (torch.nn.functional.interpolate(x, size=(side, side), mode="bilinear") for x in small)
    return [(x * 255).round() / 255 for x in large]


@pytest.mark.parametrize("name", sorted(CANNOT))
def test_checkpoints_of_methods_that_cannot_teach_are_refused(name: str, tmp_path: Path) -> None:
    make_checkpoint(name, tmp_path / "a.pt")
    with pytest.raises(BadInput, match=f"is of {name}, which {CANNOT[name]}"):
        open_teacher(str(tmp_path / "a.pt"))


@pytest.mark.parametrize("name", sorted(METHODS.keys() - CANNOT.keys()))
def test_a_checkpoint_of_every_other_method_teaches(name: str, tmp_path: Path) -> None:
    make_checkpoint(name, tmp_path / "a.pt")
    teacher = open_teacher(str(tmp_path / "a.pt"))
    styles = pictures(len(teacher.styles) or 2, 64, 0)
    content = torch.cat(pictures(2, 64, 1))
    index = torch.arange(2) % len(styles)
    painted = teacher.copy_of(styles, 64, CPU)(content, index)
    assert painted.shape == content.shape
    assert painted.std() > 0.01
    assert isinstance(teacher.source, Checkpoint)
    with torch.no_grad():
        style, network = int(index[1]), teacher.source.network().eval()
        expected = METHODS[name].paint(network, content[1:], styles[style], style)
    torch.testing.assert_close(painted[1:], expected.clamp(0, 1))
    if teacher.styles:
        with pytest.raises(BadInput, match="give as many style pictures"):
            teacher.copy_of([*styles, styles[0]], 64, CPU)


@pytest.mark.parametrize("name", ["cin", "adain", "perceptual"])
def test_an_engine_and_its_checkpoint_teach_the_same(name: str, tmp_path: Path) -> None:
    for _ in export(make_checkpoint(name, tmp_path / "a.pt"), tmp_path / "a.onnx"):
        pass
    trained, played = (open_teacher(str(tmp_path / f"a.{kind}")) for kind in ("pt", "onnx"))
    styles = pictures(len(played.styles) or 2, 64, 0)
    content, index = torch.cat(pictures(2, 64, 1)), torch.arange(2) % len(styles)
    made = [teacher.copy_of(styles, 64, CPU)(content, index) for teacher in (trained, played)]
    torch.testing.assert_close(*made, rtol=0, atol=3 / 255)
    if name == "adain":
        (tmp_path / "a.encoder.onnx").unlink()
        with pytest.raises(BadInput, match="encoder"):
            open_teacher(str(tmp_path / "a.onnx")).copy_of(styles, 64, CPU)
