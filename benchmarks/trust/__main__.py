"""Whether st may be trusted with strangers' files: each goal, the figure reached, pass or short.

    python -m benchmarks.trust              all goals: most of an hour
    python -m benchmarks.trust --short      a taste of each
    python -m benchmarks.trust G1 G9 --count 200 --seed 3

G1   bad inputs of every kind through every command
G2   pictures and films that claim to be huge are refused by their headers
G3   damaged films keep their frames and their sound
G4   cut films keep all before the cut, and what is written plays
G5   a film that was killed, at any moment, is the film of an unbroken run
G6   failing files, full disks and signals leave no half file under a final name
G7   ten hours of film, an hour of changing sizes, a hundred visits: no growth
G8   engines with weights in other files are refused
G9   engines with hostile metadata are refused in a second
G10  nothing in a file is ever run
G11  names are no paths and write nothing to the terminal; no input is overwritten
G12  playlists that pose as films are refused
G13  the server lets no stranger in, and no flood
G14  golden clips keep their streams, tags, times and colors
G15  threads and forked processes share an engine; quotas are honored
G16  shipped engines paint no raster, halo, blob or seam

Exits with 1 when a goal is missed.
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
from tests.support.hostile.runner import MOST_MEMORY, MOST_SECONDS

SHORT = 20

GOALS: dict[str, tuple[str, Goal]] = {
    "G1": (
        f"bad input: one line, ≤ {MOST_SECONDS:g} s, ≤ {MOST_MEMORY} MB",
        trust_inputs.bad_inputs,
    ),
    "G2": ("bombs: refused by the header, ≤ 0.5 s, ≤ 200 MB", trust_inputs.bombs),
    "G3": ("damaged films: ≥ 99% of frames, all sound", trust_films.damaged_films),
    "G4": ("cut films: all frames before the cut, playable", trust_films.cut_films),
    "G5": ("kill -9: the resumed film is the unbroken one", trust_faults.killed_films),
    "G6": ("failing calls, full disk, SIGTERM: 0 half files", trust_faults.faults),
    "G7": ("memory: ≤ +20 MB in ten hours, ≤ +50 MB of sizes, of visits", trust_memory.memory),
    "G8": ("external data: all refused", trust_inputs.weights_elsewhere),
    "G9": ("metadata bombs: ≤ 1 s", trust_inputs.hostile_metadata),
    "G10": ("pickles: the canary never appears", trust_inputs.pickles),
    "G11": ("names: never a path, never raw; output = input refused", trust_names.names),
    "G12": ("playlists: all refused", trust_inputs.playlists),
    "G13": ("server: strangers, floods and dead peers", trust_server.server),
    "G14": ("golden clips: all kept, colors ≤ 2/255", trust_golden.golden_clips),
    "G15": ("threads = serial, forks end well, quotas kept", trust_threads.threads),
    "G16": ("shipped engines: no raster, halo, blob or seam", trust_engines.artifacts),
}


@command(help=__doc__ and "\b\n" + __doc__.replace("\n\n", "\n\n\b\n"))
@click.argument("goals", nargs=-1, type=click.Choice(list(GOALS)))
@click.option("--count", type=click.IntRange(min=1), default=WHOLE, show_default=True)
@click.option("--short", is_flag=True, help=f"A taste of each, in seconds: --count {SHORT}.")
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
