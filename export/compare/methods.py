"""Paints one photograph in one style with many methods, and measures time and distances.

A method is a slow method, a shipped engine, an engine file, or a checkpoint of st-train.
`open_method` returns each as a function from the photograph to its painting, and checks that the
method supports the style.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from st.runtime import Stylizer
from st.runtime.engine.metadata import Metadata
from st.runtime.errors import BadControl, BadInput, printable
from st.runtime.painting.frames import crop, fitted_size, pad
from st.runtime.pictures.contact_sheet import PAPER, contact_sheet
from st.runtime.pictures.resize import to_size, with_short_side
from st.train.checkpoint import load_checkpoint
from st.train.measures import Judge, StylePatches, to_tensor
from st.train.methods import METHODS
from st.train.slow.entries import Entry, entries
from st.train.slow.optimize import Step

Rgb = NDArray[np.uint8]  # (H, W, 3)
Progress = Callable[[int, int], None]  # (done, total) of one painting
Paint = Callable[[Rgb, Progress], Rgb]  # the photograph -> its painting, of the same shape
QUICK = 5.0  # seconds; a faster painting is repeated, and the second run is timed
STYLE_SIDE = 512  # short side of style pictures for checkpoints, in pixels, as for engines


class CannotPaintError(BadControl):
    """The method does not support this style; others may."""


@dataclass(frozen=True)
class Wanted:
    """The style picture, its file, and the settings.

    steps, seed: of slow methods. device: for engines."""

    style: Rgb
    file: Path
    steps: int | None = None
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class Painting:
    """A painting with its figures. seconds: time to paint, without loading and encoding the style.

    patches, content: distances, see `st.train.measures`."""

    method: str
    rgb: Rgb
    seconds: float
    patches: float
    content: float


def open_method(text: str, wanted: Wanted) -> Paint:
    """The paint function of a method: "gatys", "paintings", "any.onnx", "bank.pt".

    Of several named styles, it uses the one with the name of the style's file; "bank.pt=wave"
    selects another.

    Raises:
        CannotPaintError: it does not have the style. BadInput: no such method, engine or
            checkpoint.
    """
    name, equals, chosen = text.rpartition("=")
    if not equals or Path(text).is_file():
        name, chosen = text, ""
    if name in entries():
        return slow(entries()[name], wanted)
    if Path(name).suffix == ".pt":
        return of_checkpoint(Path(name), chosen, wanted)
    try:
        return of_engine(name, chosen, wanted)
    except BadInput as error:
        if Path(name).suffix or "shipped are" not in str(error):
            raise
        known = ", ".join(entries())
        raise BadInput(
            f"no method {printable(name, 40)!r}: give {known}, a shipped engine, or a file "
            "(.onnx, .trt, .pt)"
        ) from None


def slow(entry: Entry, wanted: Wanted) -> Paint:
    """A method of st-slow with its default settings, at the photograph's size."""
    from st.train.features import load_vgg

    def paint(content: Rgb, progress: Progress) -> Rgb:
        config = replace(entry.config(), size=max(content.shape[:2]), seed=wanted.seed)
        if wanted.steps:
            config = replace(config, steps=wanted.steps)

        def watch(step: Step) -> None:
            progress(step.evaluation, step.total)

        pair = to_tensor(content), to_tensor(wanted.style)
        return _rgb(entry.paint(*pair, config, watch, vgg))

    vgg = load_vgg()
    return paint


def of_engine(name: str, chosen: str, wanted: Wanted) -> Paint:
    stylizer = Stylizer(name, device=wanted.device)
    metadata = stylizer.metadata
    if "code" in metadata.inputs:
        stylizer.set_style(wanted.style)
    elif metadata.styles:
        stylizer.set_style(metadata.styles[_index(metadata.styles, chosen, wanted)])
    elif not chosen:
        _check_one(str(dict(metadata.card).get("styles", "")), wanted)
    return lambda content, progress: stylizer(content, progress=progress)


