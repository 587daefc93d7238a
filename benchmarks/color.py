"""The quality of colorization: gray versions of photographs, colored again, and two baselines.

    python -m benchmarks.color colorize.onnx --content photos/ --hold-out 40

Measured on the photographs that `st-train colorize --hold-out 40` kept out of training. The
baselines are the gray picture and a picture of one color, the mean of the training photographs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import this_machine
from benchmarks.pictures import Rgb
from benchmarks.report import Row, progress, show
from st.runtime import Stylizer
from st.runtime.cli.base import command
from st.runtime.errors import BadInput
from st.runtime.painting.chroma import chroma_of, colored, luma_of
from st.runtime.pictures.io import read_picture
from st.runtime.pictures.resize import with_long_side
from st.runtime.system.atomic_files import atomic_write
from st.train.data.files import held_out, list_pictures

LEARNED = 200  # photographs for the mean color
COLORLESS = 0.004  # mean magnitude of chroma: gray photographs are left out


@dataclass(frozen=True)
class Judged:
    """A colored picture compared with its photograph.

    psnr: dB. colorfulness: see `colorfulness`. blue, red: errors of the mean Cb and Cr, in steps
    of 1/255. luma: the largest difference of the rounded lumas, in the same steps.
    """

    psnr: float
    colorfulness: float
    blue: float
    red: float
    luma: int


def psnr(picture: Rgb, wanted: Rgb) -> float:
    """Peak signal-to-noise ratio over all channels, dB; infinite for equal pictures."""
    error = np.square(picture.astype(np.float64) - wanted).mean()
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def colorfulness(picture: Rgb) -> float:
    """Hasler and Süsstrunk, "Measuring colorfulness in natural images", 2003, M⁽³⁾: 0 is
    gray, 15 slightly, 33 moderately, 59 quite and 109 extremely colorful."""
    red, green, blue = np.moveaxis(picture.astype(np.float64), -1, 0)
    axes = np.stack([red - green, (red + green) / 2 - blue])
    spread = np.sqrt(axes.var(axis=(1, 2)).sum())
    return float(spread + 0.3 * np.sqrt(np.square(axes.mean(axis=(1, 2))).sum()))


def judge(picture: Rgb, wanted: Rgb) -> Judged:
    """Compare two pictures, each (H, W, 3) uint8."""
    off = 255 * (chroma_of(picture) - chroma_of(wanted)).mean(axis=(0, 1), dtype=np.float64)
    light = np.rint(luma_of(picture)) - np.rint(luma_of(without_color(wanted)))
    quality = psnr(picture, wanted), colorfulness(picture)
    return Judged(*quality, float(off[0]), float(off[1]), int(np.abs(light).max()))


def without_color(picture: Rgb) -> Rgb:
    """The rounded luma of a picture, in all three channels."""
    return np.repeat(np.rint(luma_of(picture)).astype(np.uint8)[..., None], 3, axis=2)


def tinted(picture: Rgb, chroma: NDArray[np.float64]) -> Rgb:
    """A gray picture with the same chroma, (2,), everywhere."""
    height, width = picture.shape[:2]
    layer = np.broadcast_to(chroma.astype(np.float32), (height, width, 2))
    return colored(picture, picture, np.ascontiguousarray(layer))


def photographs(content: Sequence[Path], one_in: int, size: int) -> tuple[list[Rgb], list[str]]:
    """The held-out photographs, with a long side of `size`, and the files of the others.

    Raises BadInput: no photograph is held out.
    """
    files = [file for folder in content for file in list_pictures(folder)]
    held = [file for file in files if held_out(file, one_in)]
    pictures = [with_long_side(read_picture(file).rgb, size) for file in held]
    pictures = [
        p for p in pictures if np.hypot(*np.moveaxis(chroma_of(p), 2, 0)).mean() > COLORLESS
    ]
    if not pictures:
        raise BadInput(
            f"--hold-out {one_in} holds out no photograph in color: give a smaller number"
        )
    return pictures, [file for file in files if not held_out(file, one_in)]


def mean_chroma(files: Sequence[str]) -> NDArray[np.float64]:
    """The mean chroma of up to LEARNED photographs: (2,)."""
    some = files[:: -(-len(files) // LEARNED)]
    means = [chroma_of(with_long_side(read_picture(f).rgb, 64)).mean(axis=(0, 1)) for f in some]
    return np.asarray(np.mean(means, axis=0), np.float64)


def row(name: str, judged: Sequence[Judged]) -> Row:
    """Means over the pictures.

    The bias is that of the mean over all pictures, in which color casts that vary between pictures
    cancel. The cast is the mean magnitude, in which they do not cancel.
    """
    blue, red = (np.array([getattr(j, key) for j in judged]) for key in ("blue", "red"))
    return {
        "colored by": name,
        "PSNR, dB": float(np.mean([j.psnr for j in judged])),
        "colorfulness": float(np.mean([j.colorfulness for j in judged])),
        "blue bias": float(blue.mean()),
        "red bias": float(red.mean()),
        "cast a picture": float(np.hypot(blue, red).mean()),
        "luma off": max(j.luma for j in judged),
    }


def sheet(columns: Sequence[Sequence[Rgb]], most: int) -> Rgb:
    """A contact sheet: one row per picture, one column per method, in squares."""
    side = 192

    def cell(picture: Rgb) -> Rgb:
        short = min(picture.shape[:2])
        top, left = ((n - short) // 2 for n in picture.shape[:2])
        square = Image.fromarray(picture[top : top + short, left : left + short])
        return np.asarray(square.resize((side, side), Image.Resampling.LANCZOS), np.uint8)

    rows = [np.hstack([cell(p) for p in row]) for row in zip(*columns, strict=True)][:most]
    return np.vstack(rows)


@command()
@click.argument("engines", nargs=-1, required=True, metavar="ENGINE...")
@click.option("--content", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--hold-out", default=40, show_default=True, type=click.IntRange(min=1), metavar="N")
@click.option("--size", default=320, show_default=True, type=click.IntRange(32, 4096))
@click.option("--render-factor", type=int, metavar="N", help="[default: the engine's own]")
@click.option(
    "--sheet",
    "picture",
    type=click.Path(path_type=Path),
    help="Contact sheet to write: gray, each method, photograph.",
)
@click.option(
    "--rows",
    default=12,
    show_default=True,
    help="Rows of the contact sheet.",
    type=click.IntRange(1),
)
@click.option("--json", "as_json", is_flag=True)
def main(
    engines: tuple[str, ...],
    content: tuple[Path, ...],
    hold_out: int,
    size: int,
    render_factor: int | None,
    picture: Path | None,
    rows: int,
    as_json: bool,
) -> None:
    """Color the held-out photographs and compare them with the originals."""
    wanted, learned = photographs(content, hold_out, size)
    color = mean_chroma(learned)
    ways: dict[str, Callable[[Rgb], Rgb]] = {
        "nobody (gray)": lambda gray: gray,
        "the mean color": lambda gray: tinted(gray, color),
    }
    for engine in engines:
        stylizer = Stylizer(engine)
        if stylizer.metadata.kind != "colorizer":
            raise BadInput(f"{engine}: not a colorizer; give one that st-train colorize made")
        ways[Path(engine).stem] = stylizer.set_render_factor(render_factor)
    made: dict[str, list[Rgb]] = {name: [] for name in ways}
    with progress() as bar:
        for one in bar.track(wanted, description="coloring"):
            for name, way in ways.items():
                made[name].append(way(without_color(one)))
    table = [
        row(name, [judge(p, w) for p, w in zip(pictures, wanted, strict=True)])
        for name, pictures in (made | {"the photograph": wanted}).items()
    ]
    if picture is not None:
        columns = [made["nobody (gray)"], *(made[Path(e).stem] for e in engines), wanted]
        with atomic_write(picture) as part:
            Image.fromarray(sheet(columns, rows)).save(part, "JPEG", quality=85)
    show(f"colors of {len(wanted)} photographs", this_machine(), table, as_json)


if __name__ == "__main__":
    main()
