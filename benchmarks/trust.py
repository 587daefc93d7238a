"""Whether st may be trusted with strangers' files: each goal, the figure reached, pass or short.

    python -m benchmarks.trust              all goals: some ten minutes
    python -m benchmarks.trust G1 G9 --count 200 --seed 3

G1   bad inputs of every kind through every command
G2   pictures and films that claim to be huge are refused by their headers
G3   damaged films keep their frames and their sound
G4   cut films keep all before the cut, and what is written plays
G8   engines with weights in other files are refused
G9   engines with hostile metadata are refused in a second
G10  nothing in a file is ever run
G12  playlists that pose as films are refused

Exits with 1 when a goal is missed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.machine import this_machine
from benchmarks.report import Row, progress, show
from st.runtime.command import command, fail

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # the tests make the same bad files

from benchmarks import trust_films
from hostile.bad_files import KINDS
from hostile.doors import DOORS, Case, cases, suits
from hostile.goods import Goods
from hostile.runner import MOST_MEMORY, MOST_SECONDS, Outcome, run_cases

BOMB_SECONDS, BOMB_MEMORY = 0.5, 200  # processor seconds, MB above a case that opens nothing
METADATA_SECONDS = 1.0
LEAST_FRAMES = 0.99
BOMBS = ("bomb", "endless_digits", "huge_frames", "large_frames")


@dataclass(frozen=True)
class Bench:
    """count: bad inputs of G1, by which the other goals are scaled too."""

    count: int
    seed: int
    good: Goods
    folder: Path

    def run(self, chosen: Iterable[Case], label: str) -> list[Outcome]:
        chosen = list(chosen)
        with progress() as bar:
            found = run_cases(chosen, self.good, self.folder)
            return list(bar.track(found, total=len(chosen), description=label))

    def through(self, doors: str, words: Iterable[str], seeds: int = 1) -> list[Case]:
        """Kinds with one of `words` in their names, through the doors whose names begin so."""
        words = tuple(words)
        return [
            Case(name, kind, self.seed + more)
            for name, door in DOORS.items()
            for kind in KINDS
            if name.startswith(doors) and suits(kind, door) and any(w in kind.name for w in words)
            for more in range(seeds if kind.often else 1)
        ]


def bad_inputs(bench: Bench) -> tuple[str, bool]:
    outcomes = bench.run(cases(bench.count, bench.seed), "G1")
    seconds, peak = max(o.seconds for o in outcomes), max(o.peak for o in outcomes)
    figure = f"{_refusals(outcomes)}, at most {seconds:.1f} s and {peak} MB"
    return figure, not any(o.faults for o in outcomes)


def bombs(bench: Bench) -> tuple[str, bool]:
    chosen = [c for c in bench.through("st-image", BOMBS, 5) if c.kind.family == "picture"]
    chosen += [c for c in bench.through("st-video", BOMBS) if c.kind.family == "film"]
    idle = bench.run(bench.through("st-", ["missing"])[:2], "G2")[-1].peak
    chosen = [case for case in chosen if not case.kind.usable]
    outcomes = bench.run(chosen, "G2")
    seconds, more = max(o.seconds for o in outcomes), max(o.peak for o in outcomes) - idle
    figure = f"{_refusals(outcomes)}, at most {seconds:.2f} s and {more} MB more than idle"
    fine = not any(o.faults for o in outcomes)
    return figure, fine and seconds <= BOMB_SECONDS and more <= BOMB_MEMORY


def damaged_films(bench: Bench) -> tuple[str, bool]:
    found = trust_films.damaged(max(5, bench.count // 5), bench.seed, bench.folder)
    figure = (
        f"{found.films} films: {found.frames:.1%} of the frames and {found.sound:.1%} of the sound "
        f"at least, {found.refused} refused, {found.silent} not told"
    )
    kept = found.frames >= LEAST_FRAMES and found.sound == 1
    return figure, kept and not (found.refused or found.silent or found.unplayable)


def cut_films(bench: Bench) -> tuple[str, bool]:
    found = trust_films.cut(max(5, bench.count // 10), bench.seed, bench.folder)
    figure = (
        f"{found.films} films: {found.frames:.1%} of the frames before the cut at least, "
        f"{found.refused} refused, {found.unplayable} do not play"
    )
    return figure, found.frames >= 1 and not (found.refused or found.unplayable)


def weights_elsewhere(bench: Bench) -> tuple[str, bool]:
    outcomes = bench.run(bench.through("st-", ["weights_elsewhere"], 16), "G8")
    return _refusals(outcomes), all(o.code == 2 and not o.faults for o in outcomes)


def hostile_metadata(bench: Bench) -> tuple[str, bool]:
    words = ("metadata", "unknown_operators", "styles_that_are_paths", "picture_cut_off")
    outcomes = bench.run(bench.through("st-image --engine", words, 20), "G9")
    seconds = max(o.seconds for o in outcomes)
    fine = all(o.code == 2 and not o.faults for o in outcomes)
    return f"{_refusals(outcomes)}, at most {seconds:.2f} s", fine and seconds <= METADATA_SECONDS


def pickles(bench: Bench) -> tuple[str, bool]:
    words = ("pickle", "archive", "zip_bomb", "code_header", "postscript")
    outcomes = bench.run(bench.through("st-", words, 5), "G10")
    sung = sum("canary" in fault for o in outcomes for fault in o.faults)
    return f"{_refusals(outcomes)}, {sung} ran", not any(o.faults for o in outcomes)


def playlists(bench: Bench) -> tuple[str, bool]:
    words = ("playlist", "session_description", "filter_script", "pieces_elsewhere")
    outcomes = bench.run(bench.through("st-video", words), "G12")
    return _refusals(outcomes), all(o.code == 2 and not o.faults for o in outcomes)


def _refusals(outcomes: list[Outcome]) -> str:
    refused = sum(o.code == 2 for o in outcomes)
    short = [o for o in outcomes if o.faults]
    for outcome in short:
        click.echo(f"{outcome.case}: {'; '.join(outcome.faults)}", err=True)
    return f"{len(outcomes)} inputs: {refused} refused, {len(short)} short of the promise"


GOALS: dict[str, tuple[str, Callable[[Bench], tuple[str, bool]]]] = {
    "G1": (f"bad input: one line, ≤ {MOST_SECONDS:g} s, ≤ {MOST_MEMORY} MB", bad_inputs),
    "G2": (f"bombs: ≤ {BOMB_SECONDS:g} s, ≤ {BOMB_MEMORY} MB", bombs),
    "G3": (f"damaged films: ≥ {LEAST_FRAMES:.0%} of frames, all sound", damaged_films),
    "G4": ("cut films: all frames before the cut, playable", cut_films),
    "G8": ("external data: all refused", weights_elsewhere),
    "G9": (f"metadata bombs: ≤ {METADATA_SECONDS:g} s", hostile_metadata),
    "G10": ("pickles: the canary never appears", pickles),
    "G12": ("playlists: all refused", playlists),
}


@command(help=__doc__ and "\b\n" + __doc__.replace("\n\n", "\n\n\b\n"))
@click.argument("goals", nargs=-1, type=click.Choice(list(GOALS)))
@click.option("--count", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def main(goals: tuple[str, ...], count: int, seed: int, as_json: bool) -> None:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        good = Goods.make(Path(folder) / "good")
        for goal in goals or GOALS:
            promise, measure = GOALS[goal]
            place = Path(folder) / goal
            place.mkdir()
            figure, reached = measure(Bench(count, seed, good, place))
            verdict = "pass" if reached else "SHORT"
            rows.append({"goal": goal, "promise": promise, "reached": figure, "": verdict})
    show(f"Trust, seed {seed}", this_machine(), rows, as_json)
    if missed := [str(row["goal"]) for row in rows if row[""] != "pass"]:
        raise fail(f"short of {', '.join(missed)}", 1)


if __name__ == "__main__":
    main()
