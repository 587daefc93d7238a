"""Expand a command's picture arguments to jobs: the pictures, and where each result is written."""

from __future__ import annotations

import glob
import os
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from st.runtime.errors import BadInput, StError, printable
from st.runtime.pictures.addresses import check_local
from st.runtime.pictures.io import FORMATS, READ_ONLY_SUFFIXES, WRITTEN_SUFFIXES, format_of
from st.runtime.system.file_names import fitting_name, free_name

STREAM = "-"
READ_SUFFIXES = {*WRITTEN_SUFFIXES, *READ_ONLY_SUFFIXES}
# Picture formats that st cannot read.
UNREAD_SUFFIXES = {".heic", ".heif", ".hif", ".jxl", ".jxr", ".dng", ".cr2", ".cr3", ".nef"}
UNREAD_SUFFIXES |= {".arw", ".orf", ".rw2", ".raf", ".psd", ".xcf", ".svg", ".exr", ".tga"}


@dataclass(frozen=True)
class Job:
    """One picture to paint. A path of None stands for standard input or output."""

    source: Path | None
    target: Path | None
    format: str

    @property
    def name(self) -> str:
        """The picture in messages."""
        return printable(self.source) if self.source else "standard input"

    @property
    def path(self) -> str:
        """The picture in JSON."""
        return str(self.source) if self.source else STREAM


@dataclass(frozen=True)
class _Source:
    path: Path | None
    folder: Path | None = None  # the folder that was given as an argument, if it was found there


def plan(
    arguments: Sequence[str], output: str | None, format: str | None, ending: str = "stylized"
) -> list[Job]:
    """Turn the arguments of a command into jobs, in order. No picture is opened.

    arguments: files, folders (their pictures, without subfolders), globs, or "-".
    output: a file, a folder, "-", or None for `NAME_{ending}.EXT` beside the picture and
        `FOLDER_{ending}` for a folder.
    format: a key of FORMATS, or None for the format of the picture, PNG where st cannot write it.

    No result gets the name of an input or of another result: `-2`, `-3`, … is added to its stem.

    Raises:
        BadInput: there is nothing to do, the output is an input, a file for several pictures, or
            of another format.
    """
    sources = _sources(arguments)
    many = len(sources) > 1 or any(source.folder for source in sources)
    if output == STREAM or (output is None and sources[0].path is None):
        if many:
            raise BadInput("standard output takes one picture; give a folder for several")
        return [Job(sources[0].path, None, format or "png")]
    if output is not None and not many and not _means_folder(output):
        return [_job_to_file(sources[0].path, Path(output), format)]
    if output is not None and _means_file(output):
        raise BadInput(f"{printable(output)}: is a file; give a folder for several pictures")
    taken = {real_path(source.path) for source in sources if source.path}
    jobs = []
    for source in sources:
        target, form = _target(source, Path(output) if output else None, format, ending)
        target = free_name(target, lambda path: real_path(path) in taken)
        taken.add(real_path(target))
        jobs.append(Job(source.path, target, form))
    return jobs


def pictures_in(folder: Path) -> list[Path]:
    """The pictures directly in a folder, by suffix, sorted, without hidden files."""
    return sorted(path for path in folder.iterdir() if _looks_like_picture(path))


def unread_in(folder: Path) -> list[Path]:
    """The pictures directly in a folder that are of formats st cannot read, by suffix, sorted."""
    return sorted(path for path in folder.iterdir() if _looks_like_picture(path, UNREAD_SUFFIXES))


def make_folder(folder: Path) -> None:
    """Create a folder for results. Raises BadInput where a file has its name, StError otherwise."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BadInput(f"{printable(folder)}: is not a folder") from None
    except OSError as error:
        raise StError(f"{printable(folder)}: cannot be created: {error.strerror}") from None


def _looks_like_picture(path: Path, suffixes: Container[str] = READ_SUFFIXES) -> bool:
    shown = not path.name.startswith(".") and path.suffix.lower() in suffixes
    return shown and path.is_file()


def _sources(arguments: Sequence[str]) -> list[_Source]:
    sources: dict[Path | None, _Source] = {}
    for source in (s for argument in arguments for s in _expanded(argument)):
        sources.setdefault(real_path(source.path) if source.path else None, source)
    if None in sources and len(sources) > 1:
        raise BadInput("- (standard input) cannot be mixed with other pictures")
    return list(sources.values())


def _expanded(argument: str) -> Iterable[_Source]:
    if argument == STREAM:
        return [_Source(None)]
    check_local(argument)
    if "\0" in argument:
        raise BadInput(f"{printable(argument)}: no such file")
    path = Path(argument)
    if path.is_dir():
        if found := pictures_in(path):
            return [_Source(picture, path) for picture in found]
        raise BadInput(f"{printable(argument)}: no pictures in this folder{_only_unread(path)}")
    if glob.has_magic(argument) and not path.exists():
        names = glob.glob(argument, recursive=True)  # noqa: PTH207 - takes absolute patterns too
        matches = sorted(Path(name) for name in names)
        if found := [match for match in matches if _looks_like_picture(match)]:
            return [_Source(picture) for picture in found]
        raise BadInput(f"{printable(argument)}: no picture matches")
    return [_Source(path)]  # a missing file is reported when it is its turn


def _only_unread(folder: Path) -> str:
    unread = unread_in(folder)
    return f" that st can read; it holds {printable(unread[0].name, 60)}" if unread else ""


def _means_folder(output: str) -> bool:
    return output.endswith(("/", os.sep)) or Path(output).is_dir()


def _means_file(output: str) -> bool:
    """Whether it is a file already, or is named as a new picture."""
    if _means_folder(output):
        return False
    return Path(output).exists() or Path(output).suffix.lower() in READ_SUFFIXES


def _job_to_file(source: Path | None, target: Path, format: str | None) -> Job:
    form = format_of(target)
    if format and format != form:
        raise BadInput(f"{printable(target)}: the suffix and the format {format} disagree")
    if source and source.exists() and target.exists() and source.samefile(target):
        raise BadInput(f"{printable(target)}: is the input; choose another output")
    return Job(source, target, form)


def _target(
    source: _Source, output: Path | None, format: str | None, ending: str
) -> tuple[Path, str]:
    path = source.path or Path("stdin")
    form = format or WRITTEN_SUFFIXES.get(path.suffix.lower(), "png")
    suffix = (
        path.suffix if path.suffix.lower() in FORMATS[form].suffixes else FORMATS[form].suffixes[0]
    )
    marked = fitting_name(path.stem, f"_{ending}", suffix)
    if output is None and source.folder is None:
        return path.parent / marked, form
    if output is None and source.folder is not None:
        named = source.folder.name not in ("", "..")  # "." and ".." have no name of their own
        folder = source.folder if named else real_path(source.folder)
        output = folder.parent / f"{folder.name}_{ending}"
    assert output is not None
    own = source.path is not None and real_path(output) == real_path(source.path.parent)
    return output / (marked if own else fitting_name(path.stem, "", suffix)), form


def real_path(path: Path) -> Path:
    """Path.resolve that does not fail on circular links."""
    return Path(os.path.realpath(path))
