"""Shared parts of all commands: their click class, common options, and one-line errors."""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from st.runtime.errors import BadInput, StError, StWarning, printable
from st.runtime.pictures.resize import parse_size
from st.runtime.system.signals import tidy_end
from st.runtime.system.version import version

NO_SUCH_FILE = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
CONTEXT = {"help_option_names": ["-h", "--help"]}
GENERAL = "General"
QUIET, NO_OVERWRITE = "st.quiet", "st.no_overwrite"  # keys of click's Context.meta
COMMON = frozenset(("--version", "--quiet", "--no-overwrite", "--help"))
_GROUPS = "__st_option_groups__"
# Shown for numbers by default, instead of click's "INTEGER RANGE".
NUMBERS = {"integer": "N", "integer range": "N", "float": "X", "float range": "X"}

# Pillow logs messages about damaged files, which would appear besides our one line.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class Command(click.Command):
    """A click command that prints its examples first and its options in named groups.

    It adds --version and --quiet, and --no-overwrite where the command writes files.

    examples: command lines, shown as they are.
    groups: {parameter name: title of its group}; titles appear in the order of the parameters.
    writes: whether the command writes files.
    """

    def __init__(
        self,
        *args: Any,
        examples: str = "",
        groups: Mapping[str, str] | None = None,
        writes: bool = False,
        **settings: Any,
    ) -> None:
        settings.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **settings)
        self.examples = examples
        self.groups = dict(groups or {})
        self.params += common_options(writes)
        for parameter in self.params:
            if isinstance(parameter, click.Option) and parameter.metavar is None:
                parameter.metavar = NUMBERS.get(parameter.type.name)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        format_text(self.help or "", self.examples, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                usual = GENERAL if COMMON & set(parameter.opts) else "Options"
                title = self.groups.get(parameter.name or "", usual)
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


class Group(click.Group):
    """A click group with --version and --quiet that prints its examples first."""

    command_class = Command

    def __init__(self, *args: Any, examples: str = "", **settings: Any) -> None:
        settings.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **settings)
        self.examples = examples
        self.params += common_options(writes=False)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        format_text(self.help or "", self.examples, formatter)


class MethodsGroup(Group):
    """A group whose commands need an extra: its own help works without it."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        try:
            super().format_commands(ctx, formatter)
        except click.ClickException as error:
            with formatter.section("Methods"):
                formatter.write_text(error.message)


def format_text(text: str, examples: str, formatter: click.HelpFormatter) -> None:
    """Write the first paragraph of a help text, the examples, and the other paragraphs."""
    first, _, rest = inspect.cleandoc(text).partition("\n\n")
    parts = [first, f"\b\nExamples:\n{indented(examples)}" if examples.strip() else "", rest]
    for part in filter(None, parts):
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(part)


def indented(lines: str) -> str:
    return "\n".join(f"  {line.strip()}" for line in lines.strip().splitlines())


def common_options(writes: bool) -> list[click.Option]:
    """--version, --quiet and, for commands that write files, --no-overwrite.

    Their values are not passed to the command: `is_quiet` and `check_overwrite` read them.
    """

    def keep(key: str) -> Callable[[click.Context, click.Parameter, bool], None]:
        def callback(context: click.Context, _: click.Parameter, value: bool) -> None:
            if value:
                context.meta[key] = True

        return callback

    def flag(*names: str, **settings: Any) -> click.Option:
        return click.Option(names, is_flag=True, expose_value=False, is_eager=True, **settings)

    overwrite = flag(
        "--no-overwrite",
        callback=keep(NO_OVERWRITE),
        help="Leave existing files as they are instead of replacing them.",
    )
    return [
        *([overwrite] if writes else []),
        flag("--quiet", callback=keep(QUIET), help="Print only results, warnings and errors."),
        flag("--version", callback=_print_version, help="Print the version and exit."),
    ]


def _print_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        click.echo(f"{context.find_root().info_name} {version()}")
        context.exit()


def is_quiet() -> bool:
    """Whether the running command was given --quiet."""
    return _flag(QUIET)


def keeps(target: Path) -> bool:
    """Whether `target` exists and --no-overwrite protects it."""
    return _flag(NO_OVERWRITE) and os.path.lexists(target)


class KeptError(BadInput):
    """The output exists already, and --no-overwrite protects it."""


def check_overwrite(target: Path) -> None:
    """Raises KeptError when --no-overwrite protects `target`."""
    if keeps(target):
        raise KeptError(f"{printable(target)}: exists already, and --no-overwrite keeps it")


def _flag(key: str) -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and context.meta.get(key, False)


def say(line: str) -> None:
    """Print a line about the progress or the result on standard error, unless --quiet."""
    if not is_quiet():
        click.echo(line, err=True)


def option_group(
    title: str, *options: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command's function with options that --help lists under `title`."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        before = len(getattr(function, "__click_params__", ()))
        for option in reversed(options):
            function = option(function)
        added = getattr(function, "__click_params__", [])[before:]
        groups = dict(getattr(function, _GROUPS, {}))
        setattr(function, _GROUPS, groups | {parameter.name: title for parameter in added})
        return function

    return add


def command(**settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a `Command` of a function; its failures become one line and an exit code.

    settings: those of `Command`. Groups come from `option_group`.
    """

    def wrap(function: Callable[..., Any]) -> Command:
        groups = {**getattr(function, _GROUPS, {}), **settings.pop("groups", {})}
        return click.command(cls=Command, groups=groups, **settings)(one_line_errors(function))

    return wrap


