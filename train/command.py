"""`st-train METHOD`: one subcommand per method."""

from __future__ import annotations

import dataclasses
from typing import Any

import click
from click.core import ParameterSource

from st.runtime.cli.base import Command, MethodsGroup, check_overwrite, is_quiet, one_line_errors
from st.runtime.cli.progress import progress_bars
from st.runtime.errors import BadInput, MissingExtra, StError, printable
from st.runtime.system.signals import quick_interrupt
from st.train.early_checks import check_arguments, check_output, method_names
from st.train.loop.processes import is_main_process
from st.train.options import ADDING_MINUTES, config_options, option_groups

ADDING_STEPS = 100_000  # upper limit when a style is added; the minutes end it earlier
ADDING = {"size": 128, "batch": 2}  # upper limits: one style's parameters need steps, not pixels
SHOWN = 5  # maximum number of unreadable pictures that are named while training


def method_command(name: str) -> click.Command:
    """The subcommand of a method. Imports torch."""
    from st.train.methods import METHODS

    method = METHODS[name]

    @click.pass_context
    @one_line_errors
    def callback(ctx: click.Context, **values: Any) -> None:
        try:
            _train(ctx, method, values)
        except StError as error:
            if is_main_process():
                raise
            raise SystemExit(error.exit_code) from None

    groups = option_groups(bool(method.bank), method.temporal)
    groups["Method"] = config_options(method.config)
    return Command(
        name,
        callback=callback,
        params=[option for options in groups.values() for option in options],
        help=f"{method.title}.",
        examples=method.example,
        groups={option.name or "": title for title, group in groups.items() for option in group},
        writes=True,
    )


def _train(ctx: click.Context, method: Any, values: dict[str, Any]) -> None:
    """Run a training. values: of all options of the command."""
    from st.train.bank.from_engine import load_any
    from st.train.bank.teacher import open_teacher
    from st.train.checkpoint import make_config
    from st.train.features import open_network
    from st.train.loop.resume import resumable
    from st.train.loop.run import Run, resume_file

    check_output(values["output"], values["resume"])
    if not values["resume"]:
        check_overwrite(values["output"])
    if values["minutes"] and values["pause_after"]:
        raise BadInput("--minutes finishes a training and --pause-after does not: give one of them")
    saved = resumable(resume_file(values["output"]), method) if values["resume"] else None
    if saved is not None:
        _keep_settings(ctx, saved, values)
    vgg = values.pop("vgg")
    settings = {field.name: values.pop(field.name) for field in dataclasses.fields(method.config)}
    settings = {key: value for key, value in settings.items() if value not in (None, ())}
    teacher = settings.get("teacher") if settings.get("taught") else None
    values["initial"] = load_any(values["initial"]) if values["initial"] else None
    values["teacher"] = open_teacher(teacher) if teacher else None
    added, source = values.pop("added", ()), values.pop("base", None)
    if added or source:
        values |= _addition(ctx, added, source, values, settings)
    config = make_config(method, settings)
    run, network = Run(**values), method.loss_network(config)
    if vgg is not None and network != "vgg16":
        raise BadInput(f"--vgg is for vgg16, and this training uses {network}")
    if not run.content and run.base is None and not method.style_only(config):
        raise BadInput("no photographs given: use --content FOLDER")
    if not run.styles and not method.content_only:
        raise BadInput("no style pictures given: use --style FILE or --style FOLDER")
    _announce(method, config, run, saved)
    paused = _show(method, config, run, lambda: open_network(network, vgg, say=say))
    output, state = printable(run.output), printable(run.resume_file)
    if paused:
        say(f"paused: {state} is saved; to continue, add --resume to the same command")
    else:
        say(f"wrote {output}; next: st-export {output}")


def warn(line: str) -> None:
    """Print a line on standard error, in one of the processes that train together."""
    if is_main_process():
        click.echo(line, err=True)


def say(line: str) -> None:
    """Print a line about the progress or the result, unless --quiet."""
    if not is_quiet():
        warn(line)


def _keep_settings(ctx: click.Context, saved: Any, values: dict[str, Any]) -> None:
    """Replace defaults in `values` by the settings of the saved training."""
    kept = {key: saved.card.get(key, 0) for key in ("seed", "hold_out", "average")}
    kept |= saved.config
    unset = {k for k in values if ctx.get_parameter_source(k) is ParameterSource.DEFAULT}
    values |= {key: kept[key] for key in unset & kept.keys()}


