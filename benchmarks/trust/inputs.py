"""G1, G2, G8, G9, G10 and G12: bad files through every command that reads files."""

from __future__ import annotations

from benchmarks.trust.bench import Bench, Reached, tell
from tests.support.hostile.entry_points import cases
from tests.support.hostile.runner import Outcome

BOMB_SECONDS, BOMB_MEMORY = 0.5, 200  # processor seconds; MB above a run that opens no file
METADATA_SECONDS = 1.0
BOMBS = ("bomb", "endless_digits", "huge_frames", "large_frames")


def bad_inputs(bench: Bench) -> Reached:
    outcomes = bench.run(cases(bench.count, bench.seed), "G1")
    seconds, peak = max(o.seconds for o in outcomes), max(o.peak for o in outcomes)
    figure = f"{_refusals(outcomes)}, at most {seconds:.1f} s and {peak} MB"
    return Reached(figure, not any(o.faults for o in outcomes))


def bombs(bench: Bench) -> Reached:
    chosen = [c for c in bench.through("st-image", BOMBS, 5) if c.kind.family == "picture"]
    chosen += [c for c in bench.through("st-video", BOMBS) if c.kind.family == "film"]
    idle = bench.run(bench.through("st-", ["missing"])[:2], "G2")[-1].peak
    chosen = [case for case in chosen if not case.kind.usable]
    outcomes = bench.run(chosen, "G2")
    seconds, more = max(o.seconds for o in outcomes), max(o.peak for o in outcomes) - idle
    figure = f"{_refusals(outcomes)}, at most {seconds:.2f} s and {more} MB more than idle"
    fine = not any(o.faults for o in outcomes)
    return Reached(figure, fine and seconds <= BOMB_SECONDS and more <= BOMB_MEMORY)


def weights_elsewhere(bench: Bench) -> Reached:
    outcomes = bench.run(bench.through("st-", ["weights_elsewhere"], bench.scaled(16, 8)), "G8")
    return Reached(_refusals(outcomes), all(o.code == 2 and not o.faults for o in outcomes))


def hostile_metadata(bench: Bench) -> Reached:
    words = ("metadata", "unknown_operators", "styles_that_are_paths", "picture_cut_off")
    outcomes = bench.run(bench.through("st-image --engine", words, bench.scaled(20, 4)), "G9")
    seconds = max(o.seconds for o in outcomes)
    fine = all(o.code == 2 and not o.faults for o in outcomes)
    figure = f"{_refusals(outcomes)}, at most {seconds:.2f} s"
    return Reached(figure, fine and seconds <= METADATA_SECONDS)


def pickles(bench: Bench) -> Reached:
    words = ("pickle", "archive", "zip_bomb", "code_header", "postscript")
    outcomes = bench.run(bench.through("st-", words, bench.scaled(5)), "G10")
    sung = sum("canary" in fault for o in outcomes for fault in o.faults)
    figure = f"{_refusals(outcomes)}, {sung} ran"
    return Reached(figure, not any(o.faults for o in outcomes))


def playlists(bench: Bench) -> Reached:
    words = ("playlist", "session_description", "filter_script", "pieces_elsewhere")
    outcomes = bench.run(bench.through("st-video", words), "G12")
    return Reached(_refusals(outcomes), all(o.code == 2 and not o.faults for o in outcomes))


def _refusals(outcomes: list[Outcome]) -> str:
    refused = sum(o.code == 2 for o in outcomes)
    short = [o for o in outcomes if o.faults]
    tell(f"{outcome.case}: {'; '.join(outcome.faults)}" for outcome in short)
    return f"{len(outcomes)} inputs: {refused} refused, {len(short)} short of the promise"
