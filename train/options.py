"""The options of `st-train METHOD`: those of every method, and those of the method's Config."""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from pathlib import Path
from typing import Any

import click

from st.runtime.errors import printable

ADDING_MINUTES = 10.0  # default of --minutes for a style that is added to a bank


def config_options(config: type) -> list[click.Option]:
    """A click option for every entry of a Config dataclass: --learning-rate for learning_rate."""
    hints = typing.get_type_hints(config)
    return [
        click.Option(
            [f"--{field.name.replace('_', '-')}", field.name],
            type=_click_type(hints[field.name], field.metadata),
            metavar="LAYER" if "layer" in field.name else None,
            default=field.default,
            show_default=True,
            multiple=typing.get_origin(hints[field.name]) is tuple,
            help=field.metadata.get("help", ""),
        )
        for field in dataclasses.fields(config)
    ]


def _click_type(hint: Any, limits: typing.Mapping[str, Any]) -> Any:
    if limits["choices"]:
        return click.Choice(limits["choices"])
    if limits["check"] is not None:
        return _CheckedText(limits["check"])
    if limits["minimum"] is not None:
        return (click.IntRange if hint is int else click.FloatRange)(min=limits["minimum"])
    return hint


class _CheckedText(click.ParamType):
    """A text that a function accepts, or rejects by a ValueError with a message."""

    name = "text"

    def __init__(self, check: typing.Callable[[str], Any]) -> None:
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            self._check(str(value))
        except ValueError as error:
            self.fail(printable(error, 120), param, ctx)
        return str(value)


def load_toml(file: Path) -> dict[str, Any]:
    """The values of a TOML file. Raises click.UsageError when it is none."""
    try:
        if file.exists() and not file.is_file():
            raise ValueError("not a regular file")
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = printable(getattr(error, "strerror", None) or error, 80)
        raise click.UsageError(f"--config {printable(file)}: {why}") from None


def read_settings(ctx: click.Context, _: click.Parameter, file: Path | None) -> None:
    """Take the values of a TOML file as defaults: `size = 128`, `style = ["wave.jpg"]`."""
    if file is None:
        return
    given: dict[str, Any] = {}
    options = {option.removeprefix("--"): p for p in ctx.command.params for option in p.opts}
    for key, value in load_toml(file).items():
        parameter = options.get(key.replace("_", "-"))
        if not isinstance(parameter, click.Option) or parameter.name in (None, "config"):
            shown = f"{printable(file)}: {ctx.info_name} has no option {printable(key, 40)!r}"
            raise click.UsageError(shown, ctx)
        value = [value] if parameter.multiple and type(value) is str else value
        try:
            parameter.type_cast_value(ctx, value)
        except (TypeError, ValueError):  # click checks texts and numbers only
            shown = f"{printable(file)}: {printable(key, 40)} cannot be {printable(value, 40)}"
            raise click.UsageError(shown, ctx) from None
        given[parameter.name] = value
    ctx.default_map = given


def option_groups(bank: bool, temporal: bool) -> dict[str, list[click.Option]]:
    """The options that are not settings of a method, by the title of their group.

    bank: with those for adding styles to a trained network. temporal: with --video.
    """
    return {
        "Pictures": picture_options(bank, temporal),
        "Start": start_options(),
        "Length": length_options(bank),
        "Output": saving_options(),
        "Machine": machine_options(),
    }


def _option(*names: str, **settings: Any) -> click.Option:
    return click.Option(names, **settings)


def picture_options(bank: bool, temporal: bool) -> list[click.Option]:
    folders: dict[str, Any] = {"type": click.Path(path_type=Path), "multiple": True}
    options = [
        _option(
            "--config",
            type=click.Path(path_type=Path),
            is_eager=True,
            expose_value=False,
            callback=read_settings,
            help="TOML file with any of these options; the command line overrides it.",
        ),
        _option("--content", **folders, help="Folder of photographs; may be repeated."),
        _option(
            "--style",
            "styles",
            multiple=True,
            metavar="PICTURE|FOLDER",
            help="Style picture, NAME=PICTURE, or a folder of them; may be repeated.",
        ),
    ]
    if bank:
        options += [
            _option(
                "--add-style",
                "added",
                multiple=True,
                metavar="PICTURE",
                help="Train only this style and add it to the network of --from; NAME=PICTURE"
                " names it; may be repeated.",
            ),
            _option(
                "--from",
                "base",
                metavar="MODEL|ENGINE",
                help="Trained network to add styles to: a checkpoint, an .onnx file or a shipped"
                " engine's name. For cin also a style prediction network.",
            ),
        ]
    if temporal:
        options.append(
            _option(
                "--video",
                **folders,
                help="Folder of clips for --temporal-weight; may be repeated. Without it, motion"
                " is simulated on photographs.",
            )
        )
    return options


