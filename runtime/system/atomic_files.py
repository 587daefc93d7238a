"""Write beside, then rename: a file under its final name is always a whole one."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from st.runtime.errors import BadInput, printable

_CANNOT_SETTLE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # some file systems of networks


@contextmanager
def write_beside(final: Path, settled: bool = True) -> Iterator[Path]:
    """Give a path in `final`'s folder to write to; rename it to `final` on success.

    On any exception the partial file is removed and what stood under `final` is untouched.
    The partial file keeps `final`'s suffix, since writers choose the format by it.

    settled: the disk has it before it gets its name (see `put`). False for files by the thousand,
        of which a power cut may leave the last ones empty.

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
        if settled:
            put(part, final)
        else:
            part.chmod(0o666 & ~_umask())
            part.replace(final)
    except OSError as error:
        if type(error) is OSError and error.filename is None:  # as write(2) and fsync(2) fail
            error.filename = str(final)
        raise
    finally:
        part.unlink(missing_ok=True)


def put(whole: Path, final: Path) -> None:
    """Give a whole file its name, over what stands there, once the disk has it.

    Else the system may write the name first and the contents seconds later: a power cut between
    them leaves an empty file where a good one was. Raises OSError: the disk failed.
    """
    with whole.open("rb+") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _CANNOT_SETTLE:
                raise
    whole.chmod(0o666 & ~_umask())
    whole.replace(final)
    with suppress(OSError):  # Windows opens no folders, some networks settle none
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def write_folder_beside(final: Path, ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Give a new folder beside `final` to fill; it takes the name `final` on success.

    What stood there is replaced only if it is an empty folder or `ours` says so. On any exception
    the new folder is removed and what stood under `final` is untouched.

    Raises:
        BadInput: the folder around it does not exist, or something else stands there.
    """
    final = Path(os.path.abspath(final))  # noqa: PTH100 - resolve() would follow a link
    name = printable(final)
    if not final.parent.is_dir():
        raise BadInput(f"{printable(final.parent)}: no such folder")
    taken = final.is_symlink() or final.exists()
    if taken and (final.is_symlink() or not final.is_dir()):
        raise BadInput(f"{name}: there is a file of this name, give a folder")
    if taken and any(final.iterdir()) and not ours(final):
        raise BadInput(f"{name}: holds other files, give a new folder or an empty one")
    new = Path(tempfile.mkdtemp(prefix=f".{final.name[:40]}-", suffix=".part", dir=final.parent))
    old = new.with_suffix(".old")
    try:
        yield new
        new.chmod(0o777 & ~_umask())
        if taken:
            final.rename(old)
        try:
            new.rename(final)
        except OSError:
            if taken:
                old.rename(final)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def cache_folder() -> Path:
    """Where fetched files are kept; made if it is not there."""
    folder = Path(os.environ.get("ST_CACHE", Path.home() / ".cache" / "st"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
