"""The interface of a fast method: a config, a network, targets, and a training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from st.train.losses.temporal import Motion

SHIFT = 8  # pixels: see `shifted`


@dataclass(frozen=True)
class Batch:
    """The pictures of one training step: RGB, 0..1, float32.

    content: (N, 3, size, size).
    index: (N,) int64, the style of each content, for methods with named styles.
    style: (N, 3, size, size) style crops, for methods of any style; else None.
    shift: (rows, columns), each 0..7, random: see `shifted`.
    step: number of the step, from 0.
    seed: for random numbers that the method draws itself.
    motion: frames that follow the first contents, for the temporal loss; None without it.
    unreadable: why files could not be read, one message each, for those met since the last batch.
    """

    content: Tensor
    index: Tensor
    style: Tensor | None = None
    shift: tuple[int, int] = (0, 0)
    step: int = 0
    seed: int = 0
    motion: Motion | None = None
    unreadable: tuple[str, ...] = ()


def shifted(images: Tensor, shift: tuple[int, int]) -> Tensor:
    """Crop height and width by SHIFT pixels, with `shift` of them taken off the top and the left.

    images: (N, C, H, W). shift: (rows, columns), each 0..SHIFT - 1.

    A loss network pools on a grid of 8 pixels. If that grid always lay at the same place of a
    picture, the network would learn dots on its own grid that the loss does not see. A random
    offset in each step prevents it.
    """
    y, x = shift
    height, width = images.shape[-2] - SHIFT, images.shape[-1] - SHIFT
    return images[..., y : y + height, x : x + width]


@dataclass(frozen=True)
class ExportSpec:
    """What the exporter needs to know to make engines of a trained network.

    The network is called as network(content, *controls). With `norms` it also takes norm=FUNCTION,
    which replaces its instance norms. With a "code" among the controls it has
    encode_style(style) -> code.

    controls: inputs after the content, in order: "weights", "code", "strength", "noise", "hints",
        "palette".
    multiple, min_size: height and width must be multiples of the one and at least the other.
    halo: receptive radius of an output pixel, in pixels, when the norms' statistics are given.
    norms: (channels, stride) of each instance norm, in order of execution, for painting in tiles;
        empty where the method does not allow it.
    code_size: floats in a style code; 0 without one.
    style_size: side of the square style pictures that an engine's encode_style takes; 0: any size.
    rounding: tolerated difference between float32 implementations, in steps of 1/255. Methods that
        divide by small variances, or choose the largest of nearly equal values, need more than the
        default.
    blends: whether the mean of two style codes is a style between the two.
    scale: size of the output relative to the content.
    noise: channels of the "noise" input, which has the content's height and width.
    texture: the input is noise alone: the network is called as network(None, *controls).
    render_factor: above 0 for a colorizer: what is exported is network.generator, from luma, hints
        and palette to chroma, and the pictures it was trained on had sides of 16 times this.
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
    """The parts of a method. The trainer calls build, then targets, then step again and again.

    name, title, example: the subcommand's name, its one-line help and a command that runs.
    config: the dataclass of its settings (see `st.train.settings`).
    styles: "one" or "many" named style pictures per network, or "any" (learned from a folder).
    build: (config, style names) -> network. Its `state_dict` is what a checkpoint holds.
    targets: (network, loss network, style pictures (1, 3, H, W), config) -> anything that `step`
        needs. With "any" style the pictures are a sample of the folder. The network may fill frozen
        parts of its own from the loss network; a resumed state is loaded later and overrides them.
    step: (network, loss network, targets, batch, config) -> weighted loss terms by name, scalar
        tensors; the trainer sums, logs, updates and saves.
    paint: (network, content (1, 3, H, W), style picture or None, style index) -> (1, 3, H, W), for
        previews.
    export_spec: network -> ExportSpec.
    content_only: trained on photographs alone; style pictures, if given, are for previews.
    style_only: config -> whether it trains on style pictures alone; the batches' contents are then
        black.
    min_steps: with fewer steps than this the pictures are gray, so the command warns.
    rates: learning rate multipliers by parameter name or dotted prefix; 1 for the others.
    bank: name of the parameter whose rows are the styles, if styles can be added to a trained
        network by training their rows alone; `step` then returns a "style" term. Else "".
    balance: (network, step number) -> None; changes the gradients of a step before they are used.
    temporal: whether its config has `temporal_weight` and `temporal_every`, and its step a
        "temporal" term.
    begin: (network, state of another method's network) -> None; converts weights that do not match
        by name and shape. Matching ones are copied before.
    before_export: (network) -> None; changes the weights of a network that is about to be exported,
        such as by rounding them to what an engine stores.
    teach: (targets, teacher) -> targets that include the teacher, which is (content, style index)
        -> paintings; its config has `teacher` and `taught`.
    """

    name: str
    title: str
    example: str
    config: type
    styles: Literal["one", "many", "any"]
    build: Callable[[Any, Sequence[str]], nn.Module]
    targets: Callable[[nn.Module, Any, Sequence[Tensor], Any], Any]
    step: Callable[[nn.Module, Any, Any, Batch, Any], dict[str, Tensor]]
    paint: Callable[[nn.Module, Tensor, Tensor | None, int], Tensor]
    export_spec: Callable[[Any], ExportSpec]
    content_only: bool = False
    style_only: Callable[[Any], bool] = lambda config: False
    min_steps: int = 500
    rates: Mapping[str, float] = field(default_factory=dict)
    bank: str = ""
    balance: Callable[[nn.Module, int], None] | None = None
    temporal: bool = False
    begin: Callable[[nn.Module, Mapping[str, Tensor]], None] | None = None
    before_export: Callable[[Any], None] | None = None
    teach: Callable[[Any, Callable[[Tensor, Tensor], Tensor]], Any] | None = None

    def loss_network(self, config: Any) -> str:
        """Name of the pretrained network that `targets` and `step` get: the setting
        `loss_network`, or else `encoder`, or else squeezenet."""
        return getattr(config, "loss_network", "") or getattr(config, "encoder", "squeezenet")
