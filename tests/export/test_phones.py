"""The program in docs/engine-format.md, "Phones", converts a network, which then has the same
output."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from st.train.checkpoint import Checkpoint
from tests.export.test_export import make_checkpoint

PAGE = Path(__file__).parents[2] / "docs" / "engine-format.md"


def programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def painted_by_torch(checkpoint: Checkpoint, picture: torch.Tensor) -> np.ndarray:
    controls = [torch.eye(2)[:1]] if checkpoint.method == "cin" else []
    with torch.no_grad():
        return checkpoint.network().eval()(picture, *controls)[0].numpy()


@pytest.mark.parametrize("name", ["perceptual", "cin"])
def test_the_documented_ncnn_program_paints_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pnnx")
    ncnn = pytest.importorskip("ncnn")
    monkeypatch.chdir(tmp_path)
    checkpoint = make_checkpoint(name, tmp_path / "wave.pt")
    made: dict[str, Any] = {}
    exec(compile(programs()[0], str(PAGE), "exec"), made)
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param("wave.pnnx.ncnn.param") == 0
    assert net.load_model("wave.pnnx.ncnn.bin") == 0
    runner = net.create_extractor()
    runner.input("in0", ncnn.Mat(made["picture"][0].numpy()).clone())
    _, painted = runner.extract("out0")
    expected = painted_by_torch(checkpoint, made["picture"])
    assert expected.std() > 0.01
    assert np.abs(np.array(painted) - expected).max() < 1 / 255
