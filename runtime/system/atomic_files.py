"""Atomic writes: write to a temporary file in the same folder, then rename it.

So a file with its final name is always complete.
"""

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

MAX_SUFFIX = 32  # bytes; a longer "suffix" is part of the name
_NO_FSYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # some network file systems


@contextmanager
def atomic_write(final: Path, fsync: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the folder of `final`, and rename it to `final` on success.

    On any exception the temporary file is removed and an existing `final` is left unchanged. The
    temporary file has the suffix of `final`, because writers choose the format by it. A symbolic
    link is kept, and its target is replaced. A special file, such as a named pipe or /dev/stdout,
    is never replaced: the complete file is copied into it.

    fsync: flush the file to the disk before it is renamed (see `durable_rename`). Pass False for
        thousands of files, where a power failure may leave the last ones empty.

    Raises:
        BadInput: the folder does not exist, or `final` is a folder.
    """
    if not final.parent.is_dir():
        raise BadInput(f"{printable(final.parent)}: no such folder")
    if final.is_dir():
        raise BadInput(f"{printable(final)}: is a folder, give a file name")
    if final.is_symlink():
        final = _end_of_link(final)
    special = final.exists() and not final.is_file()
    suffix = final.suffix if len(os.fsencode(final.suffix)) <= MAX_SUFFIX else ""
    handle, name = tempfile.mkstemp(
        prefix=f".{short_stem(final.stem)}-",
        suffix=f".part{suffix}",
        dir=None if special else final.parent,
    )
    os.close(handle)
    part = Path(name)
    try:
        yield part
        if special:
            with part.open("rb") as source, final.open("wb") as target:
                shutil.copyfileobj(source, target)
        elif fsync:
            durable_rename(part, final)
        else:
            part.chmod(0o666 & ~_umask())
            part.replace(final)
    except OSError as error:
        if type(error) is OSError and error.filename is None:  # write(2), fsync(2) name no file
            error.filename = str(final)
        raise
    finally:
        part.unlink(missing_ok=True)


def _end_of_link(link: Path) -> Path:
    """The target of a symbolic link, which need not exist. Raises BadInput."""
    final = Path(os.path.realpath(link))
    if final.is_symlink():
        raise BadInput(f"{printable(link)}: a symbolic link that leads in a circle")
    if not final.parent.is_dir():
        raise BadInput(f"{printable(link)}: a symbolic link into a folder that does not exist")
    return final


def short_stem(stem: str) -> str:
    """The start of a name, at most 40 characters and 120 bytes, to build a temporary name from."""
    short = stem[:40]
    while len(os.fsencode(short)) > 120:
        short = short[:-1]
    return short


def durable_rename(complete: Path, final: Path) -> None:
    """Flush a complete file to the disk, then rename it, replacing an existing file.

    Without the flush the system may write the name first and the contents seconds later, and a
    power failure in between leaves an empty file where a good one was. Raises OSError: the disk
    failed.
    """
    with complete.open("rb+") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _NO_FSYNC:
                raise
    complete.chmod(0o666 & ~_umask())
    complete.replace(final)
    with suppress(OSError):  # Windows cannot open folders; some file systems cannot sync them
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def atomic_folder(final: Path, ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield a new folder beside `final` to fill, and rename it to `final` on success.

    An existing folder is replaced only if it is empty or `ours` returns True for it. On any
    exception the new folder is removed and an existing one is left unchanged.

    Raises:
        BadInput: the parent folder does not exist, or the path is taken by something else.
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
    new = Path(
        tempfile.mkdtemp(prefix=f".{short_stem(final.name)}-", suffix=".part", dir=final.parent)
    )
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
    """The folder of downloaded and compiled files, created if missing: $ST_CACHE or ~/.cache/st."""
    folder = Path(os.environ.get("ST_CACHE", Path.home() / ".cache" / "st"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def check_no_pipe(path: Path, name: str) -> None:
    """Refuse a named pipe: opening one that nobody writes to blocks forever.

    Pipes of the shell (`<(command)`, /dev/stdin) have a writer and are accepted.

    Raises:
        BadInput: the path is a named pipe.
        OSError: the path does not exist or is not accessible.
    """
    if stat.S_ISFIFO(path.stat().st_mode) and path.parts[:2] not in (("/", "dev"), ("/", "proc")):
        raise BadInput(f"{name}: a pipe, give it as standard input instead: - < PIPE")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
