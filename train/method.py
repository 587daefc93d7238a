"""What a fast method is: a config, a network, targets made before the loop, and a training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from st.train.features.vgg import VGG
from st.train.losses.temporal import Motion


@dataclass(frozen=True)
class Batch:
    """One step's pictures: RGB, 0..1, float32.

    content: (N, 3, size, size). index: (N,), the style of each, for methods with named styles.
    style: (N, 3, size, size) style crops, for methods of any style; else None.
    shift: (rows, columns), 0..7, drawn with the batch: see `shifted`.
    step: its number. seed: drawn with it, for what a method draws itself.
    motion: what follows the first of the content, for the temporal loss; None without it.
    """

    content: Tensor
    index: Tensor
    style: Tensor | None = None
    shift: tuple[int, int] = (0, 0)
    step: int = 0
    seed: int = 0
    motion: Motion | None = None


SHIFT = 8


def shifted(images: Tensor, shift: tuple[int, int]) -> Tensor:
    """Cut SHIFT pixels off height and width, `shift` of them at the top and left.

    VGG pools on a raster of 8 pixels. Seen always at the same place of it, a network learns dots on
    its own raster that VGG does not mind; seen at a place drawn anew each step, it cannot.
    """
    y, x = shift
    height, width = images.shape[-2] - SHIFT, images.shape[-1] - SHIFT
    return images[..., y : y + height, x : x + width]


@dataclass(frozen=True)
class ExportSpec:
    """What the exporter needs to know to make engines of a trained network.

    The network is called as network(content, *controls); with `norms`, also with norm=FUNCTION, to
    replace its instance norms. With a "code" among the controls it has encode_style(style) -> code.

    controls: the inputs after the content, in order: "weights", "code", "strength", "noise",
        "hints", "palette".
    multiple, min_size: what the sides of a picture must be. halo: pixels that a result reaches.
    norms: (channels, stride) of each instance norm in order, so that pictures can be painted in
        tiles; empty where the method does not allow it.
    code_size: floats in a style code; 0 without one.
    style_size: side of the squares that encode_style takes in an engine; 0: any size.
    rounding: steps of 1/255 that float32's rounding may move a pixel by. More than the usual where
        a method divides by small variances, or takes the largest of near equals.
    blends: whether the mean of two style codes is a style between them.
    scale: how many times larger than its content a picture is.
    noise: channels of the "noise", which is of the content's size.
    texture: it paints out of noise alone: it is called as network(None, *controls).
    render_factor: above 0: it colors, and what goes into engines is its network.generator, from
        luma, hints and palette to chroma; it learned on pictures of 16 times that.
    """

    controls: tuple[str, ...] = ()
    multiple: int = 1
    min_size: int = 16
    halo: int = 0
    norms: tuple[tuple[int, int], ...] = ()
    code_size: int = 0
    style_size: int = 0
    rounding: int = 2
    blends: bool = True
    scale: int = 1
    noise: int = 0
    texture: bool = False
    render_factor: int = 0


@dataclass(frozen=True, kw_only=True)
class Method:
    """A trainer's parts. The trainer calls them in this order: build, targets, step, step, …

    styles: "one" or "many" named style pictures a network, or "any" (a folder to learn from).
    build: (config, style names) -> network. What the network's `state_dict` holds is saved.
    targets: (network, vgg, style pictures (1, 3, H, W), config) -> anything that `step` wants.
        With "any" style the pictures are a sample of the folder. Here the network may fill frozen
        parts of its own from vgg; on resuming, the saved state comes after and wins.
    step: (network, vgg, targets, batch, config) -> weighted loss terms by name, scalars; the
        trainer sums, logs, updates and saves.
    paint: (network, content (1, 3, H, W), style picture or None, style index) -> (1, 3, H, W).
    export_spec: network -> ExportSpec.
    content_only: it learns from photographs alone; style pictures, if given, are for previews.
    style_only: of a config: it learns from style pictures alone, and the content of a batch is
        black, of the right size.
    rates: factors of the learning rate for parameters by name, or the start of one up to a dot; 1
        for the others.
    bank: the parameter whose rows are the styles, where a style can be added with all else kept;
        the terms of `step` then have a "style". Else "".
    balance: (network, step number) -> None; changes the gradients of a step before they are used.
    temporal: its config has `temporal_weight` and `temporal_every`, and its step a "temporal" term.
    begin: (network, state of another method's network) -> None; takes over what --begin-with cannot
        copy, after it has copied what has the same name and shape.
    teach: (network, targets, checkpoint of a teacher, config) -> targets with a network to copy;
        its config has `teacher` and `taught`.
    least_steps: below this the pictures are gray: the command warns.
    """

    name: str
    title: str
    config: type
    styles: Literal["one", "many", "any"]
    build: Callable[[Any, Sequence[str]], nn.Module]
    targets: Callable[[nn.Module, VGG, Sequence[Tensor], Any], Any]
    step: Callable[[nn.Module, VGG, Any, Batch, Any], dict[str, Tensor]]
    paint: Callable[[nn.Module, Tensor, Tensor | None, int], Tensor]
    export_spec: Callable[[Any], ExportSpec]
    content_only: bool = False
    style_only: Callable[[Any], bool] = lambda config: False
    least_steps: int = 500
    vgg_depth: int = 16
    rates: Mapping[str, float] = field(default_factory=dict)
    bank: str = ""
    balance: Callable[[nn.Module, int], None] | None = None
    temporal: bool = False
    begin: Callable[[nn.Module, Mapping[str, Tensor]], None] | None = None
    teach: Callable[[nn.Module, Any, Any, Any], Any] | None = None
    example: str = ""
