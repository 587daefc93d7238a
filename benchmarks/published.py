"""Compare paintings of ours with those that the authors of the methods published.

    python -m benchmarks.published published/ --engine paintings --method perceptual
    python -m benchmarks.published published/ --engine anything --method adain -o any.jpg

FOLDER holds manifest.csv, with the columns method, name and style (the authors' file), and for each
row METHOD/NAME.content.jpg, NAME.style.jpg and NAME.output.jpg. Every engine paints the content at
the size of the published output. What is measured: `st.train.measures.Judge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.machine import this_machine
from benchmarks.report import Row, progress, show
from recipes.manifest import read_manifest
from st import engines
from st.export.compare.methods import CannotPaintError, Wanted, fitted, open_method
from st.runtime.cli.base import command
from st.runtime.errors import BadInput, printable
from st.runtime.pictures.contact_sheet import contact_sheet
from st.runtime.pictures.io import Picture, format_of, read_picture, write_picture
from st.runtime.pictures.resize import to_size
from st.train.measures import Distances, Judge, Rgb, StylePatches

THEIRS = "published"
CELL = 320  # pixels of a sheet's cell, its longer side


@dataclass(frozen=True)
class Triple:
    """A published painting. style_name: of the style picture, as the authors' file is named."""

    method: str
    name: str
    style_name: str
    content: Rgb
    style: Rgb
    output: Rgb


@dataclass(frozen=True)
class Painted:
    """One painting of a triple's content, and its distances."""

    source: str
    triple: Triple
    rgb: Rgb
    found: Distances


def read_triples(folder: Path, methods: Sequence[str]) -> list[Triple]:
    """The published triples of these methods, or of all. Raises BadInput: none, or no manifest."""
    rows = read_manifest(folder, ("method", "name", "style"))
    known = list(dict.fromkeys(row["method"] for row in rows))
    if unknown := set(methods) - set(known):
        shown = f"{printable(sorted(unknown)[0], 40)!r}; there are {printable(', '.join(known))}"
        raise BadInput(f"no published results of {shown}")
    return [_triple(folder, row) for row in rows if not methods or row["method"] in methods]


def _triple(folder: Path, row: dict[str, str]) -> Triple:
    def read(part: str) -> Rgb:
        return read_picture(folder / row["method"] / f"{row['name']}.{part}.jpg").rgb

    style_name = Path(row["style"]).stem
    return Triple(
        row["method"], row["name"], style_name, read("content"), read("style"), read("output")
    )


def paint(source: str, triple: Triple, device: str) -> Rgb | None:
    """Paint the content at the published size with an engine, checkpoint or slow method. Returns
    None if it lacks the style."""
    name = Path(triple.style_name)
    try:
        painter = open_method(source, Wanted(triple.style, name, device=device))
    except CannotPaintError:
        return None
    height, width = triple.output.shape[:2]
    return painter(to_size(triple.content, height, width), lambda done, total: None)


def rows_of(paintings: Sequence[Painted], sources: Sequence[str]) -> list[Row]:
    """A row for each triple that at least one source painted, with the distances of all sources."""
    rows: list[Row] = []
    by_triple: dict[tuple[str, str], dict[str, Distances]] = {}
    for painting in paintings:
        key = (painting.triple.method, painting.triple.name)
        by_triple.setdefault(key, {})[painting.source] = painting.found
    for (method, name), found in by_triple.items():
        if len(found) > 1:
            row: dict[str, str | float | int | bool | None] = {"method": method, "picture": name}
            for source in (THEIRS, *sources):
                own = found.get(source)
                row[f"{source}: patches"] = own.patches if own else None
                row[f"{source}: content"] = own.content if own else None
            rows.append(row)
    return rows


