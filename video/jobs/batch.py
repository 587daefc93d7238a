"""Expand the arguments of a command to videos: files, folders of videos, and globs."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from st.runtime.errors import BadInput, printable
from st.runtime.pictures.addresses import check_local
from st.runtime.pictures.batch import make_folder, pictures_in, real_path
from st.runtime.system.file_names import free_name
from st.video.jobs.job import Job, Reader, default_target

FILMS = (
    ".3gp .asf .avi .dv .f4v .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts"
    " .vob .webm .wmv .y4m"
)
SUFFIXES = frozenset(FILMS.split())


def films_of(arguments: Sequence[str]) -> list[str]:
    """The videos that the arguments name, without duplicates.

    Folders and globs are replaced by their videos, sorted. A folder counts as one video if it holds
    only pictures, or pictures that are numbered like frames. So does a pattern such as
    frames/%05d.png.
    Raises BadInput: a glob without a match, or - together with other videos.
    """
    found = list(dict.fromkeys(film for text in arguments for film in _expanded(text)))
    if "-" in found and len(found) > 1:
        raise BadInput("- (standard input) cannot be mixed with other videos")
    return found


def _expanded(text: str) -> Iterable[str]:
    check_local(text)
    if text == "-" or "\0" in text:
        return [text]
    path = Path(text)
    if path.is_dir():
        films = sorted(str(p) for p in path.iterdir() if _is_film(p))
        return films if films and not count_up(pictures_in(path)) else [text]
    if glob.has_magic(text) and not path.exists():
        if matches := sorted(filter(os.path.isfile, glob.glob(text, recursive=True))):  # noqa: PTH207
            return matches
        raise BadInput(f"{printable(text)}: nothing matches")
    return [text]


def count_up(pictures: Sequence[Path]) -> bool:
    """Whether the names are those of a video's frames: at least three names that differ only in a
    number, which counts from 0 or 1 without gaps. Photographs of a camera start at any number."""
    parts = [re.fullmatch(r"(.*?)(\d+)(\.[^.]+)", picture.name) for picture in pictures]
    if len(parts) < 3 or not all(parts):
        return False
    if len({(part[1], part[3].lower()) for part in parts if part}) > 1:
        return False
    numbers = sorted(int(part[2]) for part in parts if part)
    return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _is_film(path: Path) -> bool:
    return not path.name.startswith(".") and path.suffix.lower() in SUFFIXES and path.is_file()


def output_folder(output: str | None) -> Path | None:
    """The output folder for several videos, created if missing; None: beside each video.

    Raises BadInput: `output` is a file or standard output.
    """
    if output is None:
        return None
    folder = Path(output)
    if output == "-" or (folder.exists() and not folder.is_dir()) or (folder.suffix in SUFFIXES):
        raise BadInput("several videos need a folder: -o FOLDER/")
    make_folder(folder)
    return folder


def target_chooser(films: Sequence[str], folder: Path | None) -> Callable[[Job, Reader], Path]:
    """A function that chooses the output of each video: never an input or the output of another."""
    taken = {real_path(Path(film)) for film in films}

    def choose(job: Job, reader: Reader) -> Path:
        wanted = default_target(job, reader, folder)
        target = free_name(wanted, lambda path: real_path(path) in taken)
        taken.add(real_path(target))
        return target

    return choose
