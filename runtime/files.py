"""Write beside, then rename: a file under its final name is always a whole one."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from st.runtime.errors import BadInput, printable


@contextmanager
def write_beside(final: Path) -> Iterator[Path]:
    """Give a path in `final`'s folder to write to; rename it to `final` on success.

    On any exception the partial file is removed and what stood under `final` is untouched.
    The partial file keeps `final`'s suffix, since writers choose the format by it.

    Raises:
        BadInput: the folder does not exist, or `final` is a folder.
    """
    if not final.parent.is_dir():
        raise BadInput(f"{printable(final.parent)}: no such folder")
    if final.is_dir():
        raise BadInput(f"{printable(final)}: is a folder, give a file name")
    handle, name = tempfile.mkstemp(
        prefix=f".{final.stem[:40]}-", suffix=f".part{final.suffix}", dir=final.parent
    )
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())
        part.replace(final)
    finally:
        part.unlink(missing_ok=True)


def check_no_pipe(path: Path, name: str) -> None:
    """Refuse a named pipe, which nobody may ever write to: opening it could wait for ever.

    The shell's own (`<(command)`, /dev/stdin) have their writer and are taken.

    Raises:
        BadInput: it is one. OSError: nothing there, or no right to look.
    """
    if stat.S_ISFIFO(path.stat().st_mode) and path.parts[:2] not in (("/", "dev"), ("/", "proc")):
        raise BadInput(f"{name}: a pipe, give it as standard input instead: - < PIPE")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
