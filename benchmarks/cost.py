"""Multiply-adds per frame of each engine, and the frame rates that they predict for other machines.

    python -m benchmarks.cost --engine paintings --size 1280x720

Multiply-adds are those of the convolutions and matrix products, counted from the shapes in the ONNX
graph. A rate is predicted, not measured: the peak rate of the machine in multiply-adds, times the
fraction of it that an engine is assumed to reach, divided by the multiply-adds of a frame. Decoding
and encoding are not included.
"""

from __future__ import annotations

from dataclasses import dataclass

import click

from benchmarks.machine import this_machine
from benchmarks.report import Row, show
from st.runtime.bench.macs import multiply_adds, zeros_for
from st.runtime.cli.base import command
from st.runtime.engine.location import engine_path
from st.runtime.pictures.resize import parse_size

ENGINES = ("paintings", "paintings-light", "anything")
SIZES = ("640x360", "1280x720", "1920x1080")


@dataclass(frozen=True)
class Target:
    """A machine to predict the speed of.

    peak: GFLOP/s in the engine's number format, two per multiply-add. reached: the assumed fraction
    of the peak that the engine reaches.
    """

    name: str
    peak: float
    reached: float

    def rate(self, adds: float) -> float:
        """Predicted frames per second. adds: multiply-adds per frame."""
        return self.peak * 1e9 * self.reached / (2 * adds)


# Half of the peak matmul rate is what ONNX Runtime reached on two cores (docs/benchmarks.md, "Side
# by side"). Layers of 16 to 48 channels use little of a GPU's matrix units, so a tenth is assumed.
TARGETS = (
    Target("phone, 4 large cores, float32", 150, 0.5),
    Target("16-core desktop, float32", 1_600, 0.5),
    Target("GPU, 30 TFLOP/s in float16", 30_000, 0.1),
)


def row(engine: str, size: tuple[int, int], targets: tuple[Target, ...] = TARGETS) -> Row:
    """size: (height, width). Raises BadEngine."""
    height, width = size
    path = engine_path(engine)
    adds = multiply_adds(path.read_bytes(), zeros_for(path, height, width))
    return {
        "engine": engine,
        "size": f"{width}×{height}",
        "G multiply-adds": adds / 1e9,
        "per pixel": adds / (width * height),
        **{target.name: target.rate(adds) for target in targets},
    }


@command(epilog="Example: python -m benchmarks.cost --engine paintings --size 1280x720")
@click.option("--engine", "wanted", multiple=True, default=ENGINES, show_default=True)
@click.option("--size", "sizes", multiple=True, default=SIZES, show_default=True)
@click.option(
    "--peak",
    type=click.FloatRange(0, min_open=True),
    help="Peak matmul rate of another machine, GFLOP/s: adds a column.",
)
@click.option(
    "--reached",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Fraction of --peak that an engine reaches.",
)
@click.option("--json", "as_json", is_flag=True)
def main(
    wanted: tuple[str, ...],
    sizes: tuple[str, ...],
    peak: float | None,
    reached: float,
    as_json: bool,
) -> None:
    """Count the multiply-adds of engines, and predict frames per second."""
    parsed = [parse_size(size) for size in sizes]
    more = (Target(f"{peak:g} GFLOP/s", peak, reached),) if peak else ()
    rows = [row(e, s, TARGETS + more) for e in wanted for s in parsed]
    show("Multiply-adds of a frame; predicted frames per second", this_machine(), rows, as_json)


if __name__ == "__main__":
    main()
