"""The errors that st raises on purpose: a one-line message and an exit code."""

from __future__ import annotations

# The distribution's name on PyPI. `st` on PyPI is an unrelated project, so messages must never tell
# users to install it. The import name and the commands are st.
DISTRIBUTION = "painterly"


class StError(Exception):
    """Base class. The message says what failed and what to do about it."""

    exit_code = 1


class BadInput(StError):
    """An unusable file, name or value from the user."""

    exit_code = 2


class BadEngine(BadInput):
    """A file that is not an engine, or an engine for other inputs."""


class BadControl(BadInput):
    """A setting that this engine does not offer, such as an unknown style."""


class Unavailable(StError):
    """A requested device, provider or camera that is not available."""


class MissingExtra(Unavailable):
    """A library that is not installed, and that an extra of st installs."""

    def __init__(self, what: str, *extras: str) -> None:
        """what: the library. extras: alternatives; "train,export" means that both are needed."""
        commands = " or ".join(f"'{DISTRIBUTION}[{extra}]'" for extra in extras)
        super().__init__(f"{what} needs an extra: pip install {commands}")


class StWarning(UserWarning):
    """Something works, but probably not as the user intends. Commands print it as one line."""


def printable(text: object, limit: int = 200) -> str:
    """Make untrusted text (file names, style names) safe for a terminal.

    Control characters are escaped, so that a name cannot move the cursor or forge a line. Longer
    text is cut to `limit` characters.
    """
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
