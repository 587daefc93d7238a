"""The graph rewrites for OpenVINO: other nodes, the same function."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from st.engines import find
from st.runtime import Stylizer
from st.runtime.backends.openvino_graph import keep_channels_last, optimize_graph
from st.runtime.engine.onnx_file import read_engine
from st.train.networks.transform import FoldedUpsampleConv, UpsampleConv

ov: Any = pytest.importorskip("openvino")


def kinds(model: Any) -> Counter[str]:
    return Counter(node.get_type_name() for node in model.get_ordered_ops())


def shipped(name: str) -> Path:
    path = find(name)
    assert path is not None
    return path


@pytest.mark.parametrize("name", ["anything", "paintings"])
def test_the_shipped_engines_match_the_graph_patterns(name: str) -> None:
    model = ov.Core().read_model(read_engine(shipped(name))[0])
    before = kinds(model)
    assert before["DepthToSpace"] == 2
    assert not before["ConvolutionBackpropData"]
    optimize_graph(ov, model)
    after = kinds(model)
    assert after["DepthToSpace"] == 1
    assert after["ConvolutionBackpropData"] == 1
    picture = next(p for p in model.get_parameters() if p.get_element_type() == ov.Type.u8)
    users = {port.get_node().get_type_name() for port in picture.output(0).get_target_inputs()}
    assert users == {"Reshape", "ShapeOf"}  # gathered as bytes
    keep_channels_last(ov, model)
    assert kinds(model)["GroupConvolution"] == 2 * before["MVN"] > 0


@pytest.mark.parametrize("name", ["anything", "paintings"])
@pytest.mark.parametrize("size", [(48, 64), (52, 36), (16, 400)])
def test_optimized_shipped_engines_paint_what_onnx_runtime_paints(
    name: str, size: tuple[int, int]
) -> None:
    random = np.random.default_rng(size[0])
    small = random.integers(0, 256, (5, 7, 3), np.uint8)
    frame = np.asarray(
        functional.interpolate(
            torch.from_numpy(small).permute(2, 0, 1)[None].float(), size, mode="bilinear"
        )[0]
        .permute(1, 2, 0)
        .round()
        .byte()
    )
    style = random.integers(0, 256, (96, 96, 3), np.uint8) if name == "anything" else None
    with Stylizer(name, device="cpu") as one, Stylizer(name, device="openvino") as other:
        if style is not None:
            one.set_style(style)
            other.set_style(one.encode_style(style))
        assert np.abs(one(frame).astype(int) - other(frame)).max() <= 2


class Up(nn.Module):
    """A folded upsampling with any weights."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return functional.pixel_shuffle(
            functional.conv2d(padded, self.conv.weight, self.conv.bias), 2
        )


def exported(module: nn.Module, x: torch.Tensor, path: Path) -> bytes:
    torch.onnx.export(module.eval(), (x,), str(path), opset_version=20, dynamo=True, verbose=False)
    return onnx.load(str(path)).SerializeToString()


@pytest.mark.parametrize("folded", [True, False])
def test_only_a_folded_upsampling_becomes_a_transposed_convolution(
    folded: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    conv = FoldedUpsampleConv(UpsampleConv(5, 8)) if folded else nn.Conv2d(5, 32, 3)
    x = torch.randn(1, 5, 6, 9)
    core = ov.Core()
    model = core.read_model(exported(Up(conv), x, tmp_path / "up.onnx"))
    optimize_graph(ov, model)
    assert bool(kinds(model)["ConvolutionBackpropData"]) == folded
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    made = core.compile_model(model, "CPU", settings)(x.numpy())[0]
    with torch.no_grad():
        np.testing.assert_allclose(made, Up(conv)(x).numpy(), atol=1e-5)
