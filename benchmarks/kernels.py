"""The plugin's kernels: registers, memory traffic, and time on a GPU.

    python -m benchmarks.kernels

Without a GPU: registers, spills and shared memory of each kernel for each GPU generation, as
NVIDIA's assembler reports them, and the bytes that it moves compared with the minimum. With a GPU,
also its time compared with PyTorch's operators.
"""

from __future__ import annotations

import datetime
import json
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import click
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from benchmarks.machine import this_machine
from benchmarks.report import Row, progress, show
from st.export.plugin import cuda
from st.export.plugin.compiled import CAPABILITIES, compiled
from st.export.plugin.tiles import EPS, every, parts_for
from st.runtime.cli.base import command, for_option
from st.runtime.errors import BadInput
from st.runtime.pictures.resize import parse_size

LEVELS = {"relu1_1": (64, 1), "relu2_1": (128, 2), "relu3_1": (256, 4), "relu4_1": (512, 8)}
ROUNDS = 100
WARM_UP = 10


class Traffic(NamedTuple):
    """Bytes of one call on one picture, and multiply-adds.

    least: each input read once, each output written once.
    memory: traffic to DRAM if the caches hold the working set.
    loads: all loads and stores of the kernel, including cache hits.
    eager: traffic of PyTorch's operators, each of which reads and writes whole feature maps.
    """

    least: float
    memory: float
    loads: float
    eager: float
    products: float


