"""Time and memory for pictures of 12 and 48 megapixels, painted whole and in tiles.

    python -m benchmarks.large_pictures --engine paintings --device cpu

Each picture is painted once by a process of its own, so the figures include Python, all libraries
and opening the engine. Processor time is that of the process, all its threads together; wall time
depends on the other programs on the machine.
"""

from __future__ import annotations

import json
import math
import resource
from collections.abc import Iterator

import click
import numpy as np

from benchmarks.machine import this_machine
from benchmarks.report import Row, progress, show
from st import engines
from st.runtime import Stylizer
from st.runtime.backends.open import ONNX_DEVICES
from st.runtime.bench.clips import drifting
from st.runtime.bench.startup import give_style, measure_process, report
from st.runtime.cli.base import command

WAYS = ("whole", "tiled")
ASPECT = 4 / 3
PATCH = 512  # pixels: the picture repeats a texture of this size
_CODE = (
    "import json, sys; from benchmarks.large_pictures import paint; paint(*json.loads(sys.argv[1]))"
)


def size_of(megapixels: float) -> tuple[int, int]:
    """(height, width) of a 4:3 picture, multiples of 8."""
    height = round(math.sqrt(megapixels * 1e6 / ASPECT) / 8) * 8
    return height, round(height * ASPECT / 8) * 8


def paint(engine: str, device: str, way: str, height: int, width: int) -> None:
    """The measured process."""
    patch = drifting((PATCH, PATCH), 1)[0]
    rows, columns = -(-height // PATCH), -(-width // PATCH)
    picture = np.ascontiguousarray(np.tile(patch, (rows, columns, 1))[:height, :width])
    with Stylizer(engine, device=device, whole_pixels=height * width) as stylizer:
        give_style(stylizer)
        if way == "whole":
            stylizer(picture)
        else:
            stylizer.tiled(picture)
        report()


def measure(engine: str, device: str, way: str, megapixels: float) -> Row:
    """Raises StError: the process failed, for example because it ran out of memory."""
    height, width = size_of(megapixels)
    before = _children()
    cost = measure_process(_CODE, json.dumps([engine, device, way, height, width]))
    return {
        "picture": f"{width}×{height}",
        "megapixels": megapixels,
        "device": device,
        "painted": way,
        "processor s": _children() - before,
        "wall s": cost.seconds,
        "MiB": cost.mebibytes,
    }


def _children() -> float:
    """Processor time of the child processes that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def choices(
    devices: tuple[str, ...], ways: tuple[str, ...], sizes: tuple[float, ...]
) -> Iterator[tuple[str, str, float]]:
    for megapixels in sizes:
        for device in devices:
            for way in ways:
                yield device, way, megapixels


@command(epilog="Example: python -m benchmarks.large_pictures --megapixels 12 --device cpu")
@click.option("--engine", default=engines.DEFAULT, show_default=True)
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=["cpu"],
    show_default=True,
    type=click.Choice(ONNX_DEVICES),
)
@click.option(
    "--megapixels",
    "sizes",
    multiple=True,
    default=[12, 48],
    show_default=True,
    type=click.FloatRange(0.1, 400),
)
@click.option(
    "--way",
    "ways",
    multiple=True,
    default=WAYS,
    show_default=True,
    type=click.Choice(WAYS),
    help="Paint in one run, or in tiles.",
)
@click.option("--json", "as_json", is_flag=True)
def main(
    engine: str,
    devices: tuple[str, ...],
    sizes: tuple[float, ...],
    ways: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure time and memory for large pictures."""
    wanted = list(choices(devices, ways, sizes))
    rows = []
    with progress() as bar:
        for device, way, megapixels in bar.track(wanted, description="measuring"):
            rows.append(measure(engine, device, way, megapixels))
    show(f"Large pictures, {engine}", this_machine(), rows, as_json)


if __name__ == "__main__":
    main()
