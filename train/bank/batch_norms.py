"""Restoring batch norm statistics of networks read from engines, which fold them away."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


@torch.no_grad()
def restore_statistics(network: nn.Module, run: Callable[[], object]) -> int:
    """Set the statistics of folded batch norms from the pictures of `run`; returns their number.

    `st.train.bank.from_engine` sets mean 0, variance 1, and the folded scale and bias. Training
    would replace mean and variance by those of the batch, which changes the output. Here each batch
    norm gets the statistics of its input, and a scale and bias that keep the output the same.

    run: calls the network on pictures; it is in evaluation mode then.
    """
    hooks, training = [], network.training

    def adjust(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        x = inputs[0].float()
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
        mean_before, variance_before = norm.running_mean, norm.running_var
        assert mean_before is not None
        assert variance_before is not None
        scale = norm.weight / (variance_before + norm.eps).sqrt()
        norm.bias.add_(scale * (mean - mean_before))
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        mean_before.copy_(mean)
        variance_before.copy_(variance)

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and _is_folded(module):
            hooks.append(module.register_forward_pre_hook(adjust))
    if hooks:
        network.eval()
        run()
        network.train(training)
    for hook in hooks:
        hook.remove()
    return len(hooks)


def _is_folded(norm: nn.BatchNorm2d) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return False
    one = torch.full_like(variance, 1 - norm.eps)
    return not bool(mean.any()) and torch.allclose(variance, one, rtol=0, atol=1e-7)
