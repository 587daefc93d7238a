"""`@command`: a click command whose failures are one line and an exit code."""

from __future__ import annotations

import errno
import functools
import logging
import os
from collections.abc import Callable
from typing import Any

import click

from st.runtime.errors import StError, printable
from st.runtime.system.signals import tidy_end

NO_SUCH_FILE = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)

# Pillow's remarks on damaged files would stand beside our one line.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def fail(message: str, exit_code: int) -> click.ClickException:
    """An exception that click prints as `Error: message` before it exits with the code."""
    error = click.ClickException(message)
    error.exit_code = exit_code  # pyright: ignore[reportAttributeAccessIssue]
    return error


def one_line_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn what can go wrong under `function` into one line; ST_TRACEBACK=1 shows the traceback."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if os.environ.get("ST_TRACEBACK"):
            return function(*args, **kwargs)
        try:
            with tidy_end():
                return function(*args, **kwargs)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except BrokenPipeError:  # the reader has seen enough, as `head` does: click ends silently
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
            kind = type(error).__name__
            line = printable(error, 300)
            raise fail(f"{kind}: {line} (ST_TRACEBACK=1 shows where)", 1) from None

    return guarded


def command(**settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Like click.command, with `-h`, st's one-line errors and unwrapped help examples."""
    settings.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})

    def wrap(function: Callable[..., Any]) -> click.Command:
        return click.command(**settings)(one_line_errors(function))

    return wrap
