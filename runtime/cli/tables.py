"""Tables on standard output."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table


def show(table: Table) -> None:
    """Print it; as wide as its lines when that is no terminal."""
    width = None if sys.stdout.isatty() else 400
    Console(width=width, markup=False, emoji=False, highlight=False).print(table)
