"""G5 and G6: kills, I/O errors, full disks and signals."""

from __future__ import annotations

import errno
import hashlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av

from benchmarks.report import progress
from benchmarks.trust.bench import WHOLE, Bench, Reached, tell
from tests.support.hostile.faults import CALLS, Ended, Failing, Fault, library
from tests.support.hostile.goods import film

FRAMES = 24  # frames of the video, in segments of 7
KILLS, STOPS = 100, 40
SYSTEM = ("open", "write", "name", "sync")  # those of CALLS at which a process can also be killed
BEFORE = b"a good file of before"
SOURCES = ("film.mkv", "picture.png", "tint.onnx")
NO_COMPILER = "not measured: faults are caught by a C library, and there is no compiler here"


@dataclass(frozen=True)
class Work:
    """One command that runs in its own folder.

    mark: a fingerprint of the result that ignores random numbers in the container.
    resumes: running the command again continues. many: it writes several files.
    """

    name: str
    line: str
    target: str
    mark: Callable[[Path], str]
    resumes: bool = False
    many: bool = False

    @property
    def words(self) -> list[str]:
        # ONNX Runtime, whose calls are among those that fail.
        return [*self.line.split(), "--engine", "tint.onnx", "--device", "cpu", "--threads", "1"]


def _bytes_mark(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _film_mark(path: Path) -> str:
    """A hash over every packet of every stream and its timestamps."""
    digest = hashlib.sha256()
    with av.open(str(path)) as source:
        for packet in source.demux():
            if packet.size:
                told = (packet.stream_index, packet.pts, packet.dts, packet.duration)
                digest.update(repr(told).encode() + bytes(packet))
    return digest.hexdigest()


def _folder_mark(path: Path) -> str:
    return " ".join(_bytes_mark(file) for file in sorted(path.iterdir()))


PICTURE = Work("picture", "st-image picture.png -o out.png", "out.png", _bytes_mark)
FILM = Work("film", "st-video film.mkv -o out.mkv", "out.mkv", _film_mark, resumes=True)
STEADY = Work(
    "steady video", "st-video film.mkv -o out.mkv --steady 0.6", "out.mkv", _film_mark, resumes=True
)
PICTURES = Work("pictures", "st-video film.mkv -o out/%05d.png", "out", _folder_mark, many=True)


class Trials:
    """Runs of one command with injected faults, and the checks of what they leave behind."""

    def __init__(self, work: Work, bench: Bench, failing: Failing) -> None:
        self.work, self._failing = work, failing
        self._bench = bench
        self._source = bench.folder / "film.mkv"
        if not self._source.exists():
            film(self._source, "libx264", frames=FRAMES, sound=True)
        place = self.place(stood=False)
        self.run(place)  # warms up what all child processes share
        place = self.place(stood=False)
        began = time.monotonic()
        self.unbroken = self.run(place)
        self.seconds = time.monotonic() - began
        assert self.unbroken.code == 0, self.unbroken.err
        self.mark = work.mark(place / work.target)
        self.size = sum(f.stat().st_size for f in place.rglob(f"{work.target}*") if f.is_file())

    def place(self, stood: bool, folder: Path | None = None) -> Path:
        """A folder with the sources. stood: whether to put a file under the final name first."""
        place = folder or self._bench.folder / "place"
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
        for name in SOURCES:
            own = self._source if name == "film.mkv" else self._bench.good.folder / name
            shutil.copy(own, place / name)
        if stood and not self.work.many:
            (place / self.work.target).write_bytes(BEFORE)
        return place

    def run(self, place: Path, fault: Fault | None = None, **how: float) -> Ended:
        after, number = how.get("after"), int(how.get("number", signal.SIGKILL))
        return self._failing.run(self.work.words, place, fault, after, number)

    def wrong(self, place: Path, ended: Ended, stood: bool) -> list[str]:
        """Check a run that may have failed: incomplete, lost or extra files, wrong exit codes."""
        found = ended.faults
        state = self._state(place / self.work.target)
        if state == "half":
            found.append("half a file under the final name")
        if stood and not self.work.many and state == "none":
            found.append("the good file that stood there is gone")
        if ended.code == 0 and state != "whole":
            found.append(f"exit code 0, and under the name is {state}")
        for name in SOURCES:
            own = self._source if name == "film.mkv" else self._bench.good.folder / name
            if (place / name).read_bytes() != own.read_bytes():
                found.append(f"{name} is changed")
        return found

    def litter(self, place: Path) -> list[str]:
        """Files that are neither source, result, partial video nor a segment to resume from."""
        target = Path(self.work.target)
        known = {*SOURCES, target.name, f"{target.stem}_partial{target.suffix}"}
        known.add(f".{target.name}.st-parts")
        names = [path.name for path in place.iterdir() if path.name not in known]
        names += [p.name for p in place.glob("out/.*") if self.work.many]
        return [f"left behind: {names[:3]}"] if names else []

    def again(self, place: Path) -> list[str]:
        """Run the command again without faults: the result equals an uninterrupted run."""
        if self.work.many:
            shutil.rmtree(place / self.work.target, ignore_errors=True)
        ended = self.run(place)
        found = self.wrong(place, ended, stood=False)
        if ended.code != 0:
            found.append(f"does not go on: {ended.err.strip()}")
        if (place / f".{self.work.target}.st-parts").exists():
            found.append("parts of a whole video stay")
        return [f"started again: {text}" for text in found]

    def _state(self, target: Path) -> str:
        """The state of the output: "none", "before", "whole", "some" (of many files) or "half"."""
        if not target.exists():
            return "none"
        if target.is_dir():
            marks = [_bytes_mark(file) for file in sorted(target.glob("[!.]*"))]
            whole = self.mark.split() if hasattr(self, "mark") else marks
            if marks == whole:
                return "whole"
            return "some" if set(marks) <= set(whole) else "half"
        if target.read_bytes() == BEFORE:
            return "before"
        try:
            return "whole" if self.work.mark(target) == self.mark else "half"
        except (OSError, ValueError):
            return "half"


def killed_films(bench: Bench) -> Reached:
    """G5: kill -9 at random moments, and at every file operation."""
    if library() is None:
        return Reached(NO_COMPILER, False)
    kills, films, steps = 0, 0, 0
    wrong: list[str] = []
    random = bench.random
    with Failing() as failing, progress() as bar:
        wanted = bench.scaled(KILLS, 2)
        task = bar.add_task("G5", total=2 * wanted)
        trials = [Trials(FILM, bench, failing), Trials(STEADY, bench, failing)]
        while kills < wanted:
            trial, stood = trials[films % 2], films % 4 < 2
            place, films = trial.place(stood), films + 1
            while True:
                after = random.uniform(0, trial.seconds)
                ended = trial.run(place, after=after)
                faults = trial.wrong(place, ended, stood)
                wrong += [f"{trial.work.name}, killed after {after:.3f} s: {f}" for f in faults]
                if ended.code != -signal.SIGKILL:
                    break
                kills += 1
                bar.advance(task)
            wrong += [f"{trial.work.name}: {text}" for text in trial.again(place)]
        for fault in _every(trials[0], bench, SYSTEM, "kill"):
            place, steps = trials[0].place(bool(steps % 2)), steps + 1
            faults = trials[0].wrong(place, trials[0].run(place, fault), bool((steps - 1) % 2))
            wrong += [f"{fault}: {text}" for text in faults + trials[0].again(place)]
            bar.advance(task)
    tell(wrong)
    figure = f"{kills} kills in {films} videos and {steps} at a step of its own: {len(wrong)} wrong"
    return Reached(figure, not wrong)


def faults(bench: Bench) -> Reached:
    """G6: every k-th call fails, disks fill up, SIGTERM arrives at random moments."""
    if library() is None:
        return Reached(NO_COMPILER, False)
    wrong: list[str] = []
    failed = stops = 0
    random = bench.random
    with Failing() as failing, progress() as bar:
        for work in (PICTURE, FILM, PICTURES):
            trial = Trials(work, bench, failing)
            chosen = [*_every(trial, bench, CALLS, "once"), *_every(trial, bench, ["write"])]
            chosen += _full(trial, bench)
            for fault in bar.track(chosen, description=f"G6 {work.name}"):
                stood = bool(failed % 2)
                place, failed = trial.place(stood), failed + 1
                ended = trial.run(place, fault)
                found = trial.wrong(place, ended, stood)
                if fault.kind != "name":  # cleaning up renames, too
                    found += trial.litter(place)
                wrong += [f"{work.name}, {fault}: {text}" for text in found + trial.again(place)]
            for _ in range(bench.scaled(STOPS)):
                after, stops = random.uniform(0, trial.seconds), stops + 1
                found = _stopped(trial, after, bool(stops % 2))
                wrong += [f"{work.name}, SIGTERM after {after:.3f} s: {text}" for text in found]
        disks, found = _real_disks(Trials(FILM, bench, failing), bench)
    wrong += found
    tell(wrong)
    real = f"{disks} full file systems" if disks else "no file system could be mounted"
    figure = f"{failed} faults, {stops} SIGTERMs, {real}: {len(wrong)} wrong"
    return Reached(figure, not wrong)


def _every(
    trial: Trials, bench: Bench, kinds: tuple[str, ...] | list[str], how: str = "lasting"
) -> Iterator[Fault]:
    """One fault for each call of an uninterrupted run; for a smaller count, some of them."""
    step = max(1, WHOLE // bench.count // 2)
    for kind in kinds:
        error = errno.ENOSPC if kind == "write" else errno.EIO
        for at in range(1 + bench.seed % step, trial.unbroken.counts[kind] + 1, step):
            yield Fault(kind, at, how, error)


def _full(trial: Trials, bench: Bench) -> Iterator[Fault]:
    """Disk sizes: none of the result fits, all but one byte fits, and sizes between."""
    steps = bench.scaled(20, 2)
    for step in range(steps):
        yield Fault("write", step * (trial.size - 1) // (steps - 1), "full", errno.ENOSPC)


def _stopped(trial: Trials, after: float, stood: bool) -> list[str]:
    place = trial.place(stood)
    ended = trial.run(place, after=after, number=signal.SIGTERM)
    found = trial.wrong(place, ended, stood)
    if ended.code != -signal.SIGTERM:  # it arrived before Python handles signals
        found += trial.litter(place)
    partial = place / "out_partial.mkv"
    if partial.exists():
        with av.open(str(partial)) as source:
            if not 0 < sum(1 for _ in source.decode(video=0)) <= FRAMES:
                found.append("the partial video does not play")
    return found + trial.again(place)


def _real_disks(trial: Trials, bench: Bench) -> tuple[int, list[str]]:
    """The number of small file systems that were filled, and the failures."""
    sources = sum((trial.place(stood=False) / name).stat().st_size for name in SOURCES)
    wrong, disks = [], 0
    for number in range(bench.scaled(8)):
        size = sources + 4096 * (8 + 2 * number)  # whole pages; the result needs more
        with _mounted(bench.folder / "disk", size) as disk:
            if disk is None:
                break
            place = trial.place(True, disk)
            ended = trial.run(place)
            found = trial.wrong(place, ended, stood=True)
            if ended.code == 1 and "No space left" not in ended.err:
                found.append(f"does not say why: {ended.err.strip()}")
            wrong += [f"a disk of {size} bytes: {text}" for text in found + trial.litter(place)]
            disks += ended.code == 1
    return disks, wrong


@contextmanager
def _mounted(folder: Path, size: int) -> Iterator[Path | None]:
    """Mount a file system in memory; None without the permission to mount."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "st-trust", str(folder)]
    try:
        failed = subprocess.run(mount, capture_output=True, check=False).returncode
    except OSError:
        failed = 1
    if failed:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
