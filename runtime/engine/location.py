"""Where an engine lies: a shipped name or a file."""

from __future__ import annotations

from pathlib import Path

from st.engines import find, names
from st.runtime.errors import BadInput, printable


def engine_path(engine: str | Path) -> Path:
    """The file of an engine given by a shipped one's name, or as a file.

    Raises BadInput: a name that no shipped engine has; the message names those there are.
    """
    if isinstance(engine, str) and not set(engine) & set("/\\.\0"):
        found = find(engine)
        if found is None:
            shown = ", ".join(names()) or "none"
            raise BadInput(
                f"no engine {printable(engine, 80)!r}: shipped are {shown}; or give a file"
            )
        return found
    return Path(engine)
