"""Style pictures that nobody owns: patterns made by rule, and drawings made from photographs.

    python -m recipes.drawn_styles PHOTOGRAPHS FOLDER --patterns 150 --drawings 120

Museums' paintings teach a network that paints in any style little about white paper, ink lines,
stripes and rings: those styles came out brown and gray. These pictures fill the gap.

Patterns are stripes, zigzags, rings, disks, cells, tiles, scribbles, blots and brush strokes, in
random colors, sizes and distortions. Drawings are pencil (a color dodge by the blurred negative)
and ink (extended difference of Gaussians: Winnemöller, Kyprianidis and Olsen, "XDoG", Computers &
Graphics 2012, eq. 7), on white or tinted paper.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.cli.base import command
from st.runtime.errors import BadInput
from st.runtime.pictures.io import read_picture
from st.runtime.pictures.resize import with_short_side
from st.train.data.files import content_files

Random = np.random.Generator
Field = NDArray[np.floating]  # (SIDE, SIDE), 0..1
Picture = NDArray[np.float32]  # (H, W, 3), RGB, 0..1
SIDE = 400
QUALITY = 90  # of JPEG


def smooth_noise(random: Random, scale: float) -> Field:
    """Noise whose blobs are about `scale` pixels wide, standardized."""
    cells = max(2, round(SIDE / scale))
    noise = random.standard_normal((cells + 2, cells + 2)).astype(np.float32)
    large = cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return ((large - large.mean()) / (large.std() + 1e-6)).astype(np.float32)


def coordinates(random: Random) -> tuple[Field, Field]:
    """x and y of every pixel in pixels, turned by a random angle and bent by up to an eighth."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    angle, bend = random.uniform(0, np.pi), random.uniform(0, SIDE / 16) * random.integers(2)
    x, y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    return x + bend * smooth_noise(random, SIDE / 4), y + bend * smooth_noise(random, SIDE / 4)


def wave(phase: Field) -> Field:
    """A triangle wave of period 1 in 0..1."""
    return np.abs(2 * (phase - np.floor(phase)) - 1)


def stripes(random: Random) -> Field:
    x, _ = coordinates(random)
    return wave(x / random.uniform(8, 50))


def zigzag(random: Random) -> Field:
    x, y = coordinates(random)
    period = random.uniform(20, 90)
    return wave(y / random.uniform(12, 50) + random.uniform(0.5, 1.5) * wave(x / period))


def rings(random: Random) -> Field:
    x, y = coordinates(random)
    at_x, at_y = random.uniform(0, SIDE, 2)
    distance = np.hypot(x - x.min() - at_x, y - y.min() - at_y)
    turns = random.integers(4) * np.arctan2(y - y.min() - at_y, x - x.min() - at_x) / (2 * np.pi)
    return wave(distance / random.uniform(8, 50) + turns)


def disks(random: Random) -> Field:
    """A grid of disks, some with rings inside."""
    x, y = coordinates(random)
    pitch = random.uniform(14, 70)
    dx, dy = (v / pitch - np.floor(v / pitch) - 0.5 for v in (x, y))
    return np.clip(1.4 * wave(np.hypot(dx, dy) * random.uniform(1, 4)), 0, 1).astype(np.float32)


def tiles(random: Random) -> Field:
    """Cells of a bent grid, each of its own level."""
    x, y = coordinates(random)
    pitch, stretch = random.uniform(15, 80), random.uniform(0.4, 2.5)
    cells = np.floor(x / pitch) * 131 + np.floor(y / (pitch * stretch)) * 17
    return ((cells * 0.6180339) % 1).astype(np.float32)