def summary(paintings: Sequence[Painted], source: str) -> list[Row]:
    """Means of a source by published method, beside those of the same published pictures.

    nearer: triples whose style the source is nearer to. over: triples whose content distance is
    more than 1.1 times the published one.
    """
    theirs = {(p.triple.method, p.triple.name): p.found for p in paintings if p.source == THEIRS}
    own = [p for p in paintings if p.source == source]
    rows: list[Row] = []
    for method in dict.fromkeys(p.triple.method for p in own):
        pairs = [(p.found, theirs[method, p.triple.name]) for p in own if p.triple.method == method]
        figures = [(a.patches, b.patches, a.content, b.content) for a, b in pairs]
        ours, published, content, published_content = np.mean(figures, axis=0)
        rows.append(
            {
                "source": source,
                "method": method,
                "pictures": len(pairs),
                "patches": float(ours),
                "published patches": float(published),
                "content": float(content),
                "published content": float(published_content),
                "nearer": sum(a.patches < b.patches for a, b in pairs),
                "over": sum(a.content > 1.1 * b.content for a, b in pairs),
            }
        )
    return rows


def sheet(paintings: Sequence[Painted], sources: Sequence[str]) -> Rgb:
    """Content, style, published and own painting of every triple, one row each."""
    strips: list[Rgb] = []
    for theirs in (p for p in paintings if p.source == THEIRS):
        triple = theirs.triple
        own = {p.source: p for p in paintings if p.triple is triple}
        if len(own) < 2:
            continue
        blank = np.full_like(triple.output, 255)
        pictures = [(triple.name, triple.content), ("style", triple.style)]
        for source in (THEIRS, *sources):
            label, rgb = Path(source).name, blank
            if made := own.get(source):
                found, rgb = made.found, made.rgb
                label += f"\npatches {found.patches:.0f}  content {found.content:.2f}"
            pictures.append((label, rgb))
        factor = CELL / max(triple.output.shape[:2])
        height, width = (round(side * factor) for side in triple.output.shape[:2])
        cells = [(label, fitted(rgb, height, width)) for label, rgb in pictures]
        strips.append(contact_sheet(cells, columns=len(cells)))
    if not strips:
        raise BadInput("no engine has the style of any published result")
    widest = max(strip.shape[1] for strip in strips)
    return np.concatenate([_widened(strip, widest) for strip in strips])


def _widened(rgb: Rgb, width: int) -> Rgb:
    return np.pad(rgb, ((0, 0), (0, width - rgb.shape[1]), (0, 0)), constant_values=255)


@command(epilog="Example: python -m benchmarks.published published/ --engine anything")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--engine",
    "sources",
    multiple=True,
    default=[engines.DEFAULT],
    show_default=True,
    help="Engine, checkpoint or slow method, as st-compare takes them; repeat for several.",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="Published method; repeat for several. [default: all]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("published.jpg"),
    show_default=True,
    help="Sheet of all pictures side by side.",
)
@click.option("--device", default="auto", show_default=True, help="Device of engines.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    folder: Path,
    sources: tuple[str, ...],
    methods: tuple[str, ...],
    output: Path,
    device: str,
    as_json: bool,
) -> None:
    """Measure distances of published paintings and of ours, and write a sheet of both."""
    format_of(output)
    triples = read_triples(folder, methods)
    judge, paintings = Judge(), list[Painted]()
    with progress() as bar:
        task = bar.add_task("painting", total=len(triples))
        for triple in triples:
            style = StylePatches(triple.style)
            made = {source: paint(source, triple, device) for source in sources}
            for source, rgb in {THEIRS: triple.output, **made}.items():
                if rgb is not None:
                    found = judge.distances(rgb, style, triple.content)
                    paintings.append(Painted(source, triple, rgb, found))
            bar.advance(task)
    write_picture(Picture(sheet(paintings, sources)), output)
    machine = this_machine()
    if not as_json:
        show("published paintings and ours", machine, rows_of(paintings, sources), False)
    means = [row for source in sources for row in summary(paintings, source)]
    show("means by published method", machine, means, as_json)


if __name__ == "__main__":
    main()
