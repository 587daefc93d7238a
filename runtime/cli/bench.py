"""`st-engines bench`: measure an engine and the peak rate of this machine."""

from __future__ import annotations

import json
import math
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from st import engines
from st.runtime.backends.open import REAL_DEVICES, devices_of
from st.runtime.bench.device_check import verdict_of
from st.runtime.bench.machine import bfloat16_rate, matrix_rate
from st.runtime.bench.measure import ROUNDS, Bench, Figures, bench
from st.runtime.cli.base import SIZE, command, fail, names_completion, print_table
from st.runtime.cli.progress import progress_bars
from st.runtime.engine.location import engine_path
from st.runtime.engine.onnx_file import read_engine
from st.runtime.engine.trt_file import SUFFIX
from st.runtime.errors import MissingExtra, printable
from st.runtime.system.cpus import usable_cpus

CPU_DEVICES = ("cpu", "openvino", "openvino-bf16")


@dataclass(frozen=True)
class Machine:
    """A processor and its speed.

    float32, bfloat16: GFLOP/s of matrix products; None where they are not supported.
    """

    processor: str
    cores: int
    float32: float
    bfloat16: float | None

    def share(self, device: str, operations: float, milliseconds: float) -> float | None:
        """The fraction of the peak matmul rate that a frame reaches.

        operations: floating-point operations a frame. Returns None for a device that is not a
        CPU, and where the rate is unknown.
        """
        rate = self.bfloat16 if device == "openvino-bf16" else self.float32
        if device not in CPU_DEVICES or not rate:
            return None
        return operations / (milliseconds / 1000) / (rate * 1e9)


def processor() -> str:
    """The name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@command(name="bench", examples="st-engines bench paintings --size 1280x720 --clip film.mp4")
@click.argument("engine", default=engines.DEFAULT, shell_complete=names_completion(engines.names))
@click.option("--size", type=SIZE, default="640x360", show_default=True, help="Frame size.")
@click.option(
    "--frames",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    metavar="N",
    help="Number of frames to measure.",
)
@click.option(
    "--clip",
    type=click.Path(path_type=Path),
    metavar="FILM",
    help="Video to take frames from. [default: a moving texture]",
)
@click.option("--device", type=click.Choice(REAL_DEVICES), help="Device to measure. [default: all]")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processor threads. [default: all that this process may use]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_engine(
    engine: str,
    size: tuple[int, int],
    frames: int,
    clip: Path | None,
    device: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure ENGINE on each device of this machine. Devices alternate on the same frames.

    The columns: milliseconds per frame (median and 95th percentile), frames per second, the
    fraction of the processor's peak matmul rate (in bfloat16 for openvino-bf16, else in float32),
    seconds from the start of a process to its first frame, peak memory, and the warping error: the
    temporal inconsistency along the optical flow.
    """
    height, width = size
    path = engine_path(engine)
    devices = [device] if device else devices_of(path)
    verdicts = [verdict_of(engine, one, threads) for one in devices]
    here = [verdict.device for verdict in verdicts if verdict.runs]
    if not here and len(devices) == 1:
        raise fail(f"{devices[0]}: {verdicts[0].why_not}", 1)
    if not here:
        raise fail(f"{printable(engine)}: no device of this machine can run it", 1)
    machine = Machine(processor(), usable_cpus(), matrix_rate(), bfloat16_rate())
    adds = None
    if path.suffix != SUFFIX:
        with suppress(MissingExtra):  # OpenVINO may be installed without ONNX Runtime
            from st.runtime.bench.macs import multiply_adds, zeros_for

            adds = multiply_adds(read_engine(path)[0], zeros_for(path, height, width))
    with progress_bars() as bar:
        task = bar.add_task("measuring", total=len(here) * (ROUNDS + 1))
        found = bench(
            engine, here, threads, (height, width), frames, clip, lambda: bar.advance(task)
        )
    rows = [_row(figures, machine, adds) for figures in found.devices]
    if as_json:
        head = {"engine": engine, "width": width, "height": height, "frames": frames}
        head |= {"machine": asdict(machine), "multiply_adds": adds}
        head |= {"source_warping_error": _plain(found.source_error)}
        click.echo(json.dumps(head | {"devices": rows}))
        return
    _print(rows, found, machine, adds, height * width)


def _row(figures: Figures, machine: Machine, adds: int | None) -> dict[str, Any]:
    share = None if adds is None else machine.share(figures.device, 2 * adds, figures.p50)
    return {
        "device": figures.device,
        "milliseconds": figures.p50,
        "p95": figures.p95,
        "fps": figures.fps,
        "of_matrix_rate": share,
        "start_seconds": figures.start.seconds,
        "mebibytes": figures.start.mebibytes,
        "warping_error": _plain(figures.error),
    }


def _print(
    rows: list[dict[str, Any]], found: Bench, machine: Machine, adds: int | None, pixels: int
) -> None:
    names = ("device", "ms/frame", "95 %", "frames/s", "of peak", "start s", "MiB", "warping")
    table = Table(*names, box=None)
    for row in rows:
        table.add_row(
            row["device"],
            f"{row['milliseconds']:.1f}",
            f"{row['p95']:.1f}",
            f"{row['fps']:.1f}",
            _text(row["of_matrix_rate"], "{:.0%}"),
            f"{row['start_seconds']:.2f}",
            _text(row["mebibytes"], "{:.0f}"),
            _text(row["warping_error"], "{:.5f}"),
        )
    print_table(table)
    bfloat16 = _text(machine.bfloat16, "{:.0f}")
    if adds is not None:
        click.echo(f"{adds / 1e9:.2f} G multiply-adds per frame, {adds / pixels:,.0f} per pixel")
    click.echo(f"warping error of the source frames: {found.source_error:.5f}")
    click.echo(
        f"{machine.processor}, {machine.cores} processors; peak matmul rate: "
        f"{machine.float32:.0f} GFLOP/s in float32, {bfloat16} in bfloat16"
    )


def _plain(value: float) -> float | None:
    """None for NaN, which JSON does not have."""
    return value if math.isfinite(value) else None


def _text(value: float | None, how: str) -> str:
    return "–" if value is None else how.format(value)
