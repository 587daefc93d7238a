"""`st-engines`: list engines, show their metadata, and test them on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from st import engines
from st.runtime.backends.open import FOR_PICTURES, FOR_VIDEOS, REAL_DEVICES, devices_of
from st.runtime.bench.device_check import Verdict, installed_twice, verdict_of
from st.runtime.cli.base import Group, command, fail, names_completion, print_table
from st.runtime.cli.bench import bench_engine
from st.runtime.engine.describe import (
    describe_rounding,
    error_unit,
    format_capabilities,
    format_profile,
)
from st.runtime.engine.location import engine_path
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.onnx_file import read_engine
from st.runtime.engine.trt_file import SUFFIX, Build, read_trt, title
from st.runtime.errors import printable
from st.runtime.painting.controls import offered

EXAMPLES = """
st-engines list
st-engines inspect paintings
st-engines check paintings --device cuda
st-engines bench my.onnx --size 1280x720
"""


@click.group(name="st-engines", cls=Group, examples=EXAMPLES)
def main() -> None:
    """List, inspect, check and benchmark engines: shipped ones by name, others as files."""


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
device_option = click.option(
    "--device", type=click.Choice(REAL_DEVICES), help="Test only this device. [default: all]"
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processor threads. [default: all that this process may use]",
)
engine_argument = click.argument("engine", shell_complete=names_completion(engines.names))
default_engine_argument = click.argument(
    "engine", default=engines.DEFAULT, shell_complete=names_completion(engines.names)
)


@command(name="list", examples="st-engines list")
@as_json_option
def list_engines(as_json: bool) -> None:
    """List the shipped engines and their styles."""
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
        click.echo("this installation has no engines", err=True)
    table = Table("engine", "method", "styles", box=None)
    for name, data in rows:
        colors = data.kind == "colorizer"
        styles = "colors for gray pictures" if colors else ", ".join(data.styles)
        styles = styles or "any picture (--style FILE)"
        table.add_row(name + (" (default)" if _is_default(name) else ""), data.method, styles)
    if rows:
        print_table(table)


def _is_default(name: str) -> bool:
    return name == engines.DEFAULT


@command(name="inspect", examples="st-engines inspect paintings")
@engine_argument
@as_json_option
def inspect_engine(engine: str, as_json: bool) -> None:
    """Show the metadata of ENGINE, a name or a file."""
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
    print_table(table)


def _description(path: Path) -> tuple[Metadata, Build | None]:
    """The metadata of an engine and, for TensorRT, its build."""
    if path.suffix == SUFFIX:
        _, metadata, build = read_trt(path)
        return metadata, build
    return read_engine(path)[1], None


def _built(build: Build | None) -> dict[str, object]:
    if build is None:
        return {}
    shown: dict[str, object] = {
        "library": f"{title(build.flavor)} {build.version}",
        "profile": format_profile(build),
        "GPUs": f"compute capability {format_capabilities(build)}",
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
    if data.render_factor:
        shown["render factor"] = data.render_factor
    if data.precision != "fp32":
        shown["precision"] = "; ".join(describe_rounding(data))
    if data.max_error is not None:
        which = "" if data.precision == "fp32" else " in FP32"
        error = f"{data.max_error:.3g} {error_unit(data)}"
        shown[f"largest difference from PyTorch{which}"] = error
    return shown


@command(name="check", examples="st-engines check paintings --device openvino")
@default_engine_argument
@device_option
@threads_option
@as_json_option
def check(engine: str, device: str | None, threads: int | None, as_json: bool) -> None:
    """Run ENGINE once on each device of this machine, and explain failures."""
    if warning := installed_twice():
        click.echo(f"Warning: {warning}", err=True)
    path = engine_path(engine)
    devices = [device] if device else devices_of(path)
    if path.suffix == SUFFIX:
        _check_requirements(path, as_json)
    verdicts = [verdict_of(engine, one, threads) for one in devices]
    if as_json:
        click.echo(json.dumps([asdict(verdict) for verdict in verdicts]))
    else:
        table = Table("device", "runs", "", box=None)
        for verdict in verdicts:
            note = f"{verdict.milliseconds:.1f} ms" if verdict.runs else verdict.why_not
            table.add_row(verdict.device, "yes" if verdict.runs else "no", note)
        print_table(table)
        if not device and path.suffix != SUFFIX and any(verdict.runs for verdict in verdicts):
            videos, pictures = (_first(verdicts, order) for order in (FOR_VIDEOS, FOR_PICTURES))
            click.echo(f"--device auto: {videos} for videos and cameras, {pictures} for pictures")
    if not any(verdict.runs for verdict in verdicts):
        raise fail(f"{printable(engine)} does not run on {device or 'any device'} here", 1)


def _first(verdicts: list[Verdict], order: Sequence[str]) -> str:
    """The first device of `order` that runs."""
    runs = {verdict.device for verdict in verdicts if verdict.runs}
    return next((device for device in order if device in runs), "none")


def _check_requirements(path: Path, as_json: bool) -> None:
    """Print the requirements of a TensorRT engine. Raises an error if one is not met."""
    from st.runtime.backends.tensorrt_requirements import cpu_alternative, requirements

    found = requirements(read_trt(path)[2])
    missing = [one for one in found if not one.met]
    if as_json and missing:
        click.echo(json.dumps([asdict(one) for one in found]))
    elif not as_json:
        table = Table("needs", "here", "", box=None)
        for one in found:
            table.add_row(one.what, "yes" if one.met else "no", one.found)
        print_table(table)
    if missing:
        named = ", ".join(one.what for one in missing)
        raise fail(
            f"{printable(path)} does not run here, without {named}; {cpu_alternative(path)}", 1
        )


for subcommand in (list_engines, inspect_engine, check, bench_engine):
    main.add_command(subcommand)
