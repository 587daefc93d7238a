"""`python -m benchmarks.slow`: Gatys' method against a plain loop over the same network.

The plain loop is what a first script does: forward, Gram matrices by a matrix product, backward and
torch's L-BFGS, in float32. Both make the same number of evaluations of the same losses at the same
size, in turns. The floor is what the convolutions alone would take at the machine's matrix rate.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import click
import torch
from torch import Tensor, nn

from benchmarks.machine import matrix_rate, this_machine
from st.runtime.cli.base import command
from st.train.features import VGG, load_vgg
from st.train.slow.gatys import Config, objective
from st.train.slow.networks import perceptual
from st.train.slow.optimize import descend
from st.train.slow.styles import Style


def convolution_flops(vgg: VGG, image: Tensor, layers: set[str]) -> float:
    """Floating-point operations of the convolutions up to these layers, forward and backward."""
    flops = 0.0

    def count(layer: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal flops
        flops += 2 * output.numel() * layer.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in vgg.modules() if isinstance(m, nn.Conv2d)]  # pyright: ignore
    with torch.no_grad():
        vgg(image, layers)
    for hook in hooks:
        hook.remove()
    return 2 * flops  # the gradient by the input costs what the forward pass does


def plain_loop(vgg: VGG, content: Tensor, style: Tensor, evaluations: int) -> Iterator[float]:
    """Eq. 7 with the default Config, as a simple loop; returns the loss of each evaluation."""
    config = Config()
    weights = dict.fromkeys(config.style_layers, 1 / len(config.style_layers))
    layers = {config.content_layer, *weights}

    def gram(x: Tensor) -> Tensor:
        flat = x.flatten(2)
        return flat @ flat.transpose(1, 2) / flat[0].numel()

    with torch.no_grad():
        kept = vgg(content, layers)[config.content_layer]
        targets = {name: gram(x) for name, x in vgg(style, weights).items()}
    x = content.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([x], max_iter=evaluations, max_eval=evaluations, history_size=10)
    seen: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        found = vgg(x, layers)
        near = (found[config.content_layer] - kept).square().sum() / kept.square().sum()
        total = config.content_weight * near
        for name, weight in weights.items():
            apart = (gram(found[name]) - targets[name]).square().sum()
            total = total + config.style_weight * weight * apart / targets[name].square().sum()
        total.backward()
        seen.append(float(total.detach()))
        return total

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    yield from seen


def ours(vgg: VGG, content: Tensor, style: Tensor, evaluations: int) -> Iterator[float]:
    """The same with st; returns the loss of each evaluation."""
    (task,) = objective(perceptual(vgg, content), content, [Style(style)], Config())
    for _, losses in descend(content, task.losses, evaluations):
        yield sum(losses.values())


def seconds(run: Callable[[], Iterator[float]]) -> tuple[float, float]:
    """Seconds per evaluation, and the last loss."""
    start = time.perf_counter()
    losses = list(run())
    return (time.perf_counter() - start) / len(losses), losses[-1]


@command()
@click.option("--size", default=256, show_default=True, help="pixels a side")
@click.option("--evaluations", default=10, show_default=True, help="in each run")
@click.option("--rounds", default=3, show_default=True, help="runs of each, in turns")
def main(size: int, evaluations: int, rounds: int) -> None:
    """Compare Gatys' method in st with a plain loop. Example: python -m benchmarks.slow --size
    128"""
    click.echo(this_machine())
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, size // 8, size // 8, generator=random)
    content, style = nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)
    pair = content[None], style[None]
    layers = {Config.content_layer, "relu5_1"}
    plain, tuned = load_vgg(), load_vgg()
    flops = convolution_flops(plain, pair[0], layers)
    runs = {
        "plain loop": lambda: plain_loop(plain, *pair, evaluations),
        "st": lambda: ours(tuned, *pair, evaluations),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    rates, last = [], {}
    for _ in range(rounds):
        rates.append(matrix_rate(seconds=0.5))
        for name, run in runs.items():
            spent, last[name] = seconds(run)
            times[name].append(spent)
    floor = flops / (statistics.median(rates) * 1e9)
    click.echo(
        f"{size}x{size}, {evaluations} evaluations, {rounds} rounds, {flops / 1e9:.0f} GFLOP"
    )
    for name, spent in times.items():
        middle = statistics.median(spent)
        click.echo(
            f"{name:12} {middle:6.3f} s an evaluation, floor {floor:.3f} s ({floor / middle:.0%}),"
            f" loss {last[name]:.3f}"
        )


if __name__ == "__main__":
    main()
