"""The transform network, and the form of its upsampling in engines."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from st.train.networks.transform import (
    SHAPES,
    FoldedUpsampleConv,
    Shape,
    TransformNet,
    UpsampleConv,
    fold_upsampling,
    parse_shape,
    shape_text,
)


@settings(deadline=None, max_examples=20)
@given(
    some.integers(1, 5),
    some.integers(1, 5),
    some.integers(1, 9),
    some.integers(1, 9),
)
def test_folded_upsampling_is_the_same_function(inputs: int, outputs: int, h: int, w: int) -> None:
    torch.manual_seed(inputs * outputs)
    whole = UpsampleConv(inputs, outputs)
    x = torch.randn(2, inputs, h, w)
    torch.testing.assert_close(FoldedUpsampleConv(whole)(x), whole(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_folded_network_paints_the_same(shape: str) -> None:
    torch.manual_seed(0)
    network = TransformNet(SHAPES[shape])
    folded = fold_upsampling(network)
    x, code = torch.rand(1, 3, 40, 24), network.plain_code()
    with torch.no_grad():
        torch.testing.assert_close(folded(x, code), network(x, code), rtol=1e-4, atol=1e-5)
    assert any(isinstance(m, FoldedUpsampleConv) for m in folded.modules())
    assert not any(isinstance(m, UpsampleConv) and m.folds for m in folded.modules())
    assert any(isinstance(m, UpsampleConv) for m in network.modules())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_uniform_picture_stays_uniform(shape: str, level: float) -> None:
    """Rounding that differs between pixels would become a grid, since instance norms amplify it."""
    torch.manual_seed(0)
    network = fold_upsampling(TransformNet(SHAPES[shape]))
    code = network.plain_code() + 0.3 * torch.randn(1, network.code_size)
    with torch.no_grad():
        painted = network(torch.full((1, 3, 64, 64), level), code)
    assert painted.std(dim=(2, 3)).max() < 0.5 / 255


@pytest.mark.parametrize("shape", SHAPES)
def test_each_sample_has_its_own_code(shape: str) -> None:
    """Two codes in one batch give the results of each code alone."""
    torch.manual_seed(0)
    network = TransformNet(SHAPES[shape])
    codes = network.plain_code() + 0.3 * torch.randn(2, network.code_size)
    x = torch.rand(1, 3, 32, 32).repeat(2, 1, 1, 1)
    with torch.no_grad():
        both = network(x, codes)
        alone = torch.cat([network(x[:1], codes[:1]), network(x[1:], codes[1:])])
    torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-5)
    assert (both[0] - both[1]).abs().max() > 0.01
    assert both.min() >= 0
    assert both.max() <= 1


CHANNELS = some.lists(some.integers(1, 1024), min_size=1, max_size=5)


@given(
    CHANNELS.flatmap(lambda up: some.tuples(some.just(up), some.integers(1, 1024))),
    some.integers(0, 64),
    some.sampled_from((1, 3, 9, 15)),
    some.sampled_from(("sigmoid", "linear")),
    some.booleans(),
    some.sampled_from((1, 2)),
)
def test_shapes_are_parsed_from_their_text(
    sides: tuple[list[int], int], blocks: int, kernel: int, ending: str, norm: bool, fold: int
) -> None:
    up, first = sides
    down = (first, *reversed(up))
    shape = Shape(fold, down, blocks, tuple(up), kernel, ending, norm)  # type: ignore[arg-type]
    assert parse_shape(shape_text(shape)) == shape


@pytest.mark.parametrize(
    "text",
    [
        "",
        "slow",
        "down=32,64",
        "down=32,64 up=8 up=8",
        "down=32,x up=8",
        "down=0,4 up=8",
        "kernel=4",
        "kernel=99",
        "blocks=-1",
        "ending=tanh",
        "last_norm=1",
        "down=1,1,1,1,1,1,1 up=1,1,1,1,1,1",
        "blocks=²",
    ],
)
def test_bad_shapes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no shape|must be"):
        parse_shape(text)


def test_a_linear_ending_and_a_last_norm() -> None:
    """The picture is the output of the last convolution, normalized and styled like any other
    layer."""
    torch.manual_seed(0)
    network = TransformNet(
        parse_shape("down=4,8 blocks=1 up=4 kernel=3 ending=linear last_norm=yes")
    )
    assert network.channels[-1] == 3
    code = network.plain_code()
    half = network.code_size // 2
    code[:, half - 3 : half], code[:, -3:] = 5.0, -2.0
    with torch.no_grad():
        painted = network(torch.rand(2, 3, 24, 16), code)
    torch.testing.assert_close(painted.mean((2, 3)), torch.full((2, 3), -2.0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        painted.std((2, 3), correction=0), torch.full((2, 3), 5.0), rtol=1e-2, atol=1e-2
    )
