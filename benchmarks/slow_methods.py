"""`python -m benchmarks.slow_methods`: measures what each of the five slow methods claims.

    python -m benchmarks.slow_methods --pair photo.jpg painting.jpg -o pictures/

Each method paints every pair, unless its picture is in the folder already. The figures are measured
on the finished pictures, so they are comparable between methods:

style, content  see `st.train.measures`.
laplacian       relative distance of the Laplacians from the content's, averaged over pools of 4 and
                16 pixels: the claim of Lapstyle. It is compared with Gatys' method at equal style
                loss: at the larger one of the two final Gram losses.
washed out      fraction of 16-pixel windows that are flatter than nine in ten windows of the style:
                what histogram losses prevent. 0.1 for the style itself.
contrast        Wasserstein distance of the windows' contrasts (deviation of luma, 0..1) from the
                style's.
patches         1 minus the correlation of each 3x3 feature patch with the nearest patch of the
                style, averaged, on SqueezeNet's fire3, which no method uses: the claim of CNNMRF.
used            fraction of the style's patches there that are the nearest of some patch of the
                painting: the claim of reshuffle. (Its own count, by layer, is in `patches used %`.)
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.machine import this_machine
from benchmarks.report import Row, progress, show
from st.runtime.cli.base import command
from st.runtime.errors import BadInput
from st.runtime.pictures.io import Picture, read_picture, write_picture
from st.runtime.pictures.resize import with_long_side, with_short_side
from st.train.features import VGG, load_vgg
from st.train.features.squeezenet import SqueezeNet, load_squeezenet
from st.train.losses.basic import relative_distance
from st.train.losses.patches import Bank, candidates
from st.train.measures import SHORT_SIDE, Rgb, content_distance, style_distance, traits
from st.train.slow.entries import Entry, entries
from st.train.slow.laplacian import filtered
from st.train.slow.optimize import Step

POOLS = (4, 16)  # sides of the average pooling before the Laplacian, in pixels
WINDOW = 16  # side of a window of local contrast, in pixels
FLAT = 0.1  # quantile of the style's contrasts below which a window is washed out
PATCH_LAYER = "fire3"


@dataclass
class Painted:
    """A method's picture and its measurements.

    rgb: (H, W, 3). seconds: time taken. steps: (Gram loss, Laplacian distance) of each evaluation
    at the full size, for methods with a Gram loss. used_patches: percent by layer, of reshuffle.
    """

    rgb: Rgb
    seconds: float
    steps: list[tuple[float, float]] = field(default_factory=list)
    used_patches: list[float] = field(default_factory=list)

    def save(self, file: Path) -> None:
        """Write the picture, and its measurements beside it as .json."""
        file.parent.mkdir(parents=True, exist_ok=True)
        facts = {"seconds": self.seconds, "steps": self.steps, "used_patches": self.used_patches}
        file.with_suffix(".json").write_text(json.dumps(facts))
        write_picture(Picture(self.rgb), file)

    @classmethod
    def load(cls, file: Path) -> Painted:
        return cls(read_picture(file).rgb, **json.loads(file.with_suffix(".json").read_text()))


def to_tensor(rgb: Rgb) -> Tensor:
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def to_rgb(image: Tensor) -> Rgb:
    array = (image[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte()
    return array.numpy()


def paint(entry: Entry, content: Rgb, style: Rgb, changes: dict[str, Any], vgg: VGG) -> Painted:
    """Run a method on a pair; the content has the size of the result."""
    config = replace(entry.config(), size=max(content.shape[:2]), **changes)
    photo, weight = to_tensor(content), getattr(config, "style_weight", 1.0)
    steps: list[tuple[float, float]] = []
    used: list[float] = []

    def watch(step: Step) -> None:
        if step.picture.shape == photo.shape and "style" in step.losses:
            steps.append((step.losses["style"] / weight, laplacian_distance(step.picture, photo)))
        if "used %" in step.figures and (not used or used[-1] != step.figures["used %"]):
            used.append(step.figures["used %"])

    start = time.perf_counter()
    image = entry.paint(photo, to_tensor(style), config, watch, vgg)
    return Painted(to_rgb(image), time.perf_counter() - start, steps, used)


@torch.no_grad()
def laplacian_distance(painted: Tensor, content: Tensor) -> float:
    """Laplacian distance of two pictures (1, 3, H, W), 0..1, of equal size."""
    apart = [relative_distance(filtered(painted, p), filtered(content, p)) for p in POOLS]
    return float(torch.stack(apart).mean())


def at_equal_style(gatys: Painted, laplacian: Painted) -> tuple[float, float, float]:
    """(Gram loss, Laplacian distance of Gatys' method at it, that of Lapstyle): see the module."""
    level = max(gatys.steps[-1][0], laplacian.steps[-1][0])

    def first(painted: Painted) -> float:
        return next(distance for loss, distance in painted.steps if loss <= level)

    return level, first(gatys), first(laplacian)


def local_contrast(rgb: Rgb) -> NDArray[np.float64]:
    """The standard deviation of luma, 0..1, in every window of WINDOW pixels inside the picture:
    (N,)."""
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float64) / 255
    mean, square = (
        cv2.boxFilter(values, -1, (WINDOW, WINDOW))[
            WINDOW // 2 : -(WINDOW // 2), WINDOW // 2 : -(WINDOW // 2)
        ]
        for values in (luma, luma * luma)
    )
    return np.sqrt(np.maximum(square - mean * mean, 0)).ravel()


