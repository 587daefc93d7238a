"""The transform network and the engines' form of its upsampling."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from st.train.networks.transform import (
    SHAPES,
    FoldedUpsampleConv,
    TransformNet,
    UpsampleConv,
    fold_upsampling,
)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))
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
    assert not any(isinstance(m, UpsampleConv) for m in folded.modules())
    assert any(isinstance(m, UpsampleConv) for m in network.modules())


@pytest.mark.parametrize("shape", SHAPES)
def test_code_drives_each_sample(shape: str) -> None:
    """Two codes in one batch give what each gives alone."""
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
