"""benchmarks.cost: multiply-adds of a known graph, and the rates that follow from them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from benchmarks import cost, machine
from st import engines


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.matrix_rate, "__defaults__", (64, 0.01))


def test_a_rate_is_peak_by_operations() -> None:
    assert cost.Target("a machine", 100, 0.5).rate(1e9) == pytest.approx(25)


@pytest.mark.usefixtures("quick")
def test_the_cost_grows_with_the_pixels() -> None:
    words = ["--engine", engines.DEFAULT, "--size", "64x48", "--size", "128x96"]
    words += ["--peak", "200", "--reached", "0.25", "--json"]
    result = CliRunner().invoke(cost.main, words)
    assert result.exit_code == 0, result.output
    small, large = json.loads(result.stdout)["rows"]
    assert large["G multiply-adds"] == pytest.approx(4 * small["G multiply-adds"], rel=0.01)
    assert small["per pixel"] * 64 * 48 == pytest.approx(small["G multiply-adds"] * 1e9)
    assert (small["size"], large["size"]) == ("64×48", "128×96")
    assert large["200 GFLOP/s"] == pytest.approx(25 / large["G multiply-adds"])
