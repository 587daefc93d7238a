"""Measure whether st can be trusted with files from strangers: goal, result, pass or short.

    python -m benchmarks.trust              all goals: most of an hour
    python -m benchmarks.trust --short      a small part of each
    python -m benchmarks.trust G1 G9 --count 200 --seed 3

G1   bad inputs of every kind are rejected by every command
G2   pictures and videos that claim to be huge are rejected by their headers
G3   damaged videos keep their frames and their sound
G4   truncated videos keep everything before the cut, and the output plays
G5   a video that was killed at any moment resumes to the result of an uninterrupted run
G6   I/O errors, full disks and signals leave no incomplete file under a final name
G7   ten hours of video, an hour of changing sizes, a hundred visits: memory does not grow
G8   engines with weights in other files are rejected
G9   engines with hostile metadata are rejected within a second
G10  no code in a file is ever executed
G11  names are not used as paths or terminal codes; no input is overwritten
G12  playlists that pose as videos are rejected
G13  the server rejects strangers and floods
G14  reference clips keep their streams, tags, times and colors
G15  threads and forked processes share an engine; CPU quotas are respected
G16  shipped engines paint no grid pattern, halo, blob or seam

Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from benchmarks.machine import this_machine
from benchmarks.report import Row, show
from benchmarks.trust import engines as trust_engines
from benchmarks.trust import faults as trust_faults
from benchmarks.trust import films as trust_films
from benchmarks.trust import golden as trust_golden
from benchmarks.trust import inputs as trust_inputs
from benchmarks.trust import memory as trust_memory
from benchmarks.trust import names as trust_names
from benchmarks.trust import server as trust_server
from benchmarks.trust import threads as trust_threads
from benchmarks.trust.bench import WHOLE, Bench, Goal
from st.runtime.cli.base import command, fail
from tests.support.hostile.goods import Goods
from tests.support.hostile.runner import MAX_MEMORY, MAX_SECONDS

SHORT = 20

GOALS: dict[str, tuple[str, Goal]] = {
    "G1": (
        f"bad input: one line, ≤ {MAX_SECONDS:g} s, ≤ {MAX_MEMORY} MB",
        trust_inputs.bad_inputs,
    ),
    "G2": ("bombs: rejected by the header, ≤ 0.5 s, ≤ 200 MB", trust_inputs.bombs),
    "G3": ("damaged videos: ≥ 99% of frames, all sound", trust_films.damaged_films),
    "G4": ("truncated videos: all frames before the cut, playable", trust_films.cut_films),
    "G5": ("kill -9: same result as uninterrupted", trust_faults.killed_films),
    "G6": ("failing calls, full disk, SIGTERM: 0 incomplete files", trust_faults.faults),
    "G7": ("memory: ≤ +20 MB in ten hours, ≤ +50 MB of sizes, of visits", trust_memory.memory),
    "G8": ("external data: all rejected", trust_inputs.weights_elsewhere),
    "G9": ("metadata bombs: ≤ 1 s", trust_inputs.hostile_metadata),
    "G10": ("pickles: nothing executed", trust_inputs.pickles),
    "G11": ("names: never a path, never raw; output = input rejected", trust_names.names),
    "G12": ("playlists: all rejected", trust_inputs.playlists),
    "G13": ("server: strangers, floods and dead peers", trust_server.server),
    "G14": ("reference clips: nothing lost, colors ≤ 2/255", trust_golden.golden_clips),
    "G15": ("threads = serial, forks end well, quotas respected", trust_threads.threads),
    "G16": ("shipped engines: no grid pattern, halo, blob or seam", trust_engines.artifacts),
}


@command(help=__doc__ and "\b\n" + __doc__.replace("\n\n", "\n\n\b\n"))
@click.argument("goals", nargs=-1, type=click.Choice(list(GOALS)))
@click.option("--count", type=click.IntRange(min=1), default=WHOLE, show_default=True)
@click.option("--short", is_flag=True, help=f"Measure a small part of each goal: --count {SHORT}.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def main(goals: tuple[str, ...], count: int, short: bool, seed: int, as_json: bool) -> None:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        good = Goods.make(Path(folder) / "good")
        for goal in goals or GOALS:
            promise, measure = GOALS[goal]
            place = Path(folder) / goal
            place.mkdir()
            reached = measure(Bench(SHORT if short else count, seed, good, place))
            verdict = "pass" if reached.passed else "SHORT"
            rows.append({"goal": goal, "promise": promise, "reached": reached.figure, "": verdict})
    show(f"Trust, seed {seed}", this_machine(), rows, as_json)
    if missed := [str(row["goal"]) for row in rows if row[""] != "pass"]:
        raise fail(f"short of {', '.join(missed)}", 1)


if __name__ == "__main__":
    main()
