"""`st-engines`: what engines there are, what they offer, and how this machine runs them."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from st import engines
from st.runtime.backend import DEVICES, devices_of
from st.runtime.command import command, fail
from st.runtime.controls import offered
from st.runtime.engine_words import capability_words, profile_words, rounding_words
from st.runtime.errors import BadInput, StError, printable
from st.runtime.metadata import Metadata
from st.runtime.onnx_file import read_engine
from st.runtime.stylizer import Stylizer, engine_path
from st.runtime.tensorrt_library import title
from st.runtime.trt_file import SUFFIX, Build, read_trt

REAL_DEVICES = tuple(device for device in DEVICES if device != "auto")
CHECK_SIZE = (64, 64)
WARM_UP = 5


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Shipped engines, and any engine file: list, inspect, check, bench.

    \b
    Examples:
      st-engines list
      st-engines inspect paintings
      st-engines check paintings --device cuda
      st-engines bench my.onnx --size 1280x720
    """


as_json_option = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
device_option = click.option(
    "--device", type=click.Choice(REAL_DEVICES), help="Only this one. [default: all]"
)
threads_option = click.option("--threads", type=click.IntRange(min=1), metavar="N")


@command(name="list")
@as_json_option
def list_engines(as_json: bool) -> None:
    """List the shipped engines and their styles. Example: st-engines list"""
    rows = []
    for name in engines.names():
        rows.append((name, read_engine(engine_path(name))[1]))
    if as_json:
        listed = [
            {
                "name": name,
                "method": data.method,
                "styles": data.styles,
                "default": _is_default(name),
            }
            for name, data in rows
        ]
        click.echo(json.dumps(listed))
        return
    if not rows:
        click.echo("no engine is shipped with this installation", err=True)
    table = Table("engine", "method", "styles", box=None)
    for name, data in rows:
        styles = ", ".join(data.styles) or "any picture (--style FILE)"
        table.add_row(name + (" (default)" if _is_default(name) else ""), data.method, styles)
    if rows:
        _show(table)


def _is_default(name: str) -> bool:
    return name == engines.DEFAULT


@command(name="inspect")
@click.argument("engine")
@as_json_option
def inspect_engine(engine: str, as_json: bool) -> None:
    """Show what ENGINE (a name or a file) says of itself. Example: st-engines inspect paintings"""
    data, build = _description(engine_path(engine))
    if as_json:
        shown = asdict(data) | {"card": dict(data.card), "controls": offered(data)}
        click.echo(json.dumps(shown | ({"build": asdict(build)} if build else {})))
        return
    table = Table(box=None, show_header=False)
    for key, value in (_described(data) | _built(build)).items():
        table.add_row(key, printable(value, 2000))
    for key, value in data.card:
        table.add_row(f"card: {printable(key)}", printable(value, 2000))
    _show(table)


def _description(path: Path) -> tuple[Metadata, Build | None]:
    """What an engine says of itself, and how a TensorRT one was built."""
    if path.suffix == SUFFIX:
        _, metadata, build = read_trt(path)
        return metadata, build
    return read_engine(path)[1], None


def _built(build: Build | None) -> dict[str, object]:
    if build is None:
        return {}
    shown: dict[str, object] = {
        "library": f"{title(build.flavour)} {build.version}",
        "profile": profile_words(build),
        "GPUs": f"compute capability {capability_words(build)}",
        "system": build.platform,
        "st's kernels": "yes" if build.plugin else "no",
        "SHA-256": build.sha256,
    }
    return shown | ({"built on": build.device} if build.device else {})


def _described(data: Metadata) -> dict[str, object]:
    sizes = f"multiples of {data.multiple}, at least {data.min_size}; others are padded"
    if data.fixed_size:
        sizes = f"{data.fixed_size[1]}×{data.fixed_size[0]} only"
    if data.sizes:
        (low, narrow), (high, wide) = data.sizes
        sizes = f"from {narrow}×{low} to {wide}×{high}, multiples of {data.multiple}"
    shown: dict[str, object] = {
        "method": data.method,
        "kind": data.kind,
        "inputs": ", ".join(data.inputs),
        "controls": "; ".join(offered(data)),
        "styles": ", ".join(data.styles) or "none by name",
        "size": sizes,
        "fingerprint": data.fingerprint or "none",
    }
    if data.precision != "fp32":
        shown["precision"] = "; ".join(rounding_words(data))
    if data.max_error is not None:
        which = "" if data.precision == "fp32" else " in FP32"
        shown[f"largest difference from PyTorch{which}"] = f"{data.max_error:g} of 255"
    return shown


@dataclass(frozen=True)
class Verdict:
    """Whether a device can run an engine here. milliseconds: its second small frame."""

    device: str
    runs: bool
    milliseconds: float | None = None
    why_not: str = ""


