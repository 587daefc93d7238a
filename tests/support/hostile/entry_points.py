"""Entry points: commands that read files, and the cases that go through them."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.hostile import (
    bad_films,
    bad_models,
    bad_pictures,
    odd_films,
    odd_models,
    odd_pictures,
)
from tests.support.hostile.bad_files import FORMATS_OF, KINDS, Box, Kind
from tests.support.hostile.goods import Goods

SOURCES = (
    bad_films,
    bad_models,
    bad_pictures,
    odd_films,
    odd_models,
    odd_pictures,
)  # importing them fills KINDS
BEFORE = b"what stood here before"


@dataclass(frozen=True)
class EntryPoint:
    """One entry point where a command reads a file.

    line: the command line. BAD stands for the bad input, GOOD for the folder of intact inputs, OUT
        for the folder of the case.
    out: the file that it writes; a file exists there before.
    name: the required name of the bad file, if the command finds it by its name.
    glances: it reads only a part of the file, so damage in the rest may pass.
    """

    family: str
    line: str
    out: str = ""
    name: str = ""
    glances: bool = False

    @property
    def command(self) -> str:
        return self.line.split()[0]

    def words(self, bad: str, good: Path, case: Path) -> list[str]:
        """The arguments after the command."""
        places = {"GOOD": str(good), "OUT": str(case), "BAD": bad}
        mark = re.compile("|".join(places))
        return [mark.sub(lambda m: places[m[0]], word) for word in self.line.split()[1:]]


IMAGE = "st-image GOOD/picture.png -o OUT/out.png --threads 1"
TRAIN = "st-train perceptual --device cpu --workers 0"
PICTURES = "--content GOOD/photos --style GOOD/picture.png"
SMALL = "-o OUT/out.pt --steps 1 --size 48 --style-scales 1 --batch 1"

ENTRY_POINTS = {
    "st-image": EntryPoint(
        "picture", "st-image BAD -o OUT/out.png --threads 1 --engine GOOD/tint.onnx", "out.png"
    ),
    "st-image --style PICTURE": EntryPoint(
        "picture", f"{IMAGE} --style BAD --engine GOOD/code.onnx", "out.png"
    ),
    "st-image --style CODE": EntryPoint(
        "code", f"{IMAGE} --style BAD --engine GOOD/code.onnx", "out.png"
    ),
    "st-image --engine": EntryPoint("engine", f"{IMAGE} --engine BAD", "out.png"),
    "st-engines inspect": EntryPoint("engine", "st-engines inspect BAD", glances=True),
    "st-engines check": EntryPoint("engine", "st-engines check BAD --device cpu"),
    "st-video": EntryPoint(
        "film", "st-video BAD -o OUT/out.mp4 --threads 1 --engine GOOD/tint.onnx", "out.mp4"
    ),
    "st-video --engine": EntryPoint(
        "engine", "st-video GOOD/film.mp4 -o OUT/out.mp4 --threads 1 --engine BAD", "out.mp4"
    ),
    "st-image --region": EntryPoint(
        "picture", f"{IMAGE} --region BAD=negative --engine GOOD/tint.onnx", "out.png"
    ),
    "st-video --region": EntryPoint(
        "film",
        "st-video GOOD/film.mp4 -o OUT/out.mp4 --threads 1 --engine GOOD/tint.onnx "
        "--region BAD=negative",
        "out.mp4",
    ),
    "st-export": EntryPoint("checkpoint", "st-export BAD -o OUT/out.onnx", "out.onnx"),
    "st-train --style": EntryPoint(
        "picture", f"{TRAIN} --content GOOD/photos --style BAD {SMALL}", "out.pt"
    ),
    "st-train --content": EntryPoint(
        "picture",
        f"{TRAIN} --content OUT/in --style GOOD/picture.png {SMALL}",
        "out.pt",
        name="photo.png",
    ),
    "st-train --resume": EntryPoint(
        "checkpoint", f"{TRAIN} {PICTURES} -o OUT/in/out.pt --resume", name="out.resume.pt"
    ),
    "st-train --config": EntryPoint(
        "settings",
        f"{TRAIN} {PICTURES} --config BAD -o OUT/out.pt --steps 1 --vgg GOOD/none.pth",
        "out.pt",
    ),
}


@dataclass(frozen=True)
class Case:
    """One bad input at one entry point; equal entry point, kind and seed make equal inputs."""

    entry: str
    kind: Kind
    seed: int

    def __str__(self) -> str:
        return f"{self.entry}: {self.kind.family} {self.kind.name} (seed {self.seed})"

    def prepare(self, case: Path, good: Goods) -> list[str]:
        """Make the input in `case`/in and return the command line."""
        entry = ENTRY_POINTS[self.entry]
        for folder in ("in", "tmp"):
            (case / folder).mkdir(parents=True)
        if entry.out:
            (case / entry.out).write_bytes(BEFORE)
        mark = zlib.crc32(f"{self.entry} {self.kind.name}".encode())
        box = Box(
            folder=case / "in",
            canary=case / "canary",
            family=entry.family,
            name=entry.name or f"bad{FORMATS_OF[entry.family]}",
            random=np.random.default_rng((self.seed, mark)),
            good=good,
        )
        return entry.words(self.kind.put(box), good.folder, case)


def suits(kind: Kind, entry: EntryPoint) -> bool:
    """Whether a kind applies to an entry point: some need kinds that use the file name."""
    if entry.name and kind.family == "any":
        return kind.often or kind.name in ("empty", "zeros", "looping_link")
    if kind.name == "name_with_nul":  # no shell can pass it; click checks paths first
        return entry.command in ("st-image", "st-video", "st-engines")
    return kind.family in ("any", entry.family)


def cases(count: int, seed: int) -> list[Case]:
    """At least one of every kind, then every kind at every entry point, then more seeds."""
    random = np.random.default_rng(seed)
    pairs = [
        (entry, kind)
        for kind in KINDS
        for entry in ENTRY_POINTS
        if suits(kind, ENTRY_POINTS[entry])
    ]
    order = random.permutation(len(pairs))
    first: dict[str, int] = {}
    for i in order:
        first.setdefault(f"{pairs[i][1].family} {pairs[i][1].name}", i)
    rest = [i for i in order if i not in set(first.values())]
    chosen = [Case(*pairs[i], seed) for i in [*first.values(), *rest]]
    often = [(entry, kind) for entry, kind in pairs if kind.often]
    while len(chosen) < count:
        entry, kind = often[random.integers(len(often))]
        chosen.append(Case(entry, kind, int(random.integers(2**31))))
    return chosen[:count]
