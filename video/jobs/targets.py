"""Output targets: names, links, pipes, and files that are renamed when they are complete."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from st.runtime.errors import BadInput, printable
from st.runtime.system.atomic_files import atomic_write
from st.runtime.system.file_names import fitting_name
from st.video.film import codecs
from st.video.film.image_sequence import is_sequence

_PIPE_POLL = 0.1  # seconds
_NEEDS_SEEKING = ("mp4", "mov")


@dataclass(frozen=True)
class Stream:
    """A pipe or device to write to. container: FFmpeg's name. name: for messages."""

    file: BinaryIO
    container: str = "matroska"
    name: str = "standard output"


Target = Path | Stream


@contextmanager
def open_target(target: Path | BinaryIO, stop: threading.Event) -> Iterator[Target]:
    """The place to write to: links are followed, named pipes and devices are opened.

    Waiting for a named pipe's reader ends when `stop` is set.

    Raises:
        BadInput: a pipe for a container that cannot be written into one.
    """
    if not isinstance(target, Path):
        yield Stream(target)
    elif is_stream(target):
        container = codecs.container_of(target) if target.suffix else "matroska"
        if container in _NEEDS_SEEKING:
            raise BadInput(
                f"{printable(target)}: {container.upper()} cannot be written into a pipe; "
                "use .mkv, .webm or .ts"
            )
        with _open_stream(target, stop) as file:
            yield Stream(file, container, printable(target))
    else:
        yield target.resolve() if target.is_symlink() else target


def is_stream(path: Path) -> bool:
    """Whether something other than a file or folder has this name: a named pipe, a device."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _open_stream(path: Path, stop: threading.Event) -> BinaryIO:
    if not stat.S_ISFIFO(path.stat().st_mode):
        return path.open("wb")
    while True:  # a plain open() would wait for the reader and ignore a stop
        try:
            file = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if stop.wait(_PIPE_POLL):
                raise BadInput(f"{printable(path)}: nothing reads from this pipe") from None
            continue
        os.set_blocking(file, True)
        return os.fdopen(file, "wb")


def is_sequence_target(target: Target) -> bool:
    """Whether the target is for pictures: a folder, or a pattern such as frames/%05d.png."""
    return isinstance(target, Path) and (is_sequence(target) or not target.suffix)


@contextmanager
def writing(source: Path | BinaryIO, target: Target) -> Iterator[Target]:
    """Where to write: for a video, a file beside the target that is renamed at the end.

    Raises:
        BadInput: the target is the source, or has an unknown suffix.
    """
    if not isinstance(target, Path):
        yield target
    elif is_sequence_target(target):
        refuse_same(source, target if target.is_dir() else target.parent)
        yield target
    else:
        codecs.container_of(target)
        refuse_same(source, target)
        with atomic_write(target) as part:
            yield part


def refuse_same(source: Path | BinaryIO, target: Path) -> None:
    """Raises BadInput: output and input are the same file."""
    if not isinstance(source, Path):
        return
    if is_sequence(source) and not source.is_dir():
        source = source.parent
    if source.exists() and target.exists() and source.samefile(target):
        raise BadInput(f"{printable(target)}: is the input; choose another output")


def partial_name(source: Path | BinaryIO, target: Path) -> Path:
    """The name of the output of a stopped job: NAME_partial, but never that of the source."""
    partial = with_suffix_text(target, "_partial")
    if isinstance(source, Path) and partial.exists() and partial.samefile(source):
        partial = with_suffix_text(target, "_partial-2")
    return partial


def with_suffix_text(path: Path, text: str, suffix: str | None = None) -> Path:
    """The path with `text` after its stem; a stem too long for a file name is shortened."""
    return path.with_name(fitting_name(path.stem, text, path.suffix if suffix is None else suffix))


def shown(target: Target) -> str:
    return printable(target, 1000) if isinstance(target, Path) else target.name
