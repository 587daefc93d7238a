"""Artifacts of upsampling, padding and instance normalization: grids, halos, blobs, seams.

    python -m benchmarks.artifacts --engine paintings

Paints flat gray, black and white, and a calm sky over a textured ground, in every named style or in
the styles of given pictures. Exits with 1 if a figure exceeds its limit. On a flat picture, any
pattern is an artifact. On a sky, a style may paint strokes, so the grid is measured relative to
them, and only compact spots count as blobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import this_machine
from benchmarks.pictures import Rgb, named
from benchmarks.report import Row, progress, show
from st import engines
from st.runtime import Stylizer
from st.runtime.cli.base import command, fail
from st.runtime.errors import BadInput

Style = str | Path | Rgb | None

PERIODS = (2, 4, 8)  # pixels: periods of upsampling from 1/2, 1/4 and 1/8 of the size
SIZE = 384  # pixels: side of the square test pictures
INNER = 96  # pixels from the border; padding has no effect farther inside
HORIZON = 256  # first row below the sky
BAND = 8  # pixels: width of the border that is checked for a halo
EXTREME = 24  # levels: a blob is this near to black or white in all channels
BLOB = (6, 2000)  # pixels: its least and greatest area
APART = 64  # levels: its distance from the surroundings
CORE = 40  # levels: a stroke is darker or lighter by this much less than its core

MAX_GRID = 1.0  # levels of 255, RMS: half of the visibility threshold on a plain field
MAX_HALO = 3.0  # levels
MAX_RASTER = 0.1  # relative to the standard deviation of the strokes
MAX_BLOBS = 0
MAX_SEAM = 2  # levels


def flat_pictures() -> list[Rgb]:
    """Gray, black and white, (SIZE, SIZE, 3)."""
    return [np.full((SIZE, SIZE, 3), level, np.uint8) for level in (128, 0, 255)]


def sky() -> Rgb:
    """A gradient from blue to pale blue with noise of standard deviation 1, above a texture.

    The noise triggers patterns that a network makes out of nothing. The ground keeps instance
    normalization from amplifying the noise, as the rest of a photograph does.
    """
    down = np.linspace(0, 1, SIZE)[:, None, None]
    color = (1 - down) * np.array([90, 140, 205]) + down * np.array([185, 205, 225])
    picture = color + np.random.default_rng(0).normal(0, 1, (SIZE, SIZE, 1))
    picture[HORIZON:] = texture(SIZE, SIZE)[HORIZON:]
    return np.round(picture).clip(0, 255).astype(np.uint8)


def texture(height: int, width: int) -> Rgb:
    """Soft spots of random colors, about 10 pixels wide."""
    noise = np.random.default_rng(0).normal(0, 1, (height, width, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 4)
    return (soft / soft.std() * 50 + 128).clip(0, 255).astype(np.uint8)


def grid(painted: Rgb, periods: Sequence[int] = PERIODS) -> dict[int, float]:
    """The strength of the pattern of each period: RMS in levels of 255, 0 for none.

    The energy at the frequencies of the period minus that at neighboring frequencies, so strokes,
    which have a continuous spectrum, do not count. The period 4 includes the harmonics of 2.
    painted: the largest square at the top left whose side is a multiple of the periods is used.
    """
    size = min(painted.shape[:2]) // max(periods) * max(periods)
    power = np.zeros((size, size))
    for channel in np.moveaxis(painted[:size, :size].astype(np.float64), 2, 0):
        power += np.abs(np.fft.fft2(channel - channel.mean())) ** 2 / size**4 / 3
    return {period: _excess(power, period) for period in periods}


def _excess(power: NDArray[np.float64], period: int) -> float:
    """The square root of the energy above the neighboring frequencies in row and column."""
    size = len(power)
    places = np.arange(period) * (size // period)
    near = np.array([-3, -2, -1, 1, 2, 3])
    total = 0.0
    for y in places:
        for x in places:
            if x or y:
                beside = max(power[y, (x + near) % size].mean(), power[(y + near) % size, x].mean())
                total += power[y, x] - beside
    return float(np.sqrt(max(0.0, total)))


def halo(painted: Rgb) -> float:
    """The largest color difference between a border (BAND pixels) and the middle, in levels.

    For pictures whose content is flat.
    """
    picture = painted.astype(np.float64)
    middle = picture[INNER:-INNER, INNER:-INNER].mean(axis=(0, 1))
    sides = (picture[:BAND], picture[-BAND:], picture[:, :BAND], picture[:, -BAND:])
    return max(float(np.abs(side.mean(axis=(0, 1)) - middle).max()) for side in sides)


def raster(painted: Rgb) -> float:
    """The strongest grid in a painted sky, relative to the standard deviation of the picture."""
    inner = painted[INNER // 2 : HORIZON - INNER // 2, INNER:-INNER]
    deviation = float(np.sqrt(inner.astype(np.float64).var(axis=(0, 1)).mean()))
    return max(grid(inner).values()) / deviation if deviation else 0.0


def blobs(painted: Rgb) -> int:
    """The number of black or white spots in surroundings that are neither.

    A spot is a connected area of BLOB pixels, almost black or almost white. It fills half of its
    bounding box, whose sides differ by a factor of 2 at most, and differs by APART from the median
    of the 8 pixels around it. Strokes are longer. The core of a stroke is no spot either: at CORE
    levels less, the area is compact, too. (Mondrian's black bars have nine such cores in an area
    of this size.)
    """
    return sum(
        _blobs_of(painted, level) for level in (painted.max(axis=2), 255 - painted.min(axis=2))
    )


def _blobs_of(painted: Rgb, level: NDArray[np.uint8]) -> int:
    """The spots where a level, the distance from black or from white, is at most EXTREME."""
    count, labels, spots, _ = cv2.connectedComponentsWithStats((level <= EXTREME).astype(np.uint8))
    wider = (level <= EXTREME + CORE).astype(np.uint8)
    _, strokes, areas, _ = cv2.connectedComponentsWithStats(wider)
    found = 0
    for label in range(1, count):
        x, y, width, height, area = (int(v) for v in spots[label])
        inside = (slice(y, y + height), slice(x, x + width))
        stroke = strokes[inside][labels[inside] == label][0]
        if area < BLOB[0] or not _compact(spots[label]) or not _compact(areas[stroke]):
            continue
        rows, columns = (
            slice(max(0, start - 8), start + length + 8)
            for start, length in ((y, height), (x, width))
        )
        own = labels[rows, columns] == label
        near = np.median(painted[rows, columns][~own], axis=0)
        found += bool(np.abs(near - painted[rows, columns][own].mean(axis=0)).max() >= APART)
    return found


def _compact(stats: NDArray[Any]) -> bool:
    """Whether a connected area is round enough, and not too large, for a spot."""
    _, _, width, height, area = (int(v) for v in stats)
    sides = max(width, height) <= 2 * min(width, height)
    return sides and 2 * area >= width * height and area <= BLOB[1]


def seam(stylizer: Stylizer) -> int | None:
    """The largest difference between painting in tiles and painting whole, in levels.

    None for an engine without a tiles companion.
    """
    picture = texture(SIZE, SIZE + 60)
    try:
        tiled = stylizer.tiled(picture, tile=SIZE // 2)
    except BadInput:
        return None
    return int(np.abs(tiled.astype(int) - stylizer(picture)).max())


def styles_of(stylizer: Stylizer, pictures: Sequence[str] = ()) -> dict[str, Style]:
    """The styles to inspect: named styles, or for any-style engines the pictures or a texture."""
    if "code" not in stylizer.metadata.inputs:
        return {name: name for name in stylizer.styles} or {"–": None}
    return {**named(pictures)} or {"a texture": texture(SIZE, SIZE)}


def inspect(stylizer: Stylizer, style: Style, name: str = "–") -> Row:
    """All figures of one style: the worst over the pictures, and whether all are within limits."""
    if style is not None:
        stylizer.set_style(style)
    flats = [stylizer(picture) for picture in flat_pictures()]
    above = stylizer(sky())[:HORIZON]
    grids = max(max(grid(flat[INNER:-INNER, INNER:-INNER]).values()) for flat in flats)
    figures = {
        "grid": (grids, MAX_GRID),
        "halo": (max(halo(flat) for flat in flats), MAX_HALO),
        "raster": (raster(above), MAX_RASTER),
        "blobs": (sum(blobs(picture) for picture in [*flats, above]), MAX_BLOBS),
        "tiled": (seam(stylizer), MAX_SEAM),
    }
    good = all(figure is None or figure <= bound for figure, bound in figures.values())
    values = {name: figure for name, (figure, _) in figures.items()}
    return {"style": name, **values, "in bounds": good}


@command(epilog="Example: python -m benchmarks.artifacts --engine wave.onnx")
@click.option("--engine", default=engines.DEFAULT, show_default=True)
@click.option(
    "--style",
    "pictures",
    multiple=True,
    metavar="FILE|FOLDER",
    help="Style picture, for an any-style engine; repeat for several.  [default: a texture]",
)
@click.option("--device", default="auto", show_default=True, help="Device, as for st-image.")
@click.option("--json", "as_json", is_flag=True)
def main(engine: str, pictures: tuple[str, ...], device: str, as_json: bool) -> None:
    """Measure grids, halos, blobs and seams of an engine on plain pictures, in levels of 255."""
    stylizer = Stylizer(engine, device=device)
    styles = styles_of(stylizer, pictures)
    rows: list[Row] = []
    with progress() as bar:
        for name, style in bar.track(styles.items(), description="painting"):
            rows.append(inspect(stylizer, style, name))
    bounds = f"grid {MAX_GRID}, halo {MAX_HALO}, raster {MAX_RASTER}, blobs {MAX_BLOBS}"
    show(
        f"Artifacts, levels of 255; bounds: {bounds}, tiled {MAX_SEAM}",
        this_machine(),
        rows,
        as_json,
    )
    if not all(row["in bounds"] for row in rows):
        raise fail("some figures are over their bounds", 1)


if __name__ == "__main__":
    main()