def _announce(method: Any, config: Any, run: Any, saved: Any) -> None:
    """Warn of what the user may not expect, before hours of training."""
    from st.train.data.files import content_files, named_styles
    from st.train.loop.card import content_text
    from st.train.loop.resume import differences

    if method.styles != "any":
        named_styles(run.styles, lambda line: warn(f"warning: {line}"))
    if saved is not None:
        now = {"seed": run.seed, "hold_out": run.hold_out, "average": run.average}
        if run.content and not method.style_only(config):
            count = len(content_files(run.content, run.hold_out))
            now["content"] = content_text(run.content, count)
        for line in differences(saved, config, now):
            warn(f"resumed with changed {line}")
    if config.steps < method.min_steps and run.base is None:
        warn(
            f"warning: {config.steps} steps give little more than gray,"
            f" {method.name} needs {method.min_steps} or more"
        )


def _addition(
    ctx: click.Context,
    added: tuple[str, ...],
    source: str | None,
    values: dict[str, Any],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """The bank and the new styles of --add-style, and how long to train.

    Changes `settings`: those not given are taken from the bank, with smaller crops and batches,
    and as many steps as the minutes allow. Raises BadInput when options are missing or contradict.
    """
    from st.train.bank.from_engine import load_any
    from st.train.bank.predicted_style import predicted_bank, predicts
    from st.train.data.files import style_files

    if not added or not source:
        raise BadInput("--add-style PICTURE and --from MODEL belong together")
    if values["styles"]:
        raise BadInput("--style trains a new network; styles for --from are given by --add-style")

    def unset(name: str) -> bool:
        return ctx.get_parameter_source(name) is ParameterSource.DEFAULT

    start = None
    if ctx.info_name == "cin" and predicts(source):
        base, start = predicted_bank(source, style_files(added))
    else:
        base = load_any(source)
    minutes = values["minutes"]
    if minutes is None and unset("steps") and values["pause_after"] is None:
        minutes = ADDING_MINUTES
    # A teacher has no picture in the new style. The bank's layers and weights are those of its loss
    # network, and do not suit another.
    dropped = {"teacher"} if unset("loss_network") else {"teacher", *_of_loss_network(base.method)}
    config = {key: value for key, value in base.config.items() if key not in dropped}
    settings |= {key: value for key, value in config.items() if unset(key)}
    settings |= {"steps": ADDING_STEPS} if unset("steps") else {}
    for key, most in ADDING.items():
        if unset(key):
            settings[key] = min(settings[key], most)
    return {"base": base, "start": start, "styles": added, "minutes": minutes}


def _of_loss_network(name: str) -> set[str]:
    """The settings of a method whose defaults depend on the loss network."""
    from st.train.methods import METHODS

    entries = dataclasses.fields(METHODS[name].config) if name in METHODS else ()
    return {entry.name for entry in entries if entry.metadata["by_network"]}


def _show(method: Any, config: Any, run: Any, load: Any) -> bool:
    """Run the trainer under a progress bar, or without a terminal with one line per saved state.

    Returns whether it was paused.
    """
    from st.train.loop.trainer import train

    losses: dict[str, float] = {}
    unreadable, paused = 0, False
    with progress_bars(transient=False) as bar:
        bar.disable |= not is_main_process()
        task = bar.add_task(method.name, total=config.steps)
        for progress in train(method, config, run, load):
            for problem in progress.unreadable:
                unreadable += 1
                if unreadable <= SHOWN:
                    warn(f"left out: {problem}")
            losses |= progress.losses
            shown = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
            name, total = f"{method.name}  {shown}", progress.planned
            bar.update(task, completed=progress.step, total=total, description=name)
            if not bar.console.is_terminal and progress.step % run.save_every == 0:
                say(f"step {progress.step}/{progress.planned}  {shown}")
            paused = progress.paused
    if unreadable:
        warn(f"{unreadable} pictures could not be read and were left out")
    return paused


class Methods(MethodsGroup):
    """Subcommands created on demand, so that `st-train --help` works without torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        try:
            with quick_interrupt():
                from st.train.methods import METHODS
        except ModuleNotFoundError:
            raise click.ClickException(str(MissingExtra("training", "train"))) from None
        return list(METHODS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in method_names() or cmd_name not in self.list_commands(ctx):
            return None
        with quick_interrupt():  # the trainer's imports take a second or two more
            import st.train.loop.trainer  # noqa: F401
        return method_command(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve the subcommand, after the checks that need no torch."""
        if args and args[0] in method_names() and not {"-h", "--help"} & set(args):
            one_line_errors(check_arguments)(args[1:])
        return super().resolve_command(ctx, args)


main = Methods(
    "st-train",
    help="Train a style network.",
    examples="st-train cin --content photos/ --style paintings/ -o bank.pt",
)
