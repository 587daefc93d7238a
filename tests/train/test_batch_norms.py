"""Folded batch norms of an engine get statistics again, and compute the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from st.train.bank.batch_norms import restore_statistics


def folded(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """As left by `st.train.bank.from_engine`: it computes x * weight + bias."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    nn.init.normal_(norm.weight, 1, 0.3)
    nn.init.normal_(norm.bias, 0, 0.3)
    return norm


def network() -> nn.Sequential:
    torch.manual_seed(3)
    first, second, own = nn.BatchNorm2d(6), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    convs = (nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3), nn.Conv2d(4, 4, 3))
    nn.init.constant_(convs[0].bias if convs[0].bias is not None else Tensor(), 5.0)
    assert own.running_mean is not None
    own.running_mean.fill_(0.5)  # statistics of its own, from a training
    parts = (convs[0], folded(first), nn.ReLU(), convs[1], folded(second), convs[2], own)
    return nn.Sequential(*parts).eval()


def test_the_network_computes_the_same_and_also_in_training() -> None:
    made, pictures = network(), torch.rand(4, 3, 20, 24)
    with torch.no_grad():
        before = made(pictures)
        kept = {name: value.clone() for name, value in made[6].state_dict().items()}
        assert restore_statistics(made.train(), lambda: made(pictures)) == 2
        assert made.training
        torch.testing.assert_close(made.eval()(pictures), before, rtol=1e-4, atol=1e-4)
        for name, value in made[6].state_dict().items():
            torch.testing.assert_close(value, kept[name])
        # A training step uses the statistics of its batch: the same, up to the batch.
        made[:6].train()
        others = torch.rand(4, 3, 20, 24)
        trained = made[:6](others)
        torch.testing.assert_close(trained, made[:6].eval()(others), rtol=0, atol=0.1)


def test_batch_norms_with_statistics_are_left_alone() -> None:
    made, pictures = network(), torch.rand(2, 3, 20, 24)
    assert restore_statistics(made, lambda: made(pictures)) == 2
    state = {name: value.clone() for name, value in made.state_dict().items()}
    calls: list[int] = []
    assert restore_statistics(made, lambda: calls.append(1)) == 0
    assert not calls
    assert all(torch.equal(value, state[name]) for name, value in made.state_dict().items())
    assert not made[1]._forward_pre_hooks