def fail(message: str, exit_code: int) -> click.ClickException:
    """An exception that click prints as `Error: message` before it exits with the code."""
    error = click.ClickException(message)
    error.exit_code = exit_code  # pyright: ignore[reportAttributeAccessIssue]
    return error


@contextlib.contextmanager
def for_option(name: str, kind: type[StError] = StError) -> Iterator[None]:
    """Prefix the messages of library errors, which name no options, with an option's name.

    kind: the errors that are about the option's value; others pass unchanged.
    """
    try:
        yield
    except kind as error:
        error.args = (f"{name}: {error}",)
        raise


def one_line_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Print exceptions of `function` as one line; with ST_TRACEBACK=1 they show a traceback."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if os.environ.get("ST_TRACEBACK"):
            return function(*args, **kwargs)
        try:
            with tidy_end(), _warnings_as_lines():
                return function(*args, **kwargs)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except BrokenPipeError:  # the reader, such as `head`, has closed it: click ends silently
            raise
        except StError as error:
            raise fail(printable(error, 1000), error.exit_code) from None
        except OSError as error:
            where = f"{printable(error.filename)}: " if error.filename else ""
            why = error.strerror or type(error).__name__
            raise fail(f"{where}{why}", 2 if error.errno in NO_SUCH_FILE else 1) from None
        except MemoryError:
            raise fail("out of memory: try a smaller picture or size", 1) from None
        except Exception as error:
            if _interrupted(error):
                raise click.Abort from None
            kind = type(error).__name__
            line = printable(error, 300)
            raise fail(f"{kind}: {line} (ST_TRACEBACK=1 shows where)", 1) from None

    return guarded


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C caused an error: extension modules turn it into an ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Print an StWarning as "Warning: message" on standard error, others as Python does."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", StWarning)
        others = warnings.showwarning

        def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, StWarning):
                click.echo(f"Warning: {printable(message, 400)}", err=True)
            else:
                others(message, category, *where, **more)

        warnings.showwarning = show
        yield


def missing(what: str) -> click.UsageError:
    """The error for an argument that is required unless another option takes its place."""
    return click.UsageError(f"Missing argument '{what}'.")


def print_table(table: Table) -> None:
    """Print a table on standard output, unwrapped if that is not a terminal."""
    width = None if sys.stdout.isatty() else 400
    Console(width=width, markup=False, emoji=False, highlight=False).print(table)


class SizeType(click.ParamType):
    """WIDTHxHEIGHT on the command line, (height, width) in the program."""

    name = "WxH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        try:
            return parse_size(str(value))
        except BadInput as error:
            option = f"{param.opts[-1]} " if param else ""
            raise fail(f"{option}{error}", 2) from None

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.name


SIZE = SizeType()


def names_completion(
    names: Callable[[], Sequence[str]],
) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Shell completion of an option from names that are read on demand."""

    def complete(_context: click.Context, _parameter: click.Parameter, start: str) -> list[str]:
        return [name for name in names() if name.startswith(start)]

    return complete