def cells(random: Random) -> Field:
    """Nearest points: each region of its own level, some with dark outlines."""
    count = int(random.integers(20, 400))
    points = random.uniform(0, SIDE, (count, 2)).astype(np.float32)
    seeds = np.full((SIDE, SIDE), 255, np.uint8)
    for x, y in points.astype(int):
        seeds[y, x] = 0
    distance, labels = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = np.asarray(labels, np.int32)
    levels = random.random(int(labels.max()) + 1).astype(np.float32)[labels]
    if random.random() < 0.5:
        edges = cv2.morphologyEx(levels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        levels = np.where(edges > 0.01, 0, levels)
    return levels if random.random() < 0.7 else (distance / distance.max()).astype(np.float32)


def scribbles(random: Random) -> Field:
    """Curves on paper."""
    page = np.ones((SIDE, SIDE), np.float32)
    for _ in range(int(random.integers(8, 80))):
        steps = random.standard_normal((60, 2)).cumsum(0).cumsum(0)
        path = random.uniform(0, SIDE, 2) + steps * random.uniform(0.3, 1.2)
        line = path.astype(np.int32)[:, None]
        level, width = float(random.uniform(0, 0.6)), int(random.integers(1, 5))
        cv2.polylines(page, [line], False, level, width, cv2.LINE_AA)
    return page


def blots(random: Random) -> Field:
    """Wet edges: noise with a steep step, darker where it ends."""
    noise = smooth_noise(random, random.uniform(30, 120)) + 0.3 * smooth_noise(random, 8)
    inside = 1 / (1 + np.exp(-random.uniform(4, 20) * (noise - random.uniform(-0.3, 1))))
    edge = 4 * inside * (1 - inside)
    return np.clip(1 - 0.7 * inside - 0.3 * edge, 0, 1).astype(np.float32)


def strokes(random: Random) -> Field:
    """Short brush strokes along a flow."""
    page = np.full((SIDE, SIDE), 0.5, np.float32)
    flow = np.pi * smooth_noise(random, random.uniform(80, 300))
    length, width = random.uniform(10, 50), int(random.integers(2, 12))
    for _ in range(int(60_000 / (length * width)) + 100):
        x, y = random.integers(SIDE, size=2)
        angle = flow[y, x] + random.normal(0, 0.15)
        dx, dy = length * np.cos(angle), length * np.sin(angle)
        level = float(np.clip(0.5 + 0.35 * np.sin(flow[y, x]) + random.normal(0, 0.2), 0, 1))
        ends = (int(x - dx / 2), int(y - dy / 2)), (int(x + dx / 2), int(y + dy / 2))
        cv2.line(page, *ends, level, width, cv2.LINE_AA)
    return page


PATTERNS: tuple[Callable[[Random], Field], ...] = (
    stripes,
    zigzag,
    rings,
    disks,
    tiles,
    cells,
    scribbles,
    blots,
    strokes,
)


def colored(levels: Field, random: Random) -> Picture:
    """Levels 0..1 through a ramp of random colors; a third in black on white, a sixth in steps."""
    kind = random.random()
    if kind < 1 / 3:
        ramp = np.array([[0.05] * 3, [0.98] * 3]) + random.uniform(-0.05, 0.02, (2, 3))
        levels = np.clip((levels - 0.5) * random.uniform(1, 8) + 0.5, 0, 1).astype(np.float32)
    else:
        ramp = random.random((int(random.integers(2, 6)), 3))
        if kind < 1 / 2:
            levels = np.floor(levels * len(ramp)).clip(0, len(ramp) - 1) / (len(ramp) - 1)
    stops = np.linspace(0, 1, len(ramp))
    channels = [np.interp(levels, stops, ramp[:, c]) for c in range(3)]
    grain = random.normal(0, random.uniform(0, 0.04), (*levels.shape, 1))
    return np.clip(np.stack(channels, axis=2) + grain, 0, 1).astype(np.float32)


def pattern(random: Random, number: int) -> Picture:
    """The pattern of that number; one in four is laid over another."""
    levels = PATTERNS[number % len(PATTERNS)](random)
    picture = colored(levels, random)
    if random.random() < 0.25:
        other = colored(PATTERNS[int(random.integers(len(PATTERNS)))](random), random)
        mask = (smooth_noise(random, random.uniform(60, 200)) > 0)[..., None]
        picture = np.where(mask, picture, other)
    return picture


def pencil(gray: Field, random: Random) -> Field:
    """A color dodge of a picture by its blurred negative: white paper, gray lines and shades."""
    blurred = cv2.GaussianBlur(1 - gray, (0, 0), random.uniform(1.5, 8))
    return np.clip(gray / np.maximum(1 - blurred, 1e-3), 0, 1) ** random.uniform(1, 4)


def ink(gray: Field, random: Random) -> Field:
    """XDoG, eq. 7: black lines and areas with steep edges."""
    sigma, sharp = random.uniform(0.7, 2), random.uniform(5, 25)
    fine, coarse = (cv2.GaussianBlur(gray, (0, 0), s) for s in (sigma, 1.6 * sigma))
    found = (1 + sharp) * fine - sharp * coarse
    level = random.uniform(0.3, 0.7)
    return np.where(found >= level, 1, 1 + np.tanh(10 * (found - level))).clip(0, 1)


def drawing(photograph: Picture, random: Random) -> Picture:
    """A drawing of a photograph, in gray or one color, on white or tinted paper."""
    gray = np.asarray(cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY), np.float32)
    levels = (pencil if random.random() < 0.6 else ink)(gray, random)[..., None]
    paper = 1 - random.uniform(0, 0.04) - random.integers(2) * random.uniform(0, 0.25, 3)
    line = random.integers(2) * random.uniform(0, 0.5, 3)
    return (line + (paper - line) * levels).clip(0, 1).astype(np.float32)


def write_styles(
    photographs: Path, folder: Path, patterns: int = 150, drawings: int = 120, seed: int = 0
) -> int:
    """Write patterns, and drawings of at most that many photographs, as JPEG; their number.

    The seed determines them. Raises BadInput: no photographs, or a file that cannot be written.
    """
    files = content_files([photographs]) if drawings else []
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(patterns):
        random = np.random.default_rng((seed, 0, number))
        kind = PATTERNS[number % len(PATTERNS)].__name__
        write(folder / f"{kind}_{number:04d}.jpg", pattern(random, number))
    chosen = np.random.default_rng((seed, 1)).permutation(len(files))[:drawings]
    for number, which in enumerate(chosen):
        random = np.random.default_rng((seed, 2, number))
        pixels = read_picture(files[which], min_side=SIDE).rgb
        photograph = with_short_side(pixels, SIDE).astype(np.float32) / np.float32(255)
        write(folder / f"drawing_{number:04d}.jpg", drawing(photograph, random))
    return patterns + len(chosen)


@command(epilog="Example: python -m recipes.drawn_styles photographs/ drawn/")
@click.argument("photographs", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--patterns", default=150, show_default=True, type=click.IntRange(0))
@click.option("--drawings", default=120, show_default=True, type=click.IntRange(0))
@click.option("--seed", default=0, show_default=True)
def main(photographs: Path, folder: Path, patterns: int, drawings: int, seed: int) -> None:
    """Write patterns, and drawings of PHOTOGRAPHS, into FOLDER as JPEG."""
    count = write_styles(photographs, folder, patterns, drawings, seed)
    click.echo(f"wrote {count} style pictures into {folder}", err=True)


def write(path: Path, picture: Picture) -> None:
    """Raises BadInput where the file cannot be written."""
    pixels = (picture * 255).round().astype(np.uint8)[:, :, ::-1]
    if not cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY]):
        raise BadInput(f"{path}: cannot be written")


if __name__ == "__main__":
    main()