def of_checkpoint(path: Path, chosen: str, wanted: Wanted) -> Paint:
    """A checkpoint, painted in PyTorch like the previews of its training."""
    checkpoint = load_checkpoint(path)
    method, network = METHODS[checkpoint.method], checkpoint.network()
    spec = method.export_spec(network)
    sizes = Metadata(method.name, multiple=spec.multiple, min_size=spec.min_size)
    index, style = 0, None
    if method.styles == "any":
        style = to_tensor(with_short_side(wanted.style, STYLE_SIDE))
        height, width = (side // spec.multiple * spec.multiple for side in style.shape[-2:])
        style = style[..., :height, :width]
    elif method.styles == "many" or not chosen:
        index = _index(checkpoint.styles, chosen, wanted)

    @torch.inference_mode()
    def paint(content: Rgb, progress: Progress) -> Rgb:
        height, width = content.shape[:2]
        batch = pad(content[None], *fitted_size(sizes, height, width))
        painted = method.paint(network, to_tensor(batch[0]), style, index)
        return crop(_rgb(painted)[None], height, width)[0]

    return paint


def _index(names: Sequence[str], chosen: str, wanted: Wanted) -> int:
    """The index of the chosen style, or of the one named in the file's name.

    A file the_shipwreck_of_the_minotaur.jpg means the style `shipwreck`. Raises CannotPaintError.
    """
    meant = chosen or wanted.file.stem
    for index, name in enumerate(names):
        if meant == name or (not chosen and f"_{name}_" in f"_{meant}_"):
            return index
    shown = ", ".join(printable(name, 40) for name in names[:20])
    raise CannotPaintError(f"has {shown}, not {printable(meant, 40)} (METHOD=STYLE chooses one)")


def _check_one(listed: str, wanted: Wanted) -> None:
    """Raises CannotPaintError unless the card's style, such as "wave (wave.jpg)", is this one."""
    if wanted.file.stem not in listed:
        shown = printable(listed, 60) or "one style"
        raise CannotPaintError(f"paints {shown} only (METHOD=STYLE takes it all the same)")


class Comparison:
    """Paintings of one photograph in one style, and their figures.

    content: the photograph, (H, W, 3), at the size of the paintings.
    """

    def __init__(self, judge: Judge, content: Rgb, style: Rgb) -> None:
        self.content, self.style = content, style
        self._judge, self._patches = judge, StylePatches(style)
        self.paintings: list[Painting] = []

    def add(self, name: str, paint: Paint, progress: Progress = lambda done, total: None) -> None:
        """Paint, time and measure. Raises CannotPaintError: the painting has another size."""
        rgb, seconds = self._timed(paint, progress)
        if seconds < QUICK:
            rgb, seconds = self._timed(paint, progress)
        self.measure(name, rgb, seconds)

    def measure(self, name: str, rgb: Rgb, seconds: float) -> None:
        """Measure an existing painting. Raises CannotPaintError: it has another size."""
        if rgb.shape != self.content.shape:
            raise CannotPaintError(f"makes pictures of another size, {rgb.shape[1]}×{rgb.shape[0]}")
        found = self._judge.distances(rgb, self._patches, self.content)
        self.paintings.append(Painting(name, rgb, seconds, found.patches, found.content))

    def untouched(self) -> float:
        """The patch distance of the photograph itself."""
        return self._patches.distance(self.content)

    def sheet(self) -> Rgb:
        """The photograph, the style, and every painting with its figures."""
        height, width = self.content.shape[:2]
        cells = [
            (f"photograph\npatches {self.untouched():.0f}", self.content),
            ("style", fitted(self.style, height, width)),
        ]
        for painting in self.paintings:
            figures = f"patches {painting.patches:.0f}  content {painting.content:.2f}"
            label = f"{painting.method}\n{_time(painting.seconds)}  {figures}"
            cells.append((label, painting.rgb))
        return contact_sheet(cells)

    def _timed(self, paint: Paint, progress: Progress) -> tuple[Rgb, float]:
        start = time.perf_counter()
        rgb = paint(self.content, progress)
        return rgb, time.perf_counter() - start


def _time(seconds: float) -> str:
    if seconds >= 100:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def fitted(rgb: Rgb, height: int, width: int) -> Rgb:
    """The whole picture, scaled and centered in a sheet's cell."""
    factor = min(height / rgb.shape[0], width / rgb.shape[1])
    inner_height, inner_width = (max(1, round(side * factor)) for side in rgb.shape[:2])
    cell = np.full((height, width, 3), PAPER, np.uint8)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    inside = to_size(rgb, inner_height, inner_width)
    cell[top : top + inner_height, left : left + inner_width] = inside
    return cell


def _rgb(image: torch.Tensor) -> Rgb:
    array = (image[0].detach().float().permute(1, 2, 0).clamp(0, 1) * 255).round()
    return array.to(torch.uint8).numpy()
