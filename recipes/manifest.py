"""The manifest of a data folder: manifest.csv, with a row for each file."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from st.runtime.errors import BadInput, printable


def read_manifest(folder: Path, columns: Collection[str]) -> list[dict[str, str]]:
    """The rows of FOLDER/manifest.csv. Raises BadInput: no manifest, or a column is missing."""
    path = folder / "manifest.csv"
    if not path.is_file():
        raise BadInput(f"{printable(path)}: no such file; give the folder that has it")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not set(columns) <= rows[0].keys():
        raise BadInput(f"{printable(path)}: needs the columns {', '.join(columns)}")
    return rows