def start_options() -> list[click.Option]:
    return [
        _option(
            "--begin-with",
            "initial",
            metavar="MODEL|ENGINE",
            help="Checkpoint or engine whose weights to start from, where names and shapes match.",
        ),
        _option(
            "--hold-out",
            default=0,
            type=click.IntRange(min=0),
            metavar="N",
            help="Keep one photograph in N out of training, for evaluation; chosen by a hash of its"
            " file name.",
        ),
        _option(
            "--resume",
            is_flag=True,
            help="Resume from NAME.resume.pt, with its settings where none are given.",
        ),
        _option(
            "--seed",
            default=0,
            show_default=True,
            type=click.IntRange(0, 2**32 - 1),
            help="Random seed.",
        ),
    ]


def length_options(bank: bool) -> list[click.Option]:
    adding = f" [default with --add-style: {ADDING_MINUTES:g}]" if bank else ""
    minutes = click.FloatRange(min=0, min_open=True)
    return [
        _option(
            "--minutes",
            type=minutes,
            help="Finish after this time, or after --steps if that is sooner; the learning rate"
            f" decays in time for it.{adding}",
        ),
        _option(
            "--pause-after",
            type=minutes,
            metavar="MINUTES",
            help="Save the state and stop after this time, unfinished; --resume continues as if"
            " the training had not stopped.",
        ),
        _option(
            "--average",
            default=0.0,
            type=click.FloatRange(min=0, max=1, max_open=True),
            metavar="DECAY",
            help="Keep an exponential moving average of the weights, such as 0.999; the checkpoint"
            " and the preview then hold the average.",
        ),
    ]


def saving_options() -> list[click.Option]:
    several = click.IntRange(min=1)
    return [
        _option(
            "-o",
            "--output",
            type=click.Path(path_type=Path),
            required=True,
            help="Checkpoint to write, NAME.pt.",
        ),
        _option(
            "--preview-every",
            default=500,
            show_default=True,
            type=several,
            help="Steps between previews.",
        ),
        _option(
            "--save-every",
            default=250,
            show_default=True,
            type=several,
            help="Steps between saved states.",
        ),
    ]


def machine_options() -> list[click.Option]:
    several = click.IntRange(min=1)
    return [
        _option(
            "--vgg",
            default=None,
            metavar="FILE|URL",
            help="VGG weights in torchvision's format.",
        ),
        _option(
            "--device",
            default="auto",
            show_default=True,
            type=click.Choice(["auto", "cpu", "cuda", "mps"]),
            help="Device to train on.",
        ),
        _option(
            "--devices", default=1, show_default=True, type=several, help="GPUs on each machine."
        ),
        _option("--nodes", default=1, show_default=True, type=several, help="Number of machines."),
        _option(
            "--precision",
            default="auto",
            show_default=True,
            type=click.Choice(["auto", "32-true", "bf16-mixed", "16-mixed"]),
            help="Numeric precision; auto is bf16-mixed on devices with matrix units for bfloat16.",
        ),
        _option(
            "--compile",
            "compiled",
            is_flag=True,
            help="Compile the transform network: a minute of preparation, then faster steps.",
        ),
        _option(
            "--workers",
            default=1,
            show_default=True,
            type=click.IntRange(min=0),
            help="Processes that read pictures.",
        ),
        _option(
            "--picture-memory",
            default=1024,
            show_default=True,
            type=click.IntRange(min=0),
            metavar="MB",
            help="Memory for pictures that need not be read again, in megabytes.",
        ),
    ]