def traffic(kernel: str, channels: int, pixels: int, size: int) -> Traffic:
    """size: bytes per entry of the feature maps, 2 or 4."""
    maps, square = channels * pixels * size, 4 * channels**2
    if kernel == "adain":
        # PyTorch: the normalization reads twice and writes once, then a product and a sum.
        eager = (3 + 2 + 2) * maps
        return Traffic(2 * maps, 2 * maps, 3 * maps, eager, 0)
    wide = channels * pixels * 4
    if kernel == "covariance":
        rows = every(size == 2, 89)["covariance_parts"][0]["ROWS"]
        blocks, parts = -(-channels // rows), parts_for(channels)
        between = 2 * parts * square  # partial moments, written and read
        # PyTorch: conversion to float32 from half, mean, difference, and its product with itself.
        cast = maps + wide if size == 2 else 0
        return Traffic(
            maps + square,
            maps + between + square,
            (blocks + 1) * maps + between + square,
            cast + wide + 2 * wide + 2 * wide + square,
            blocks * (blocks + 1) / 2 * rows**2 * pixels,
        )
    rows = every(size == 2, 89)["whiten_color"][0]["ROWS"]
    blocks = -(-channels // rows)
    # PyTorch: the difference, the product, the sum.
    return Traffic(
        2 * maps + square,
        2 * maps + square,
        (blocks + 1) * maps + square,
        (2 + 2 + 2) * maps + square,
        blocks * rows * channels * pixels,
    )


def counts(capabilities: tuple[int, ...]) -> Iterator[Row]:
    """Registers, spills and shared memory of every kernel and choice of tiles."""
    for capability in capabilities:
        for half in (True, False):
            for kernel, choices in every(half, capability).items():
                for choice, tiles in enumerate(choices):
                    made = compiled(kernel, half, tiles, capability)
                    yield {
                        "for": f"{capability // 10}.{capability % 10}",
                        "kernel": kernel,
                        "maps": "half" if half else "float32",
                        "tiles": choice + 1,
                        "threads": 32 * tiles.warps,
                        "registers": made.registers,
                        "spilled bytes": made.spilled,
                        "shared bytes": made.shared,
                        "PTX kB": len(made.ptx) / 1000,
                    }


def bytes_moved(height: int, width: int) -> Iterator[Row]:
    """Megabytes that each kernel moves at the levels of VGG, in FP16."""
    for level, (channels, stride) in LEVELS.items():
        pixels = -(-height // stride) * -(-width // stride)
        for kernel in ("adain", "covariance", "whiten_color"):
            found = traffic(kernel, channels, pixels, 2)
            yield {
                "level": level,
                "kernel": kernel,
                "least MB": found.least / 1e6,
                "from memory": found.memory / 1e6,
                "of the least": found.memory / found.least,
                "with caches": found.loads / 1e6,
                "PyTorch MB": found.eager / 1e6,
                "products G": found.products / 1e9,
                "products a byte": found.products / found.memory,
            }


def plain_adain(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    normal = functional.instance_norm(x, eps=EPS)
    return normal * scale[..., None, None].to(x.dtype) + shift[..., None, None].to(x.dtype)


def plain_covariance(x: Tensor) -> tuple[Tensor, Tensor]:
    flat = x.float().flatten(2)
    mean = flat.mean(2, keepdim=True)
    apart = flat - mean
    return mean[..., 0], apart @ apart.transpose(1, 2) / flat.shape[2]


def plain_whiten(x: Tensor, matrix: Tensor, mean: Tensor, shift: Tensor) -> Tensor:
    flat = x.flatten(2) - mean[..., None].to(x.dtype)
    return (matrix.to(x.dtype) @ flat + shift[..., None].to(x.dtype)).view_as(x)


def measured(height: int, width: int, half: bool) -> Iterator[Row]:
    """Microseconds on this GPU, of our kernels and PyTorch's, in alternating runs."""
    device = torch.device("cuda")
    kind = torch.float16 if half else torch.float32
    for level, (channels, stride) in LEVELS.items():
        size = (1, channels, -(-height // stride), -(-width // stride))
        x = torch.randn(size, device=device).to(kind)
        scale, shift, mean = torch.rand(3, 1, channels, device=device).unbind()
        matrix = torch.rand(1, channels, channels, device=device) / channels
        for kernel, (ours, theirs) in _pairs(x, scale, shift, mean, matrix).items():
            found = traffic(kernel, channels, size[2] * size[3], x.element_size())
            fast, plain = in_turns(ours, theirs)
            yield {
                "level": level,
                "kernel": kernel,
                "maps": "half" if half else "float32",
                "µs": fast,
                "PyTorch µs": plain,
                "times faster": plain / fast,
                "GB/s of the least": found.least / fast / 1e3,
            }


def _pairs(
    x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, matrix: Tensor
) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    return {
        "adain": (partial(cuda.adain, x, scale, shift), partial(plain_adain, x, scale, shift)),
        "covariance": (partial(cuda.covariance, x), partial(plain_covariance, x)),
        "whiten_color": (
            partial(cuda.whiten_color, x, matrix, mean, shift),
            partial(plain_whiten, x, matrix, mean, shift),
        ),
    }


def in_turns(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float]:
    """Median microseconds of both, in alternating runs, timed on the GPU."""
    taken: tuple[list[float], list[float]] = [], []
    for turn in range(WARM_UP + ROUNDS):
        for work, times in zip((ours, theirs), taken, strict=True):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            work()
            end.record()
            end.synchronize()
            if turn >= WARM_UP:
                times.append(1000 * start.elapsed_time(end))
    return statistics.median(taken[0]), statistics.median(taken[1])


@command(name="benchmarks.kernels")
@click.option("--size", default="1920x1080", show_default=True, metavar="WxH", help="Frame size.")
@click.option(
    "--capability",
    "capabilities",
    type=int,
    multiple=True,
    metavar="89",
    help="Compute capability to compile for; repeat for several. [default: all seven]",
)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def main(size: str, capabilities: tuple[int, ...], as_json: bool) -> None:
    """Measure registers, memory traffic and, on a GPU, the time of the plugin's kernels.

    Example: python -m benchmarks.kernels --capability 89
    """
    with for_option("--size"):
        height, width = parse_size(size)
    if unknown := set(capabilities) - set(CAPABILITIES):
        raise BadInput(
            f"--capability {min(unknown)}: choose from {', '.join(map(str, CAPABILITIES))}"
        )
    with progress() as bar:
        task = bar.add_task("compiling", total=None)
        found = []
        for row in counts(capabilities or CAPABILITIES):
            found.append(row)
            bar.update(task, description=f"compiling for {row['for']}", advance=1)
    moved = list(bytes_moved(height, width))
    times: list[Row] = []
    device = ""
    if torch.cuda.is_available():
        device = f"{torch.cuda.get_device_name()}, {datetime.date.today().isoformat()}"
        times = [row for half in (True, False) for row in measured(height, width, half)]
    if as_json:
        click.echo(json.dumps({"counts": found, "bytes": moved, "device": device, "times": times}))
        return
    machine = this_machine()
    show("Kernels as NVIDIA's assembler counts them", machine, found, False)
    show(f"Bytes of a call, {size}, half maps (counted, not measured)", machine, moved, False)
    if times:
        show(f"Microseconds of a call, {size}, on {device}", machine, times, False)
    else:
        Console(stderr=True).print("no CUDA device here: no time was measured")


if __name__ == "__main__":
    main()
