"""Warping error of painted films: how much of what moves along does not stay what it was.

    python -m benchmarks.flicker fox.mp4 --style wave

The source's own error stands beside it: noise, light and flow that is wrong. Pairs of frames
across a hard cut have no flow and are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.machine import this_machine
from benchmarks.pictures import Rgb, frames
from benchmarks.report import Row, progress, show
from st import engines
from st.runtime import Stylizer
from st.runtime.bench import film_errors
from st.runtime.command import command
from st.runtime.errors import BadInput, printable
from st.video.temporal import TemporalFilter, steadied


def film_error(film: list[Rgb], paints: dict[str, Callable[[Rgb], Rgb]]) -> dict[str, float]:
    """The warping error of each painter's film, averaged over pairs of frames; NaN for none.

    "source" is the film's own.
    """
    films = {"source": film} | {
        name: [paint(frame) for frame in film] for name, paint in paints.items()
    }
    return film_errors(film, films)


def painters(stylizer: Stylizer, styles: tuple[str, ...]) -> dict[str, Callable[[Rgb], Rgb]]:
    """A function for each named style; all of them when none is given."""

    def painter(style: str) -> Callable[[Rgb], Rgb]:
        return lambda frame: stylizer.set_style(style)(frame)

    return {style: painter(style) for style in styles or stylizer.styles} or {"engine": stylizer}


def with_filter(
    paints: dict[str, Callable[[Rgb], Rgb]], strength: float
) -> dict[str, Callable[[Rgb], Rgb]]:
    """Each painter as it is, and with st-video's filter behind it."""
    steady = {
        f"{name}, --steady {strength:g}": steadied(paint, TemporalFilter(strength))
        for name, paint in paints.items()
    }
    return paints | steady


@command(epilog="Example: python -m benchmarks.flicker fox.mp4 coffee.mp4 --style wave --frames 60")
@click.argument("clips", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--engine", default=engines.DEFAULT, show_default=True)
@click.option("--style", "styles", multiple=True, help="[default: all that the engine names]")
@click.option("--device", default="auto", show_default=True, help="As st-video has it.")
@click.option("--steady", type=float, help="Also with the filter of st-video --steady.")
@click.option("--frames", "most", default=40, show_default=True, help="Of each clip.")
@click.option("--json", "as_json", is_flag=True)
def main(
    clips: tuple[Path, ...],
    engine: str,
    styles: tuple[str, ...],
    device: str,
    steady: float | None,
    most: int,
    as_json: bool,
) -> None:
    """Warping error (mean squared, of 0..1) of CLIPS and of what an engine paints of them."""
    paints = painters(Stylizer(engine, device=device), styles)
    if steady:
        paints = with_filter(paints, steady)
    if most < 2:
        raise BadInput("--frames: a difference needs 2")
    rows: list[Row] = []
    with progress() as bar:
        for clip in bar.track(clips, description="painting"):
            errors = film_error(frames(clip, most), paints)
            for name, error in errors.items():
                times = error / errors["source"] if errors["source"] else float("nan")
                rows.append(
                    {
                        "clip": printable(clip.name),
                        "film": name,
                        "warping error": error,
                        "of the source's": times,
                    }
                )
    show(f"Warping error, {most} frames a clip", this_machine(), rows, as_json)


if __name__ == "__main__":
    main()
