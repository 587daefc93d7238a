"""Output of the benchmarks: a table, or JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.machine import Machine

Row = Mapping[str, str | float | int | bool | None]


def progress() -> Progress:
    """A progress bar on stderr, hidden if that is not a terminal."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def show(title: str, machine: Machine, rows: Sequence[Row], as_json: bool) -> None:
    """Print rows with equal keys, with the machine that they were measured on."""
    if as_json:
        clean = [{key: _plain(value) for key, value in row.items()} for row in rows]
        click.echo(
            json.dumps({"title": title, "machine": asdict(machine), "rows": clean}, indent=1)
        )
        return
    table = Table(title=title, caption=str(machine), title_justify="left", caption_justify="left")
    for key in rows[0]:
        text = all(isinstance(row[key], str) for row in rows)
        table.add_column(key, justify="left" if text else "right")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    wide = None if sys.stdout.isatty() else 140
    Console(width=wide).print(table)


def _plain(value: Any) -> Any:
    """None instead of NaN, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return str(value)
