"""I/O faults, kills and full disks leave no incomplete file; incomplete files are noticed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.trust.bench import Bench
from benchmarks.trust.faults import FILM, PICTURE, PICTURES, Trials, Work, killed_films
from benchmarks.trust.faults import faults as failing_calls
from tests.support.hostile.faults import Ended, Failing, Fault, library
from tests.support.hostile.goods import Goods

pytestmark = pytest.mark.skipif(library() is None, reason="needs Linux and a C compiler")

STRAIGHT = """
import contextlib, st.runtime.pictures.io as images
@contextlib.contextmanager
def straight(path):
    yield path
images.atomic_write = straight
"""
HASTY = """
import st.video.jobs.job as job
own = job.assemble
def hasty(sink, film, parts, *rest, **how):
    own(sink, film, parts[:-1], *rest, **how)
job.assemble = hasty
"""
DEAF = """
import st.runtime.cli.base as command
command.fail = lambda message, code: SystemExit(0)
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Goods:
    return Goods.make(tmp_path_factory.mktemp("good"))


@pytest.fixture
def bench(good: Goods, tmp_path: Path) -> Bench:
    return Bench(2, 0, good, tmp_path)


@pytest.fixture(scope="module")
def failing() -> Iterator[Failing]:
    with Failing() as process:
        yield process


def test_killed_videos_resume(bench: Bench) -> None:
    reached = killed_films(bench)
    assert reached.passed, reached.figure


def test_failing_calls_leave_no_incomplete_file(bench: Bench) -> None:
    reached = failing_calls(bench)
    assert reached.passed, reached.figure


def test_faults_are_injected(bench: Bench, failing: Failing) -> None:
    """Each kind is counted, and takes effect at the named call."""
    trials = Trials(FILM, bench, failing)
    assert all(trials.unbroken.counts.values()), trials.unbroken.counts
    for kind, how, told in (
        ("open", "lasting", "Input/output error"),  # a single failing open may be tolerated
        ("write", "lasting", "Input/output error"),
        ("sync", "once", "Input/output error"),
        ("encode", "once", "no more"),
        ("run", "once", "out of memory"),
        ("write", "full", "No space left on device"),
    ):
        error = 28 if how == "full" else 5
        ended = trials.run(trials.place(False), Fault(kind, 1, how, error))
        assert ended.code in (1, 2), (kind, ended)
        assert told in ended.err
        assert ended.faults == []
    ended = trials.run(trials.place(False), Fault("name", 2, "kill"))
    assert ended.code == -signal.SIGKILL


def test_a_failing_write_names_the_file(bench: Bench, failing: Failing) -> None:
    ended = Trials(PICTURE, bench, failing)
    failed = ended.run(ended.place(False), Fault("write", 1))
    assert failed.err == "Error: out.png: cannot be written: Input/output error\n"


@pytest.mark.parametrize(
    ("work", "planted", "fault", "seen"),
    [
        (PICTURE, STRAIGHT, Fault("write", 1), "half a file"),
        (PICTURE, STRAIGHT, Fault("write", 1, "kill"), "half a file"),
        (FILM, HASTY, None, "half a file"),
        (PICTURE, DEAF, Fault("write", 1), "exit code 0"),
    ],
)
def test_injected_bugs_are_detected(
    work: Work, planted: str, fault: Fault | None, seen: str, bench: Bench, failing: Failing
) -> None:
    trials = Trials(work, bench, failing)
    with Failing(planted=planted) as worse:
        place = trials.place(stood=True)
        ended = worse.run(work.words, place, fault)
        assert any(seen in text for text in trials.wrong(place, ended, stood=True))


def test_leftover_and_lost_files_are_detected(bench: Bench, failing: Failing) -> None:
    trials = Trials(PICTURES, bench, failing)
    place = trials.place(stood=False)
    trials.run(place)
    assert trials.wrong(place, trials.unbroken, stood=False) == trials.litter(place) == []
    (place / ".left").touch()
    (place / "out" / ".part").touch()
    (place / "film.mkv").write_bytes(b"changed")
    (place / "out" / "00003.png").write_bytes(b"half")
    found = trials.wrong(place, trials.unbroken, stood=False)
    assert {"half a file under the final name", "film.mkv is changed"} <= set(found)
    assert trials.litter(place) == ["left behind: ['.left', '.part']"]


def test_bad_endings_are_detected() -> None:
    for end, seen in (
        (Ended(None, "", "", {}), "never ended"),
        (Ended(-signal.SIGSEGV, "", "", {}), "exit code -11"),
        (Ended(1, "", "Traceback (most recent call last):\nError: x", {}), "traceback"),
        (Ended(1, "", "", {}), "not one line"),
        (Ended(3, "", "", {}), "exit code 3"),
    ):
        assert any(seen in text for text in end.faults)
    assert Ended(1, "", "warning: w\nError: x\n", {}).faults == []
