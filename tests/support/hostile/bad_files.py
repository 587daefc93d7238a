"""Generators of bad inputs. Every kind is used at least once, random kinds with several seeds.

A kind makes one input in its own folder and returns the text that names it on the command line.
Kinds of one family (pictures, videos, engines, …) go through every entry point that reads
that family; kinds of the family "any" (missing files, folders, pipes, control characters in names)
go through all entry points.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.hostile.goods import Goods

FORMATS_OF = {
    "picture": ".png",
    "film": ".mp4",
    "engine": ".onnx",
    "checkpoint": ".pt",
    "code": ".npz",
    "settings": ".toml",
}


@dataclass(frozen=True)
class Box:
    """The material from which a kind makes its input.

    folder: an empty folder for this input. canary: a file that appears only if hostile code runs.
    name: the file name to use. good: intact inputs to damage.
    """

    folder: Path
    canary: Path
    family: str
    name: str
    random: np.random.Generator
    good: Goods

    def write(self, data: bytes, name: str | None = None) -> str:
        path = self.folder / (name or self.name)
        path.write_bytes(data)
        return str(path)

    def whole(self) -> bytes:
        """An intact input of the family."""
        files = self.good.files[self.family]
        return files[self.random.integers(len(files))]


Make = Callable[[Box], str | bytes]


@dataclass(frozen=True)
class Kind:
    """One kind of bad input.

    make: writes the input and returns the text that names it, or returns the content of the file.
    usable: the result may still be a valid input, so exit code 0 is accepted, too.
    often: different seeds make different inputs.
    """

    family: str
    name: str
    make: Make
    usable: bool
    often: bool

    def put(self, box: Box) -> str:
        made = self.make(box)
        return box.write(made) if isinstance(made, bytes) else made


KINDS: list[Kind] = []


def kind(family: str, usable: bool = False, often: bool = False) -> Callable[[Make], Make]:
    """Register a kind under the name of its function."""

    def register(make: Make) -> Make:
        KINDS.append(Kind(family, make.__name__, make, usable, often))
        return make

    return register


# --- what may be wrong with any file


@kind("any")
def missing(box: Box) -> str:
    return str(box.folder / box.name)


@kind("any")
def missing_far_away(box: Box) -> str:
    return str(box.folder / "../../../../../../none" / box.name)


@kind("any")
def below_a_file(box: Box) -> str:
    return f"{box.write(b'no folder')}/{box.name}"


@kind("any")
def empty(box: Box) -> bytes:
    return b""


@kind("any")
def folder(box: Box) -> str:
    (box.folder / box.name).mkdir()
    return str(box.folder / box.name)


@kind("any")
def dangling_link(box: Box) -> str:
    (box.folder / box.name).symlink_to("nowhere")
    return str(box.folder / box.name)


@kind("any")
def looping_link(box: Box) -> str:
    (box.folder / box.name).symlink_to(box.name)
    return str(box.folder / box.name)


@kind("any")
def link_to_zeros(box: Box) -> str:
    (box.folder / box.name).symlink_to("/dev/zero")
    return str(box.folder / box.name)


@kind("any")
def nothing_device(box: Box) -> str:
    return os.devnull


@kind("any")
def named_pipe(box: Box) -> str:
    os.mkfifo(box.folder / box.name)
    return str(box.folder / box.name)


@kind("any")
def listening_socket(box: Box) -> str:
    before = Path.cwd()
    os.chdir(box.folder)  # the path of a socket is limited to a hundred characters
    try:
        with socket.socket(socket.AF_UNIX) as place:
            place.bind(box.name)
    finally:
        os.chdir(before)
    return str(box.folder / box.name)


@kind("any")
def unreadable(box: Box) -> str:
    """Even root cannot read this file: the first page of a process is never mapped."""
    if os.geteuid() == 0:
        (box.folder / box.name).symlink_to("/proc/self/mem")
    else:
        Path(box.write(box.whole())).chmod(0)
    return str(box.folder / box.name)


@kind("any")
def endless_name(box: Box) -> str:
    return str(box.folder / ("x" * 300 + box.name))


@kind("any")
def endless_path(box: Box) -> str:
    return "/".join([str(box.folder), *["folder"] * 900, box.name])


@kind("any")
def name_with_nul(box: Box) -> str:
    return str(box.folder / f"a\0{box.name}")


@kind("any")
def name_that_clears_the_screen(box: Box) -> str:
    return box.write(b"no such thing", f"\x1b[2J\x1b]0;owned\x07{box.name}")


@kind("any")
def name_with_lines(box: Box) -> str:
    return box.write(b"no such thing", f"a\nError: forged\r\n\x9b31m{box.name}")


@kind("any")
def name_that_is_no_text(box: Box) -> str:
    return box.write(b"no such thing", os.fsdecode(b"\xff\xfe\xc3\x28") + box.name)


@kind("any")
def url(box: Box) -> str:
    return f"http://127.0.0.1:9/{box.name}"


@kind("any")
def protocol(box: Box) -> str:
    return f"concat:/etc/passwd|{box.name}"


@kind("any", often=True)
def noise(box: Box) -> bytes:
    return box.random.bytes(int(box.random.integers(1, 20_000)))


@kind("any")
def zeros(box: Box) -> bytes:
    return bytes(100_000)


@kind("any", often=True)
def text(box: Box) -> bytes:
    lines = (b"hello\n", b"<html><script>", b"((((((", b"[" * 9, b"%!PS\n", b"#!/bin/sh\n", b"\n")
    return lines[box.random.integers(len(lines))] * int(box.random.integers(1, 3000))


@kind("any", often=True)
def posing(box: Box) -> bytes:
    """An intact file of another family under the name of this family."""
    # A video's picture stream is what st-video takes, and st-video takes pictures too.
    kin = {"picture": "film", "film": "picture"}.get(box.family, "")
    others = sorted(set(box.good.files) - {box.family, kin})
    files = box.good.files[others[box.random.integers(len(others))]]
    return files[box.random.integers(len(files))]


@kind("any", often=True)
def wrong_magic(box: Box) -> bytes:
    """An MPEG stream is found again by its next start code, so those are removed, too."""
    return box.random.bytes(16) + box.whole()[16:].replace(b"\0\0\1", b"\0\0\2")


@kind("any", usable=True, often=True)
def cut(box: Box) -> bytes:
    whole = box.whole()
    return whole[: int(box.random.integers(1, len(whole)))]


@kind("any", usable=True, often=True)
def changed(box: Box) -> bytes:
    data = bytearray(box.whole())
    for _ in range(int(2 ** box.random.uniform(0, 8))):
        data[box.random.integers(len(data))] = box.random.integers(256)
    return bytes(data)


@kind("any", usable=True, often=True)
def changed_head(box: Box) -> bytes:
    """Damage in the header, which contains sizes and types."""
    data = bytearray(box.whole())
    for _ in range(int(box.random.integers(1, 8))):
        data[box.random.integers(min(200, len(data)))] = box.random.integers(256)
    return bytes(data)


@kind("any", usable=True, often=True)
def shuffled(box: Box) -> bytes:
    """Pieces of the file removed, repeated or moved."""
    whole = box.whole()
    ends = sorted(box.random.integers(0, len(whole), 4))
    pieces = [whole[a:b] for a, b in zip([0, *ends], [*ends, len(whole)], strict=True)]
    return b"".join(pieces[i] for i in box.random.integers(0, len(pieces), 6))
