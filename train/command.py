"""`st-train METHOD`: one subcommand a method, its options read from the method's Config."""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from st.runtime.cli.base import (
    Command,
    MethodsGroup,
    check_overwrite,
    is_quiet,
    one_line_errors,
    say,
)
from st.runtime.cli.progress import progress_bars
from st.runtime.errors import BadInput, MissingExtra, printable

ADDING_MINUTES = 10.0  # for a style added to a bank
ADDING_STEPS = 100_000  # which minutes always end earlier
ADDING = {"size": 128, "batch": 2}  # at most: a row of a bank needs many steps more than large ones


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
    if limits["least"] is not None:
        return (click.IntRange if hint is int else click.FloatRange)(min=limits["least"])
    return hint


class _CheckedText(click.ParamType):
    """A text that a function accepts, or refuses by a ValueError with a message."""

    name = "text"

    def __init__(self, check: typing.Callable[[str], Any]) -> None:
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            self._check(str(value))
        except ValueError as error:
            self.fail(printable(error, 120), param, ctx)
        return str(value)


def read_settings(ctx: click.Context, _: click.Parameter, file: Path | None) -> None:
    """Take the options of a TOML file as defaults: `size = 128`, `style = ["wave.jpg"]`."""
    if file is None:
        return
    try:
        if file.exists() and not file.is_file():
            raise ValueError("not a regular file")
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = printable(getattr(error, "strerror", None) or error, 80)
        raise click.UsageError(f"--config {printable(file)}: {why}", ctx) from None
    given: dict[str, Any] = {}
    options = {option.removeprefix("--"): p for p in ctx.command.params for option in p.opts}
    for key, value in values.items():
        parameter = options.get(key.replace("_", "-"))
        if not isinstance(parameter, click.Option) or parameter.name in (None, "config"):
            shown = f"{printable(file)}: {ctx.info_name} has no option {printable(key, 40)!r}"
            raise click.UsageError(shown, ctx)
        value = [value] if parameter.multiple and type(value) is str else value
        try:
            parameter.type_cast_value(ctx, value)
        except (TypeError, ValueError):  # click looks for texts and numbers only
            shown = f"{printable(file)}: {printable(key, 40)} cannot be {printable(value, 40)}"
            raise click.UsageError(shown, ctx) from None
        given[parameter.name] = value
    ctx.default_map = given


def run_options(method: Any) -> list[click.Option]:
    """What every method takes, and what those of its kind do."""

    def option(*names: str, **settings: Any) -> click.Option:
        return click.Option(names, **settings)

    folder = click.Path(path_type=Path)
    several = click.IntRange(min=1)
    additions = [
        option(
            "--add-style",
            "added",
            multiple=True,
            metavar="PICTURE",
            help="train only this style, for the bank of --from; NAME=PICTURE names it; may be"
            " repeated",
        ),
        option(
            "--from",
            "base",
            metavar="MODEL|ENGINE",
            help="the trained bank: a checkpoint, an .onnx engine or a shipped engine's name; for"
            " cin also a style prediction's, whose code is the start",
        ),
    ]
    clips = option(
        "--video",
        type=folder,
        multiple=True,
        help="folder of clips for --temporal-weight, whose motion comes from photographs alone"
        " without it; may be repeated",
    )
    return [
        option(
            "--config",
            type=folder,
            is_eager=True,
            expose_value=False,
            callback=read_settings,
            help="TOML file of these options; what the command line says wins",
        ),
        option(
            "--content",
            type=folder,
            multiple=True,
            help="folder of photographs; may be repeated",
        ),
        option(
            "--style",
            "styles",
            multiple=True,
            help="style picture, NAME=PICTURE, or a folder of them; may be repeated",
        ),
        *(additions if method.bank else []),
        *([clips] if method.temporal else []),
        option(
            "--begin-with",
            "begun",
            metavar="MODEL|ENGINE",
            help="begin with the weights of another network, where names and shapes are the same",
        ),
        option("-o", "--output", type=folder, required=True, help="checkpoint to write, NAME.pt"),
        option(
            "--minutes",
            type=click.FloatRange(min=0, min_open=True),
            help=f"end after so long [with --add-style {ADDING_MINUTES:g}, unless --steps is given]"
            if method.bank
            else "end after so long, or after --steps",
        ),
        option(
            "--hold-out",
            default=0,
            type=click.IntRange(min=0),
            metavar="N",
            help="keep one photograph in N from training, by a hash of its file's name, to measure"
            " on",
        ),
        option(
            "--resume",
            is_flag=True,
            help="go on from NAME.resume.pt, with its settings where none are given",
        ),
        option(
            "--seed",
            default=0,
            show_default=True,
            type=click.IntRange(0, 2**32 - 1),
            help="of everything random",
        ),
        option("--vgg", default=None, help="VGG weights of torchvision's format: file or URL"),
        option(
            "--device",
            default="auto",
            show_default=True,
            type=click.Choice(["auto", "cpu", "cuda", "mps"]),
            help="where to train",
        ),
        option("--devices", default=1, show_default=True, type=several, help="GPUs on each node"),
        option("--nodes", default=1, show_default=True, type=several, help="how many machines"),
        option(
            "--precision",
            default="auto",
            show_default=True,
            type=click.Choice(["auto", "32-true", "bf16-mixed", "16-mixed"]),
            help="auto: bf16-mixed where the device computes in it",
        ),
        option(
            "--preview-every",
            default=500,
            show_default=True,
            type=several,
            help="steps between previews",
        ),
        option(
            "--save-every",
            default=250,
            show_default=True,
            type=several,
            help="steps between saved states",
        ),
        option(
            "--workers",
            default=1,
            show_default=True,
            type=click.IntRange(min=0),
            help="processes that read pictures",
        ),
    ]