def washed_out(painted: Rgb, style: Rgb) -> tuple[float, float]:
    """(fraction of flat windows, Wasserstein distance of the contrasts), relative to the style."""
    own, wanted = local_contrast(painted), local_contrast(style)
    level = np.linspace(0, 1, 1001)
    apart = np.abs(np.quantile(own, level) - np.quantile(wanted, level)).mean()
    return float((own < np.quantile(wanted, FLAT)).mean()), float(apart)


@torch.no_grad()
def patch_figures(network: SqueezeNet, painted: Rgb, style: Rgb) -> tuple[float, float]:
    """(mean distance to the nearest style patch, share of style patches that are one)."""
    own, wanted = (network(to_tensor(p), {PATCH_LAYER})[PATCH_LAYER] for p in (painted, style))
    bank = Bank.of([wanted])
    scores, indices = candidates(own, bank, 1)
    return float(1 - scores.mean()), len(indices.unique()) / len(bank)


def rows(
    network: SqueezeNet, content: Rgb, style: Rgb, made: dict[str, Painted]
) -> list[dict[str, str | float | None]]:
    """The figures of one pair. style: at the size that it was painted with."""
    small_style = traits(network, with_short_side(style, SHORT_SIDE))
    small = traits(network, with_short_side(content, SHORT_SIDE))
    found: list[dict[str, str | float | None]] = []
    everything = {"(the photograph)": Painted(content, 0.0), **made}
    for name, painted in everything.items():
        seen = traits(network, with_short_side(painted.rgb, SHORT_SIDE))
        flat, contrast = washed_out(painted.rgb, style)
        patches, used = patch_figures(network, painted.rgb, style)
        found.append(
            {
                "method": name,
                "style": style_distance(seen, small_style),
                "content": content_distance(seen, small),
                "laplacian": laplacian_distance(to_tensor(painted.rgb), to_tensor(content)),
                "washed out": flat,
                "contrast": contrast,
                "patches": patches,
                "used": used,
                "patches used %": ", ".join(f"{part:.0f}" for part in painted.used_patches) or "–",
                "seconds": painted.seconds or None,
            }
        )
    return found


def changes_of(methods: Sequence[str], given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{"gatys": {"style_weight": 20.0}} of "gatys.style_weight=20"; commas separate
    the entries of a list. Raises BadInput.
    """
    changes: dict[str, dict[str, Any]] = {name: {} for name in methods}
    for text in given:
        key, _, value = text.partition("=")
        name, _, entry = key.partition(".")
        config = entries()[name].config() if name in changes else None
        if not hasattr(config, entry):
            raise BadInput(f"--set {text}: METHOD.SETTING=NUMBER, like gatys.style_weight=20")
        usual = getattr(config, entry)
        changes[name][entry] = (
            tuple(type(usual[0])(part) for part in value.split(","))
            if isinstance(usual, tuple)
            else type(usual)(value)
        )
    return changes


@command()
@click.option("--pair", "pairs", nargs=2, multiple=True, required=True, metavar="CONTENT STYLE")
@click.option("--size", default=300, show_default=True, help="longest side, pixels")
@click.option("--method", "methods", multiple=True, type=click.Choice(list(entries())))
@click.option("--steps", type=int, help="evaluations, instead of each method's own number")
@click.option("--set", "settings", multiple=True, metavar="METHOD.SETTING=NUMBER")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="folder")
@click.option("--json", "as_json", is_flag=True)
def main(
    pairs: tuple[tuple[str, str], ...],
    size: int,
    methods: tuple[str, ...],
    steps: int | None,
    settings: tuple[str, ...],
    output: Path,
    as_json: bool,
) -> None:
    """Paint pairs with the slow methods and measure the property that each of them claims."""
    chosen = {name: entries()[name] for name in methods or entries()}
    changes = changes_of(list(chosen), settings)
    vgg, network = load_vgg(), load_squeezenet()
    found: list[Row] = []
    with progress() as bar:
        task = bar.add_task("painting", total=len(pairs) * len(chosen))
        for content_file, style_file in pairs:
            content, style = (
                with_long_side(read_picture(f).rgb, size) for f in (content_file, style_file)
            )
            pair = f"{Path(content_file).stem}, {Path(style_file).stem}"
            made: dict[str, Painted] = {}
            for name, entry in chosen.items():
                bar.update(task, description=f"{pair}: {name}")
                own = changes[name] | ({"steps": steps} if steps else {})
                file = output / f"{Path(content_file).stem}-{Path(style_file).stem}-{name}.png"
                if not file.is_file():
                    paint(entry, content, style, own, vgg).save(file)
                made[name] = Painted.load(file)
                bar.advance(task)
            found += [{"pair": pair, **row} for row in rows(network, content, style, made)]
            if {"gatys", "laplacian"} <= set(made) and not as_json:
                level, of_gatys, of_laplacian = at_equal_style(made["gatys"], made["laplacian"])
                click.echo(
                    f"{pair}: at a Gram loss of {level:.3g} the Laplacian distance is"
                    f" {of_gatys:.3g} by gatys, {of_laplacian:.3g} by laplacian"
                )
    show("the slow methods", this_machine(), found, as_json)


if __name__ == "__main__":
    main()
