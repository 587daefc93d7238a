"""A lock file, so that only one training writes a checkpoint."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from st.runtime.errors import BadInput, printable

MAX_NOTE = 400  # characters
LOCK_AT = 1 << 20  # Windows locks bytes: one after the note, which then stays readable
BUSY = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)


@contextlib.contextmanager
def training_lock(output: Path) -> Iterator[None]:
    """Hold NAME.lock beside the checkpoint `output`; the system frees it if the process is killed.

    Does nothing on file systems without locks. Raises BadInput when another process holds it, with
    that process's number and command.
    """
    path = output.with_suffix(".lock")
    file = _open(path)
    try:
        if not _acquired(file):
            file.seek(0)
            holder = printable(file.read(MAX_NOTE).strip() or "another process", MAX_NOTE)
            raise BadInput(f"{printable(output)}: is being trained by {holder}; give another name")
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])
        file.seek(0)
        file.truncate()
        since = time.strftime("%Y-%m-%d %H:%M")
        file.write(f"process {os.getpid()} on {socket.gethostname()} ({command}, since {since})")
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows keeps open files
                path.unlink()
    finally:
        file.close()


def _open(path: Path) -> IO[str]:
    try:
        return path.open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise BadInput(f"{printable(path)}: cannot be written: {why}") from None


def _acquired(file: IO[str]) -> bool:
    """False when another process holds the lock."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(LOCK_AT)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in BUSY
    return True