def method_command(name: str) -> click.Command:
    from st.train.checkpoint import make_config
    from st.train.methods import METHODS

    method = METHODS[name]
    entries = [field.name for field in dataclasses.fields(method.config)]

    @click.pass_context
    @one_line_errors
    def callback(ctx: click.Context, vgg: str | None, **values: Any) -> None:
        from st.train.features import load_vgg
        from st.train.loop.resume import resumable
        from st.train.loop.run import Run, resume_file

        console = Console(stderr=True)
        _check_output(values["output"])
        if not values["resume"]:
            check_overwrite(values["output"])
        if values["resume"]:
            saved = resumable(resume_file(values["output"]), method)
            seed, held = saved.card.get("seed"), saved.card.get("hold_out", 0)
            kept = {"seed": seed, "hold_out": held, **saved.config}
            unsaid = {k for k in values if ctx.get_parameter_source(k) is ParameterSource.DEFAULT}
            values |= {key: kept[key] for key in unsaid & kept.keys()}
        settings = {key: values.pop(key) for key in entries}
        teacher = settings.get("teacher") if settings.get("taught") else None
        if values["begun"] or teacher:
            from st.train.bank.from_engine import load_any

            values["begun"] = load_any(values["begun"]) if values["begun"] else None
            values["teacher"] = load_any(teacher) if teacher else None
        added, source = values.pop("added", ()), values.pop("base", None)
        if added or source:
            values |= _addition(ctx, added, source, values, settings)
        config = make_config(method, settings)
        run = Run(**values)
        if config.steps < method.least_steps and run.base is None:
            console.print(
                f"warning: {config.steps} steps give little more than gray,"
                f" {method.name} needs {method.least_steps} or more"
            )
        _show(
            console,
            method,
            config,
            run,
            lambda: load_vgg(method.vgg_depth, vgg, say=lambda line: console.print(line)),
        )
        say(f"wrote {printable(run.output)}; next: st-export {printable(run.output)}")

    own = config_options(method.config)
    return Command(
        name,
        callback=callback,
        params=[*run_options(method), *own],
        help=f"{method.title}.",
        examples=method.example,
        groups=dict.fromkeys(entries, "Method"),
        writes=True,
    )


def _addition(
    ctx: click.Context,
    added: tuple[str, ...],
    source: str | None,
    values: dict[str, Any],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """The bank and the new styles of --add-style, and how long to train.

    Changes `settings`: what the command line leaves unsaid is as in the bank's own training but for
    smaller steps, as many as the minutes allow. Raises BadInput for half of what it takes.
    """
    from st.train.bank.from_engine import load_any
    from st.train.bank.predicted_style import predicted_bank, predicts
    from st.train.data.pictures import style_files

    if not added or not source:
        raise BadInput("--add-style PICTURE and --from MODEL belong together")
    if values["styles"]:
        raise BadInput("--style trains a new bank: give new styles of --from by --add-style")

    def unsaid(name: str) -> bool:
        return ctx.get_parameter_source(name) is ParameterSource.DEFAULT

    start = None
    if predicts(source) and ctx.info_name == "cin":
        base, start = predicted_bank(source, style_files(added))
    else:
        base = load_any(source)
    minutes = values["minutes"]
    if minutes is None and unsaid("steps"):
        minutes = ADDING_MINUTES
    # A teacher has no painting in the new style.
    config = {key: value for key, value in base.config.items() if key != "teacher"}
    kept = {key: value for key, value in config.items() if key in settings and unsaid(key)}
    settings |= kept | ({"steps": ADDING_STEPS} if unsaid("steps") else {})
    for key, most in ADDING.items():
        if unsaid(key):
            settings[key] = min(settings[key], most)
    return {"base": base, "start": start, "styles": added, "minutes": minutes}


def _check_output(output: Path) -> None:
    """Before hours of training, not after. Raises BadInput."""
    if output.suffix != ".pt" or output.is_dir():
        raise BadInput(f"-o {printable(output)}: give a file name that ends in .pt")
    if not output.parent.is_dir():
        raise BadInput(f"{printable(output.parent)}: no such folder")


def _show(console: Console, method: Any, config: Any, run: Any, load: Any) -> None:
    """Run the trainer under a progress bar; one line every save when there is no terminal."""
    from st.train.loop.trainer import train

    with progress_bars(transient=False) as bar:
        task = bar.add_task(method.name, total=config.steps)
        losses: dict[str, float] = {}
        for progress in train(method, config, run, load):
            losses |= progress.losses
            shown = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
            name, total = f"{method.name}  {shown}", progress.planned
            bar.update(task, completed=progress.step, total=total, description=name)
            if not (console.is_terminal or is_quiet()) and progress.step % run.save_every == 0:
                console.print(f"step {progress.step}/{progress.planned}  {shown}", highlight=False)


class Methods(MethodsGroup):
    """Subcommands made on demand: `st-train --help` works where torch is not installed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        try:
            from st.train.methods import METHODS
        except ModuleNotFoundError:
            raise click.ClickException(str(MissingExtra("training", "train"))) from None
        return list(METHODS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return method_command(cmd_name) if cmd_name in self.list_commands(ctx) else None


main = Methods(
    "st-train",
    help="Train a style network.",
    examples="st-train cin --content photos/ --style paintings/ -o bank.pt",
)