@command(name="check")
@click.argument("engine", default=engines.DEFAULT)
@device_option
@threads_option
@as_json_option
def check(engine: str, device: str | None, threads: int | None, as_json: bool) -> None:
    """Say which devices of this machine run ENGINE, and why others do not.

    Example: st-engines check paintings --device openvino
    """
    path = engine_path(engine)
    devices = [device] if device else devices_of(path)
    if path.suffix == SUFFIX:
        _check_needs(path, as_json)
    verdicts = [_verdict(engine, one, threads) for one in devices]
    if as_json:
        click.echo(json.dumps([asdict(verdict) for verdict in verdicts]))
    else:
        table = Table("device", "runs", "", box=None)
        for verdict in verdicts:
            note = f"{verdict.milliseconds:.1f} ms" if verdict.runs else verdict.why_not
            table.add_row(verdict.device, "yes" if verdict.runs else "no", note)
        _show(table)
    if not any(verdict.runs for verdict in verdicts):
        raise fail(f"{printable(engine)} does not run on {device or 'any device'} here", 1)


def _check_needs(path: Path, as_json: bool) -> None:
    """Show what a TensorRT engine needs and has here; end with exit code 1 if it lacks anything."""
    from st.runtime.trt_needs import cpu_alternative, needs

    found = needs(read_trt(path)[2])
    missing = [need for need in found if not need.met]
    if as_json and missing:
        click.echo(json.dumps([asdict(need) for need in found]))
    elif not as_json:
        table = Table("needs", "here", "", box=None)
        for need in found:
            table.add_row(need.what, "yes" if need.met else "no", need.found)
        _show(table)
    if missing:
        named = ", ".join(need.what for need in missing)
        raise fail(
            f"{printable(path)} does not run here, without {named}; {cpu_alternative(path)}", 1
        )


def _verdict(engine: str, device: str, threads: int | None) -> Verdict:
    """Run two small frames. Raises BadInput when the engine itself is at fault."""
    try:
        return Verdict(device, True, _measure(engine, device, threads, CHECK_SIZE, 1, warm_up=1)[0])
    except BadInput:
        raise
    except StError as error:
        return Verdict(device, False, why_not=printable(error, 500))
    except Exception as error:  # a provider's own failure is what this command is asked for
        return Verdict(device, False, why_not=f"{type(error).__name__}: {printable(error, 300)}")


def _measure(
    engine: str,
    device: str,
    threads: int | None,
    size: tuple[int, int],
    frames: int,
    warm_up: int = WARM_UP,
) -> list[float]:
    """Milliseconds of each of `frames` random frames of (height, width)."""
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    taken = []
    with Stylizer(engine, device=device, threads=threads) as stylizer:
        if not stylizer.styles and "code" in stylizer.metadata.inputs:
            stylizer.set_style(frame)
        for _ in range(warm_up + frames):
            start = time.perf_counter()
            if stylizer.metadata.kind == "texture":
                stylizer.texture(*size)
            else:
                stylizer(frame)
            taken.append(1000 * (time.perf_counter() - start))
    return taken[warm_up:]


@command(name="bench")
@click.argument("engine", default=engines.DEFAULT)
@click.option("--size", default="640x360", show_default=True, metavar="WxH")
@click.option("--frames", type=click.IntRange(1, 100_000), default=50, show_default=True)
@device_option
@threads_option
@as_json_option
def bench(
    engine: str, size: str, frames: int, device: str | None, threads: int | None, as_json: bool
) -> None:
    """Measure ENGINE on each device that is here: median milliseconds a frame.

    Example: st-engines bench paintings --size 1280x720 --frames 100
    """
    height, width = _parsed_size(size)
    rows: list[dict[str, Any]] = []
    devices = [device] if device else devices_of(engine_path(engine))
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        for one in bar.track(devices, description="measuring"):
            verdict = _verdict(engine, one, threads)
            if not verdict.runs and len(devices) == 1:
                raise fail(f"{one}: {verdict.why_not}", 1)
            if verdict.runs:
                median = statistics.median(_measure(engine, one, threads, (height, width), frames))
                rows.append({"device": one, "milliseconds": median, "fps": 1000 / median})
    if not rows:
        raise fail(f"{printable(engine)} does not run on any device here", 1)
    if as_json:
        head = {"engine": engine, "width": width, "height": height, "frames": frames}
        click.echo(json.dumps(head | {"devices": rows}))
        return
    table = Table("device", "ms a frame", "frames a second", box=None)
    for row in rows:
        table.add_row(row["device"], f"{row['milliseconds']:.1f}", f"{row['fps']:.1f}")
    _show(table)


def _parsed_size(text: str) -> tuple[int, int]:
    """(height, width) of "WIDTHxHEIGHT". Raises BadInput."""
    width, _, height = text.lower().partition("x")
    sides: Sequence[str] = (height, width)
    if not all(side.isascii() and side.isdigit() and 0 < int(side) <= 16_384 for side in sides):
        raise BadInput(f"--size {printable(text, 40)}: give WIDTHxHEIGHT, such as 1280x720")
    return int(height), int(width)


def _show(table: Table) -> None:
    """To standard output; as wide as its lines when that is no terminal."""
    width = None if sys.stdout.isatty() else 400
    Console(width=width, markup=False, emoji=False, highlight=False).print(table)


for subcommand in (list_engines, inspect_engine, check, bench):
    main.add_command(subcommand)
