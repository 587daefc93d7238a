"""The files that a training reads, found by folder and name. Torch is not needed here."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

from st.runtime.engine.metadata import MAX_BYTES, MAX_STYLES
from st.runtime.errors import BadInput, printable
from st.runtime.pictures.batch import READ_SUFFIXES

CARD_BYTES = 8192  # bytes reserved for the rest of an engine's metadata
MAX_NAME = 80  # characters of a style's name: engine metadata allows 200, menus show far fewer


def list_pictures(folder: Path) -> list[str]:
    """The paths of all pictures in a folder and its subfolders, sorted. Hidden files are left out.

    Paths are strings: 50,000 `Path` objects take hundreds of megabytes, in every worker process.
    Raises BadInput when there is none.
    """
    if not folder.is_dir():
        raise BadInput(f"{printable(folder)}: no such folder")
    found: list[str] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            f"{parent}{os.sep}{name}"
            for name in files
            if Path(name).suffix.lower() in READ_SUFFIXES and not name.startswith(".")
        ]
    if not found:
        shown = ", ".join(sorted(READ_SUFFIXES))
        raise BadInput(f"{printable(folder)}: no pictures in it ({shown})")
    return sorted(found)


def content_files(folders: Sequence[Path], hold_out: int = 0) -> list[str]:
    """The photographs to train on: those in all of these folders that are not held out.

    Raises BadInput when that leaves none.
    """
    files = [file for folder in folders for file in list_pictures(folder)]
    kept = [file for file in files if not held_out(file, hold_out)]
    if not kept:
        raise BadInput(f"all {len(files)} photographs are held out: none is left to train on")
    return kept


def held_out(path: str | Path, one_in: int) -> bool:
    """Whether a picture is kept out of training, for evaluation: about one in `one_in`.

    The choice depends on a hash of the file's name alone, so it is the same in every folder and on
    every machine. one_in: 0 holds out nothing.
    """
    digest = hashlib.sha256(Path(path).name.encode(errors="surrogateescape")).digest()
    return one_in > 0 and int.from_bytes(digest[:8], "big") % one_in == 0


def style_files(given: Sequence[str]) -> list[tuple[str, str]]:
    """(name, path) of each style picture, in the order given.

    given: files, NAME=FILE pairs, or folders of files. Raises BadInput for anything else.
    """
    found: list[tuple[str, str]] = []
    for item in given:
        name, equals, rest = item.partition("=")
        if Path(item).is_dir():
            found += [(Path(path).stem, path) for path in list_pictures(Path(item))]
        elif Path(item).is_file():
            found.append((Path(item).stem, item))
        elif equals and Path(rest).is_file():
            found.append((name, rest))
        else:
            raise BadInput(f"{printable(item)}: no such style picture or folder")
    return found


def named_styles(
    given: Sequence[str], say: Callable[[str], None] = lambda line: None
) -> dict[str, str]:
    """Paths of style pictures by name, in the order given: see `style_files`.

    Names that engine metadata cannot hold are changed, with a message to `say`.
    Raises BadInput for two styles of one name, an empty name, or more styles than an engine can
    hold.
    """
    styles: dict[str, str] = {}
    for given_name, path in style_files(given):
        name = style_name(given_name)
        if name != given_name:
            say(f"style '{printable(given_name, 60)}' is named '{name}'")
        if not name or name in styles:
            problem = "two styles have this name" if name else "a style without a name"
            raise BadInput(f"{printable(given_name)!r}: {problem}; name it with NAME=FILE")
        styles[name] = path
    if len(styles) > MAX_STYLES:
        raise BadInput(f"{len(styles)} styles: an engine holds at most {MAX_STYLES}")
    size = len(json.dumps(list(styles)))  # as engine metadata holds them
    if size > MAX_BYTES - CARD_BYTES:
        raise BadInput(f"names of {len(styles)} styles are too long for an engine: shorten them")
    return styles


def style_name(text: str) -> str:
    """A name that engine metadata can hold: printable, one line, at most MAX_NAME characters.

    Any run of white space becomes one space: macOS puts U+202F into the names of screenshots.
    """
    composed = unicodedata.normalize("NFC", text)
    shown = "".join(c if c.isprintable() else " " if c.isspace() else "_" for c in composed)
    spaced = " ".join(shown.split())
    return spaced if len(spaced) <= MAX_NAME else spaced[:MAX_NAME].rstrip()
