"""benchmarks.trust: a taste of the goals, and faults planted where each of them looks.

Bad files, faults, the server, golden clips and threads have their own tests; what is tested here is
that the figures are taken and that what is wrong is seen.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import machine
from benchmarks.trust import golden as trust_golden
from benchmarks.trust import memory as trust_memory
from benchmarks.trust import threads as trust_threads
from benchmarks.trust.__main__ import GOALS, main
from benchmarks.trust.bench import Bench, Reached
from benchmarks.trust.names import _kept, _refused
from st.runtime import Stylizer
from st.video.film.color import Converter
from tests.support import toys
from tests.support.hostile.goods import Goods
from tests.support.sharing import mixed_up
from tests.support.video.golden import color_error, losses, make, repainted


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.matrix_rate, "__defaults__", (64, 0.01))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Goods:
    return Goods.make(tmp_path_factory.mktemp("good"))


@pytest.fixture
def bench(good: Goods, tmp_path: Path) -> Bench:
    return Bench(3, 5, good, tmp_path)


@pytest.mark.usefixtures("quick")
def test_goals_are_chosen_by_name_and_the_seed_is_reported() -> None:
    result = CliRunner().invoke(main, ["G4", "G12", "--count", "3", "--seed", "7", "--json"])
    assert result.exit_code == 0, result.output
    table = json.loads(result.stdout)
    assert table["title"] == "Trust, seed 7"
    assert [row["goal"] for row in table["rows"]] == ["G4", "G12"]
    assert all(row[""] == "pass" and re.search(r"\d", row["reached"]) for row in table["rows"])


@pytest.mark.usefixtures("quick")
def test_a_missed_goal_exits_with_1_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GOALS, "G4", ("all", lambda bench: Reached("half of it", False)))
    result = CliRunner().invoke(main, ["G4"])
    assert result.exit_code == 1
    assert "SHORT" in result.stdout
    assert "half of it" in result.stdout
    assert result.stderr.endswith("Error: short of G4\n")


def test_all_goals_are_listed() -> None:
    assert list(GOALS) == [f"G{number}" for number in range(1, 17)]
    assert main.help
    assert all(f"\n{goal} " in main.help for goal in GOALS)


def test_count_scales_the_number_of_cases() -> None:
    goods = Goods(Path(), {})
    assert Bench(1000, 0, goods, Path()).scaled(900_000) == 900_000
    assert Bench(20, 0, goods, Path()).scaled(100, 4) == 4


def test_growing_memory_is_detected() -> None:
    growth = trust_memory.Growth()
    growth.start()
    assert growth.most < 4
    with mmap.mmap(-1, 12 << 20) as held:  # an array might take what was freed before
        held.write(b"1" * (12 << 20))
        assert 11 < growth.most < 30
    assert growth.most > 11  # the peak counts


def test_memory_stays_flat_over_a_video_and_many_sizes(tmp_path: Path) -> None:
    assert trust_memory.film_growth(tmp_path, trust_memory.SETTLED + 500) <= 20
    engine = toys.tiles_pair(tmp_path / "pair.onnx")
    assert trust_memory.sizes_growth(engine, trust_memory.SETTLED + 200, seed=0) <= 50


class Told:
    """A worker with arbitrary answers."""

    def __init__(self, code: int, err: str) -> None:
        self.answer = {"code": code, "out": "", "err": err}

    def run(self, *_: object) -> dict[str, object]:
        return self.answer


def test_unescaped_names_are_detected(bench: Bench) -> None:
    words = ["st-image", "a.png", "-o", "out.png", "-s", "../x"]

    def faults(code: int, err: str) -> list[str]:
        return list(_refused(Told(code, err), words, bench.folder))  # type: ignore[arg-type]

    assert faults(2, "Error: no such style\n") == []
    assert "exit code 0" in faults(0, "Error: x\n")[0]
    assert "terminal" in faults(2, "Error: \x1b[2J\n")[0]
    assert len(faults(2, "Error: a\nError: forged\n")) == 1
    assert len(faults(2, "Error: root:x:0:0\n")) == 1
    (bench.folder / "out.png").touch()
    assert "wrote" in faults(2, "Error: x\n")[0]


def test_overwritten_inputs_are_detected(bench: Bench) -> None:
    class Writing(Told):
        def run(self, command: str, words: list[str], place: Path) -> dict[str, object]:  # type: ignore[override]
            (place / words[0]).write_bytes(b"painted over")
            return self.answer

    found = list(_kept(Writing(0, ""), "st-image", "hard", bench))  # type: ignore[arg-type]
    assert len(found) == 2
    assert list(_kept(Told(2, ""), "st-image", "hard", bench)) == []  # type: ignore[arg-type]


def test_lost_colors_streams_and_frames_are_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make("two-sounds", tmp_path)
    target, lines = repainted("two-sounds", source)
    assert list(losses("two-sounds", source, target, lines)) == []
    own = Converter.to_frame
    with monkeypatch.context() as patch:

        def shifted(self: Converter, rgb: np.ndarray, *rest: object) -> object:
            return own(self, np.clip(rgb, 8, 255) - 8, *rest)  # type: ignore[arg-type]

        patch.setattr(Converter, "to_frame", shifted)
        repainted("two-sounds", source)
        assert color_error("two-sounds", source, target) > 3
    with monkeypatch.context() as patch:
        patch.setattr("st.video.film.writer.add_tracks", lambda *_: {})
        repainted("two-sounds", source)
        assert "streams ['video']" in list(losses("two-sounds", source, target, lines))
    with monkeypatch.context() as patch:
        patch.setattr("st.video.film.writer._chapters", lambda film: [])
        repainted("two-sounds", source)
        assert list(losses("two-sounds", source, target, ["said"])) == [
            "said: ['said']",
            "other chapters",
        ]


def test_mixed_up_threads_are_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = toys.tiles_pair(tmp_path / "pair.onnx")
    assert mixed_up(engine, "cpu", 3, 6) == (0, 4)
    own, calls = Stylizer.__call__, iter(range(10**6))

    def mixing(self: Stylizer, frame: np.ndarray, **how: object) -> np.ndarray:
        painted = own(self, frame, **how)  # type: ignore[arg-type]
        return painted if next(calls) < 24 else 255 - painted  # the serial ones are right

    monkeypatch.setattr(Stylizer, "__call__", mixing)
    assert mixed_up(engine, "cpu", 3, 6)[0] == 18


def test_cpu_quota_and_affinity_are_detected(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that uses more processors than allowed fails."""
    monkeypatch.setattr(trust_threads, "FORKS", ("exit",))
    monkeypatch.setattr(trust_threads, "find_spec", lambda name: None)
    monkeypatch.setattr(trust_threads, "idle_share", lambda engine: 0.0)
    assert trust_threads.threads(bench).passed
    monkeypatch.setattr(trust_threads, "idle_share", lambda engine: 2.0)
    assert not trust_threads.threads(bench).passed
    monkeypatch.setattr(trust_threads, "idle_share", lambda engine: 0.0)
    deaf = trust_threads.CHILD.replace(
        "before = len",
        "import st.runtime.backends.open as b; b.usable_cpus = lambda: 3\nbefore = len",
    )
    monkeypatch.setattr(trust_threads, "CHILD", deaf)
    reached = trust_threads.threads(bench)
    assert not reached.passed, reached


