"""G11: names that could act as paths or terminal codes, and outputs that are inputs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.trust.bench import Bench, Reached, tell
from tests.support.hostile.goods import Goods
from tests.support.hostile.runner import TERMINAL, Worker

NAMES = ("writes_to_the_terminal", "write_to_the_terminal", "name_", "styles_that_are_paths")
STYLES = (
    "../../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "..",
    "\x1b[2J\x1b]0;owned\x07",
    "a\nError: forged",
    "\x9b31m",
    "%s%s%n",
    "tint.onnx",
    "-",
    "x" * 5000,
    os.fsdecode(b"\xff\xfe"),
)
SAME = (
    "in",
    "./in",
    "folder/../in",
    "link",
    "hard",
    "linked/in",
)  # ways to write the name of the input


def names(bench: Bench) -> Reached:
    outcomes = bench.run(bench.through("st-", NAMES), "G11")
    wrong = [f"{outcome.case}: {fault}" for outcome in outcomes for fault in outcome.faults]
    worker, asked, same = Worker(), 0, 0
    try:
        for words in _styles(bench.good):
            asked += 1
            wrong += _refused(worker, words, bench.folder)
        for command in ("st-image", "st-video"):
            for name in SAME:
                same += 1
                wrong += _kept(worker, command, name, bench)
    finally:
        worker.close()
    tell(wrong)
    figure = f"{len(outcomes)} names in files, {asked} of styles, {same} outputs that are the input"
    return Reached(f"{figure}: {len(wrong)} wrong", not wrong)


def _styles(good: Goods) -> Iterator[list[str]]:
    for engine in ("tint.onnx", "code.onnx"):
        for style in STYLES:
            words = ["st-image", str(good.folder / "picture.png"), "-o", "out.png", "-s", style]
            yield [*words, "--threads", "1", "--engine", str(good.folder / engine)]


def _refused(worker: Worker, words: list[str], folder: Path) -> Iterator[str]:
    shown = f"{words[0]} {words[5]!r:.40}"
    result = worker.run(words[0], words[1:], folder)
    if result["code"] != 2:
        yield f"{shown}: exit code {result['code']}"
    if found := TERMINAL.search(result["out"] + result["err"]):
        yield f"{shown}: {found[0]!r} on the terminal"
    lines = [line for line in result["err"].splitlines() if line.startswith("Error: ")]
    if len(lines) != 1 or "root:" in result["err"]:
        yield f"{shown}: {result['err'].strip()[-200:]!r}"
    if list(folder.glob("out*")):
        yield f"{shown}: wrote"


def _kept(worker: Worker, command: str, name: str, bench: Bench) -> Iterator[str]:
    """An output that is the input, by any name: it must be rejected, and the input unchanged."""
    suffix = ".png" if command == "st-image" else ".mp4"
    own = bench.good.folder / ("picture.png" if command == "st-image" else "film.mp4")
    place = bench.folder / "same"
    shutil.rmtree(place, ignore_errors=True)
    (place / "folder").mkdir(parents=True)
    source = place / f"in{suffix}"
    shutil.copy(own, source)
    (place / f"link{suffix}").symlink_to(source.name)
    (place / f"hard{suffix}").hardlink_to(source)
    (place / "linked").symlink_to(".")
    words = [source.name, "-o", f"{name}{suffix}", "--engine", str(bench.good.folder / "tint.onnx")]
    result = worker.run(command, [*words, "--threads", "1"], place)
    if result["code"] != 2:
        yield f"{command} -o {name}: exit code {result['code']} {result['err'].strip()[-200:]}"
    if source.read_bytes() != own.read_bytes():
        yield f"{command} -o {name}: the input is changed"
