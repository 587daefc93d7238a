"""Faster training steps: the transform network in float32 on CPUs, and compiled."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import nn

from st.runtime.errors import Unavailable
from st.train.loop.compilation import compile_transform
from st.train.networks.transform import TransformNet, parse_shape


class Painter(nn.Module):
    """A transform network inside another module, as in the methods."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.transform = TransformNet(parse_shape("fastest"))
        self.code = nn.Parameter(torch.rand(1, self.transform.code_size))

    def forward(self, content: torch.Tensor) -> torch.Tensor:
        return self.transform(content, self.code)


def test_compiling_needs_a_transform_network() -> None:
    assert not compile_transform(nn.Conv2d(1, 1, 1))


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("g++") and Path(sysconfig.get_path("include"), "Python.h").exists()),
    reason="torch.compile needs a C++ compiler and Python's headers",
)
def test_compiled_steps_equal_eager_steps() -> None:
    plain, painter = Painter(), Painter()
    assert compile_transform(painter)
    content = torch.rand(2, 3, 32, 32)
    gradients = []
    for network in (plain, painter):
        network(content).square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    painter.eval()
    larger = torch.rand(1, 3, 48, 64)
    assert torch.equal(painter(larger), plain(larger))


def test_a_failed_compilation_gives_one_line() -> None:
    def broken(*_: object) -> object:
        raise OSError("no compiler")

    painter = Painter()
    with mock.patch("torch.compile", lambda f, dynamic: torch._dynamo.optimize(broken)(f)):
        compile_transform(painter)
    with pytest.raises(Unavailable, match=r"torch.compile fails here.*compiler"):
        painter(torch.rand(2, 3, 32, 32))
