"""Style swap compared with the paper's formulas for each patch, and its engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor
from torch.nn.functional import conv_transpose2d, one_hot

from st.export.command import main as st_export
from st.runtime import BadControl, Stylizer
from st.runtime.cli.engines import main as st_engines
from st.train.checkpoint import Checkpoint
from st.train.features import VGG
from st.train.methods import styleswap
from st.train.networks.style_swap import SIDE, match, patches, reassemble, swap


@pytest.fixture(scope="module")
def features(vgg: VGG, real_pair: tuple[Tensor, Tensor]) -> list[Tensor]:
    """relu3_1 of a photograph and a painting, (1, 256, 16, 16) each."""
    return [vgg(picture, ["relu3_1"])["relu3_1"] for picture in real_pair]


def test_swapped_patches_have_the_largest_correlation(features: list[Tensor]) -> None:
    """Eq. 1 in float64, with both norms, as a full table of patches by patches."""
    content, style = (patches(f[0]).flatten(1).double() for f in features)
    table = (content / content.norm(dim=1, keepdim=True)) @ (
        style / style.norm(dim=1, keepdim=True)
    ).T
    got = match(features[0], patches(features[1][0])).flatten()
    best = table.max(dim=1).values
    chosen = table[torch.arange(len(table)), got]
    assert float((best - chosen).max()) < 1e-6
    assert len(got.unique()) > 20, "a bank of which little is used proves little"


def test_reassembly_is_the_transposed_convolution(features: list[Tensor]) -> None:
    """One-hot responses, divided by the number of overlapping patches, as in section 3.1."""
    bank = patches(features[1][0]).double()
    index = match(features[0], bank.float())
    hot = one_hot(index, len(bank)).permute(0, 3, 1, 2).double()
    total = conv_transpose2d(hot, bank)
    count = conv_transpose2d(torch.ones_like(hot[:, :1]), bank.new_ones(1, 1, SIDE, SIDE))
    torch.testing.assert_close(reassemble(bank, index), total / count)


def test_a_map_swapped_with_itself_is_itself(features: list[Tensor]) -> None:
    for own in features:
        torch.testing.assert_close(swap(own, own).features, own)


def test_each_sample_may_have_its_own_style(features: list[Tensor]) -> None:
    content, style = features
    both = swap(torch.cat([content, style]), torch.cat([style, content]))
    alone = [swap(content, style), swap(style, content)]
    torch.testing.assert_close(both.features, torch.cat([one.features for one in alone]))
    assert torch.equal(both.chosen, torch.cat([one.chosen for one in alone]))


@pytest.fixture(scope="module")
def engine(
    vgg: VGG,
    small: Callable[..., Any],
    real_pair: tuple[Tensor, Tensor],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """With VGG's features and an untrained inverse network."""
    torch.manual_seed(0)
    config = small(styleswap.METHOD, level="2", encoder="vgg16")
    network = styleswap.Network(config, ())
    with torch.no_grad():
        styleswap.targets(network, vgg, real_pair, config)
    folder = tmp_path_factory.mktemp("styleswap")
    values = {name: getattr(config, name) for name in config.__dataclass_fields__}
    Checkpoint("styleswap", values, (), network.state_dict()).save(folder / "swap.pt")
    result = CliRunner().invoke(st_export, [str(folder / "swap.pt")])
    assert result.exit_code == 0, result.output
    return folder / "swap.onnx"


def bytes_of(picture: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return (picture[0].permute(1, 2, 0) * 255).round().byte().numpy()


def test_styles_do_not_blend(engine: Path, real_pair: tuple[Tensor, Tensor]) -> None:
    """The mean of two feature maps is not a style in between: an error says so, and a single style
    works."""
    content, style = (bytes_of(picture) for picture in real_pair)
    stylizer = Stylizer(engine)
    one, two = stylizer.encode_style(style), stylizer.encode_style(content)
    assert stylizer.set_style({one: 1.0, two: 0.0})(content).shape == content.shape
    with pytest.raises(BadControl, match="cannot be blended"):
        stylizer.set_style({one: 0.5, two: 0.5})
    shown = CliRunner().invoke(st_engines, ["inspect", str(engine)])
    assert "no blends" in " ".join(shown.output.split())


def test_openvino_paints_style_swap(engine: Path, real_pair: tuple[Tensor, Tensor]) -> None:
    pytest.importorskip("openvino")
    content, style = (bytes_of(picture) for picture in real_pair)
    plain = Stylizer(engine)
    code = plain.encode_style(style)
    painted = [
        stylizer.set_style(code)(content).astype(int)
        for stylizer in (plain, Stylizer(engine, device="openvino"))
    ]
    assert np.abs(painted[0] - painted[1]).mean() < 0.5
    assert painted[0].std() > 3
