"""How good colors are: photographs turned gray and colored again, beside two baselines.

    python -m benchmarks.color colorize.onnx --content photos/ --hold-out 40

Measured on the photographs that `st-train colorize --hold-out 40` never saw. The baselines: the
gray picture itself, and one color over all of it, the mean of the photographs trained on.
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

LEARNED = 200  # photographs that the mean color is taken from
COLORLESS = 0.004  # mean magnitude of chroma: a photograph that is gray itself tells nothing


@dataclass(frozen=True)
class Judged:
    """One picture beside the photograph that it should be.

    psnr: dB. colorfulness: see `colorfulness`. blue, red: how far the mean Cb and Cr are off, in
    steps of 1/255. luma: largest difference of the rounded lumas, in steps.
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
    """Hasler and Süsstrunk, "Measuring colorfulness in natural images", 2003, M⁽³⁾: 0 for gray, 15
    slightly, 33 moderately, 59 quite colorful, 109 extremely."""
    red, green, blue = np.moveaxis(picture.astype(np.float64), -1, 0)
    axes = np.stack([red - green, (red + green) / 2 - blue])
    spread = np.sqrt(axes.var(axis=(1, 2)).sum())
    return float(spread + 0.3 * np.sqrt(np.square(axes.mean(axis=(1, 2))).sum()))


def judge(picture: Rgb, wanted: Rgb) -> Judged:
    """Both (H, W, 3)."""
    off = 255 * (chroma_of(picture) - chroma_of(wanted)).mean(axis=(0, 1), dtype=np.float64)
    light = np.rint(luma_of(picture)) - np.rint(luma_of(without_color(wanted)))
    quality = psnr(picture, wanted), colorfulness(picture)
    return Judged(*quality, float(off[0]), float(off[1]), int(np.abs(light).max()))


def without_color(picture: Rgb) -> Rgb:
    """The picture's luma, rounded, in all three channels."""
    return np.repeat(np.rint(luma_of(picture)).astype(np.uint8)[..., None], 3, axis=2)


def tinted(picture: Rgb, chroma: NDArray[np.float64]) -> Rgb:
    """One chroma, (2,), over all of a gray picture."""
    height, width = picture.shape[:2]
    layer = np.broadcast_to(chroma.astype(np.float32), (height, width, 2))
    return colored(picture, picture, np.ascontiguousarray(layer))


def photographs(content: Sequence[Path], one_in: int, size: int) -> tuple[list[Rgb], list[str]]:
    """(those held out, with a longer side of `size`; the files of the others).

    Raises BadInput: none held out.
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
    """Of up to LEARNED of these photographs: (2,)."""
    some = files[:: -(-len(files) // LEARNED)]
    means = [chroma_of(with_long_side(read_picture(f).rgb, 64)).mean(axis=(0, 1)) for f in some]
    return np.asarray(np.mean(means, axis=0), np.float64)


def row(name: str, judged: Sequence[Judged]) -> Row:
    """Means over the pictures; the bias is of the mean over all, so that casts that differ from
    picture to picture cancel, and the cast is what does not."""
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
    """A row for each of the first pictures: every column's, all in squares."""
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
@click.option("--sheet", "picture", type=click.Path(path_type=Path), help="gray, each, photograph")
@click.option("--rows", default=12, show_default=True, help="of the sheet", type=click.IntRange(1))
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
    """Color the photographs that were held out, and compare with what they were."""
    wanted, learned = photographs(content, hold_out, size)
    color = mean_chroma(learned)
    ways: dict[str, Callable[[Rgb], Rgb]] = {
        "nobody (gray)": lambda gray: gray,
        "the mean color": lambda gray: tinted(gray, color),
    }
    for engine in engines:
        stylizer = Stylizer(engine)
        if stylizer.metadata.kind != "colorizer":
            raise BadInput(f"{engine}: this engine does not color pictures")
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
