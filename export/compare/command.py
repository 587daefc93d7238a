"""`st-compare`: paints one photograph in one style with many methods, on one sheet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import MofNCompleteColumn, TimeElapsedColumn

from st.runtime.backends.open import DEVICES
from st.runtime.cli.base import check_overwrite, command, say
from st.runtime.cli.progress import progress_bars
from st.runtime.errors import BadInput, MissingExtra, printable
from st.runtime.pictures.io import Picture, format_of, read_picture, write_picture
from st.runtime.pictures.resize import with_long_side
from st.runtime.system.digest import identity

if TYPE_CHECKING:
    from st.export.compare.methods import Comparison, Painting, Wanted

MAX_PIXELS = 2048  # maximum of --size: slow methods keep the activations of every layer

EXAMPLES = """
st-compare --content a.jpg --style wave.jpg gatys cnnmrf paintings any.onnx -o sheet.jpg
st-compare --content a.jpg --style b.jpg any.onnx paintings=wave bank.pt=wave
"""


@command(name="st-compare", examples=EXAMPLES, writes=True)
@click.argument("methods", nargs=-1, required=True, metavar="METHODS...")
@click.option("--content", required=True, type=click.Path(path_type=Path), help="Photograph.")
@click.option("--style", required=True, type=click.Path(path_type=Path), help="Style picture.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Sheet to write. [default: CONTENT_compared.jpg]",
)
@click.option(
    "--size",
    type=click.IntRange(64, MAX_PIXELS),
    default=512,
    show_default=True,
    metavar="N",
    help="Longer side of the paintings, in pixels.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    metavar="N",
    help="Evaluations of slow methods. [default: the method's]",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Random seed of the slow methods."
)
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    help="Device for engines; slow methods and checkpoints run on the CPU.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Save each painting in this folder as METHOD.png, and reuse those of the same pictures "
    "and settings.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(
    methods: tuple[str, ...],
    content: Path,
    style: Path,
    output: Path | None,
    size: int,
    steps: int | None,
    seed: int,
    device: str,
    pictures: Path | None,
    as_json: bool,
) -> None:
    """Paint a photograph with several METHODS, and write a sheet of the paintings.

    METHODS are slow methods (gatys, laplacian, histogram, cnnmrf, reshuffle), shipped engines,
    engine files and checkpoints. Any-style engines get the style picture. Engines with named styles
    use the style with the name of the picture's file, or that of METHOD=STYLE; without one, they
    are left out with a warning.

    The sheet shows the time of each painting, its patch distance from the style, which uses pixels
    only, and its content distance from the photograph, which uses VGG-16. Lower is better.
    """
    try:
        from st.export.compare.methods import Comparison, Wanted
        from st.train.measures import Judge
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtra("comparing methods", "train") from None
    target = output or content.with_name(f"{content.stem}_compared.jpg")
    _check_target(target, content, style)
    check_overwrite(target)
    photograph = with_long_side(read_picture(content).rgb, size)
    painting = with_long_side(read_picture(style).rgb, size)
    wanted = Wanted(painting, style, steps, seed, device)
    comparison = Comparison(Judge(), photograph, painting)
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    left_out = _paint_all(methods, comparison, wanted, pictures)
    if not comparison.paintings:
        raise BadInput(f"no method is left for {printable(style)}")
    write_picture(Picture(comparison.sheet()), target)
    if as_json:
        click.echo(json.dumps(_record(target, comparison, left_out)))
    else:
        for made in comparison.paintings:
            click.echo(_line(made))
        click.echo(f"{'the photograph':24} {'':>10}  patches {comparison.untouched():.0f}")
        say(f"wrote {printable(target)}")


def _paint_all(
    methods: tuple[str, ...],
    comparison: Comparison,
    wanted: Wanted,
    folder: Path | None,
) -> dict[str, str]:
    """Paint with each method, or reuse its painting; returns {method: reason} of those left out."""
    from st.export.compare.methods import CannotPaintError, open_method

    left_out: dict[str, str] = {}
    with progress_bars(MofNCompleteColumn(), TimeElapsedColumn()) as bars:
        whole = bars.add_task("methods", total=len(methods))
        for text in methods:
            part = bars.add_task(printable(text, 40), total=None)

            def step(done: int, total: int, part: Any = part) -> None:
                bars.update(part, completed=done, total=total)

            kept = folder and Kept(folder, text, comparison, wanted)
            try:
                if not (kept and kept.load()):
                    comparison.add(method_name(text), open_method(text, wanted), step)
                    if kept:
                        kept.save()
            except CannotPaintError as error:
                left_out[text] = str(error)
                shown = f"Warning: {printable(text)}: left out, it {error}"
                bars.console.print(shown, markup=False, highlight=False, soft_wrap=True)
            bars.remove_task(part)
            bars.advance(whole)
    return left_out


class Kept:
    """A saved painting: METHOD.png, and METHOD.json with its inputs' digest and its time."""

    def __init__(self, folder: Path, text: str, comparison: Comparison, wanted: Wanted) -> None:
        self._name = method_name(text)
        self._file = folder / f"{_file_name(self._name)}.png"
        self._comparison = comparison
        engine = Path(text).read_bytes() if Path(text).is_file() else b""
        own = (text, engine, wanted.steps, wanted.seed)
        self._identity = identity((own, comparison.content, comparison.style))

    def load(self) -> bool:
        """Reuse the painting if it is of these pictures and settings. Returns whether it is."""
        beside = self._file.with_suffix(".json")
        if not (self._file.is_file() and beside.is_file()):
            return False
        try:
            facts = json.loads(beside.read_text())
            if facts["identity"] != self._identity:
                return False
            seconds = float(facts["seconds"])
        except (ValueError, KeyError, TypeError):
            return False
        self._comparison.measure(self._name, read_picture(self._file).rgb, seconds)
        return True

    def save(self) -> None:
        made = self._comparison.paintings[-1]
        write_picture(Picture(made.rgb), self._file)
        facts = {"identity": self._identity, "seconds": made.seconds}
        self._file.with_suffix(".json").write_text(json.dumps(facts))


def method_name(text: str) -> str:
    """ "folder/wct.pt" -> "wct"; what follows "=" stays."""
    name, equals, chosen = text.rpartition("=")
    if not equals or Path(text).is_file():
        name, equals, chosen = text, "", ""
    path = Path(name)
    return printable(path.stem if path.suffix else name, 60) + (f": {chosen}" if equals else "")


def _check_target(target: Path, content: Path, style: Path) -> None:
    """Raises BadInput if the sheet cannot be written, before the methods paint for an hour."""
    format_of(target)
    if not target.parent.is_dir():
        raise BadInput(f"{printable(target.parent)}: no such folder")
    for source in (content, style):
        if target.exists() and source.exists() and target.samefile(source):
            raise BadInput(f"{printable(target)}: the sheet would replace a picture of its own")


def _file_name(method: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in method)


def _line(made: Painting) -> str:
    figures = f"patches {made.patches:4.0f}  content {made.content:.3f}"
    return f"{made.method:24} {made.seconds:8.2f} s  {figures}"


def _record(target: Path, comparison: Comparison, left_out: dict[str, str]) -> dict[str, Any]:
    height, width = comparison.content.shape[:2]
    return {
        "output": str(target),
        "width": width,
        "height": height,
        "photograph": {"patches": comparison.untouched()},
        "methods": [
            {"method": m.method, "seconds": m.seconds, "patches": m.patches, "content": m.content}
            for m in comparison.paintings
        ],
        "left_out": left_out,
    }
