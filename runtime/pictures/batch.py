"""Which pictures a command was given, and where each result goes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from st.runtime.errors import BadInput, StError, printable
from st.runtime.pictures.io import FORMATS, READ_ONLY_SUFFIXES, WRITTEN_SUFFIXES, format_of

STREAM = "-"
READ_SUFFIXES = {*WRITTEN_SUFFIXES, *READ_ONLY_SUFFIXES}


@dataclass(frozen=True)
class Job:
    """One picture to paint. A path of None is standard input or output."""

    source: Path | None
    target: Path | None
    format: str

    @property
    def name(self) -> str:
        return printable(self.source) if self.source else "standard input"


@dataclass(frozen=True)
class _Source:
    path: Path | None
    folder: Path | None = None  # the argument it came from, when that was a folder


def plan(
    arguments: Sequence[str], output: str | None, format: str | None, ending: str = "stylized"
) -> list[Job]:
    """Turn a command's arguments into jobs, in order; no picture is opened.

    arguments: files, folders (their pictures, not those of folders within), globs, or "-".
    output: a file, a folder, "-", or None: `NAME_{ending}.EXT` beside the picture, and a folder
        `FOLDER_{ending}` for a folder.
    format: a key of FORMATS, or None for the picture's own (PNG where st cannot write that).

    No result takes the name of an input or of another result: later ones get `-2`, `-3`, ….

    Raises:
        BadInput: nothing to do, or an output that is an input, a wrong format, or no folder.
    """
    sources = _sources(arguments)
    many = len(sources) > 1 or any(source.folder for source in sources)
    if output == STREAM or (output is None and sources[0].path is None):
        if many:
            raise BadInput("-o - takes one picture: give a folder for several")
        return [Job(sources[0].path, None, format or "png")]
    if output is not None and not many and not _means_folder(output):
        return [_job_to_file(sources[0].path, Path(output), format)]
    if output is not None and Path(output).exists() and not Path(output).is_dir():
        raise BadInput(f"{printable(output)}: is a file, several pictures need a folder")
    taken = {real_path(source.path) for source in sources if source.path}
    jobs = []
    for source in sources:
        target, form = _target(source, Path(output) if output else None, format, ending)
        target = free_name(target, taken)
        jobs.append(Job(source.path, target, form))
    return jobs


def pictures_in(folder: Path) -> list[Path]:
    """The pictures directly in a folder, by their suffix, sorted; hidden files are left out."""
    return sorted(path for path in folder.iterdir() if _looks_like_picture(path))


def make_folder(folder: Path) -> None:
    """Create a folder for results. Raises BadInput when a file is in the way, StError otherwise."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BadInput(f"{printable(folder)}: is no folder to write to") from None
    except OSError as error:
        raise StError(f"{printable(folder)}: cannot be made: {error.strerror}") from None


def _looks_like_picture(path: Path) -> bool:
    shown = not path.name.startswith(".") and path.suffix.lower() in READ_SUFFIXES
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
    if "\0" in argument:
        raise BadInput(f"{printable(argument)}: no such file")
    path = Path(argument)
    if path.is_dir():
        if found := pictures_in(path):
            return [_Source(picture, path) for picture in found]
        raise BadInput(f"{printable(argument)}: no pictures in this folder")
    if glob.has_magic(argument) and not path.exists():
        names = glob.glob(argument, recursive=True)  # noqa: PTH207 - takes absolute patterns too
        matches = sorted(Path(name) for name in names)
        if found := [match for match in matches if _looks_like_picture(match)]:
            return [_Source(picture) for picture in found]
        raise BadInput(f"{printable(argument)}: no picture matches")
    return [_Source(path)]  # a missing one is said when its turn comes


def _means_folder(output: str) -> bool:
    return output.endswith(("/", os.sep)) or Path(output).is_dir()


def _job_to_file(source: Path | None, target: Path, format: str | None) -> Job:
    form = format_of(target)
    if format and format != form:
        raise BadInput(f"-o {printable(target)} and --format {format} disagree: drop one")
    if source and source.exists() and target.exists() and source.samefile(target):
        raise BadInput(f"{printable(target)}: is the input, choose another output")
    return Job(source, target, form)


def _target(
    source: _Source, output: Path | None, format: str | None, ending: str
) -> tuple[Path, str]:
    path = source.path or Path("stdin")
    form = format or WRITTEN_SUFFIXES.get(path.suffix.lower(), "png")
    suffix = (
        path.suffix if path.suffix.lower() in FORMATS[form].suffixes else FORMATS[form].suffixes[0]
    )
    marked = f"{path.stem}_{ending}{suffix}"
    if output is None and source.folder is None:
        return path.parent / marked, form
    if output is None and source.folder is not None:
        named = source.folder.name not in ("", "..")  # "." and ".." have no name of their own
        folder = source.folder if named else real_path(source.folder)
        output = folder.parent / f"{folder.name}_{ending}"
    assert output is not None
    own = source.path is not None and real_path(output) == real_path(source.path.parent)
    return output / (marked if own else f"{path.stem}{suffix}"), form


def free_name(target: Path, taken: set[Path]) -> Path:
    """`target`, or with -2, -3, … behind its stem where that is taken; then it is taken too.

    taken: real paths of the inputs and of the results so far.
    """
    free, number = target, 2
    while real_path(free) in taken:
        free, number = target.with_stem(f"{target.stem}-{number}"), number + 1
    taken.add(real_path(free))
    return free


def real_path(path: Path) -> Path:
    """Path.resolve, also of links that lead in a circle."""
    return Path(os.path.realpath(path))