def test_a_server_without_access_checks_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiortc")
    pytest.importorskip("aiohttp")
    from aiohttp import web

    from benchmarks.trust.server import Tally, _strangers, _tokens
    from st.video.serve.guard import Guard
    from tests.support.serve.visiting import served, session_defaults

    @web.middleware
    async def open_door(_self: Guard, request: web.Request, handler):
        return await handler(request)

    async def knock(stylizer: Stylizer, tally: Tally) -> None:
        async with served(session_defaults(stylizer), "a token") as here:
            await _strangers(here, tally)
            await _tokens(here, tally)

    with Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device="cpu", threads=1) as stylizer:
        monkeypatch.setattr(Guard, "middleware", open_door)
        tally = Tally()
        asyncio.run(knock(stylizer, tally))
    assert len(tally.wrong) > 100
    assert any("Host 'evil.example'" in text for text in tally.wrong)
    assert any("no token" in text for text in tally.wrong)
    assert any("constant time" in text for text in tally.wrong)


def test_golden_clips_are_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = {"bt709": trust_golden.GOLDEN["bt709"]}
    monkeypatch.setattr(trust_golden, "GOLDEN", clip)
    assert trust_golden.golden_clips(bench) == (
        "1 videos: 0 things lost, colors off by 1.0/255 at most",
        True,
    )
