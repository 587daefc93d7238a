"""Bad inputs at every entry point: one line, exit code 2, nothing left behind.

The short test runs a few hundred inputs in a worker, the slow one a thousand. Another `SEED`
(environment: ST_SEED) makes other inputs; a failure names the entry point, the kind and the seed.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.hostile.bad_files import KINDS
from tests.support.hostile.bad_models import Order
from tests.support.hostile.entry_points import ENTRY_POINTS, Case, cases, suits
from tests.support.hostile.goods import Goods
from tests.support.hostile.runner import Worker, judged, listing, run_alone, run_cases

SEED = int(os.environ.get("ST_SEED", "0"))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Goods:
    return Goods.make(tmp_path_factory.mktemp("good"))


def check(chosen: Sequence[Case], good: Goods, folder: Path) -> Counter[int | None]:
    """Count the exit codes; fail with a list of all violations."""
    faults = []
    codes: Counter[int | None] = Counter()
    for outcome in run_cases(chosen, good, folder):
        codes[outcome.code] += 1
        faults += [f"{outcome.case}: {fault}" for fault in outcome.faults]
    assert not faults, "\n".join(faults)
    return codes


def test_every_kind_of_bad_file_once(good: Goods, tmp_path: Path) -> None:
    chosen = cases(220, SEED)
    assert {case.kind for case in chosen} == set(KINDS)
    assert {case.entry for case in chosen} == set(ENTRY_POINTS)
    codes = check(chosen, good, tmp_path)
    assert codes[2] >= 170


@pytest.mark.slow
def test_a_thousand_bad_files(good: Goods, tmp_path: Path) -> None:
    chosen = cases(1000, SEED)
    pairs = {
        (entry, kind)
        for kind in KINDS
        for entry in ENTRY_POINTS
        if suits(kind, ENTRY_POINTS[entry])
    }
    assert {(case.entry, case.kind) for case in chosen} == pairs
    check(chosen, good, tmp_path)


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("st-image", "png_bomb"),
        ("st-image", "named_pipe"),
        ("st-image --style CODE", "pickle_in_a_code"),
        ("st-engines inspect", "metadata_that_writes_to_the_terminal"),
        ("st-video", "concat_playlist"),
        ("st-video", "name_that_clears_the_screen"),
        ("st-export", "pickle_inside"),
    ],
)
def test_installed_commands_refuse_bad_files(
    entry: str, name: str, good: Goods, tmp_path: Path
) -> None:
    kind = next(kind for kind in KINDS if kind.name == name)
    outcome = run_alone(Case(entry, kind, SEED), good, tmp_path / "case")
    assert outcome.faults == ()
    assert outcome.code == 2


def test_intact_files_are_accepted(good: Goods, tmp_path: Path) -> None:
    """The bad inputs are made from accepted files, so a rejection is caused by the damage."""
    worker = Worker()
    own = {
        "picture": "picture.png",
        "film": "film.mp4",
        "engine": "code.onnx",
        "checkpoint": "model.pt",
        "code": "code.npz",
    }
    try:
        for entry in ENTRY_POINTS.values():
            if (
                entry.name
                or entry.family == "settings"
                or entry.command in ("st-export", "st-train")
            ):
                continue  # their own tests run them to the end
            bad = str(good.folder / own[entry.family])
            words = entry.words(bad, good.folder, tmp_path)
            if "--engine" in words and words[-1] == bad:
                words += ["-s", str(good.folder / "code.npz")]
            result = worker.run(entry.command, words, tmp_path)
            assert result["code"] == 0, result["err"]
            assert not entry.out or (tmp_path / entry.out).stat().st_size > 100
    finally:
        worker.close()


def test_violations_are_detected(good: Goods, tmp_path: Path) -> None:
    """A command that dies, leaves files, or writes control characters or too many lines."""
    kind = next(kind for kind in KINDS if kind.name == "missing")
    case, place = Case("st-image", kind, 0), tmp_path / "case"
    case.prepare(place, good)
    before = listing(place)
    clean = {"code": 2, "out": "", "err": "Error: no\n", "processor": 0.1, "peak": 100}
    assert judged(case, clean, place, before).faults == ()
    for change, word in (
        ({"code": -11}, "SIGSEGV"),
        ({"code": None}, "never"),
        ({"code": 0, "err": ""}, "exit code 0"),
        ({"code": 1}, "exit code 1"),
        ({"processor": 11.0}, "11 s"),
        ({"peak": 2500}, "2500 MB"),
        ({"err": "Error: no\x1b[2J\n"}, "terminal"),
        ({"err": "Error: one\nError: two\n"}, "one line"),
        ({"err": "Traceback (most recent call last):\nError: no\n"}, "traceback"),
        ({"err": "libx: oh\nError: no\n"}, "more than"),
    ):
        assert word in " ".join(judged(case, clean | change, place, before).faults)
    (place / "out.png").write_bytes(b"half")
    (place / ".out.part").touch()
    (place / "canary").mkdir()
    assert len(judged(case, clean, place, before).faults) == 3


def test_a_crash_counts_for_its_own_case(tmp_path: Path) -> None:
    worker = Worker()
    try:
        dead = worker.run("st-engines", [], tmp_path / "no folder to go to")
        assert dead["code"] == 1
        assert worker.run("st-engines", ["list"], tmp_path)["code"] == 0
    finally:
        worker.close()


def test_hostile_pickles_execute_when_unpickled(tmp_path: Path) -> None:
    """Unpickling the hostile objects creates the canary file."""
    order = pickle.dumps(Order(tmp_path / "canary"))
    program = "import pickle, sys; pickle.load(sys.stdin.buffer)"
    subprocess.run([sys.executable, "-c", program], input=order, check=False)
    assert (tmp_path / "canary").exists()


def test_a_closed_pipe_is_not_an_error(good: Goods) -> None:
    """`st-image - | head` ends silently."""
    program = Path(sys.executable).with_name("st-engines")
    process = subprocess.Popen(
        [program, "inspect", str(good.folder / "tint.onnx"), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == b""
    assert process.wait() == 1
