"""benchmarks.training: the parts of a small training step, whose times add up to the whole."""

from __future__ import annotations

import json
import time

import pytest
import torch
from click.testing import CliRunner

from benchmarks import machine, training


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine.matrix_rate, "__defaults__", (64, 0.01))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_nested_parts_do_not_count_twice() -> None:
    times = training.PartTimes()
    with times.part("outer"):
        spin(0.01)
        with times.part("inner", backward=True):
            spin(0.03)
        spin(0.01)
    inner, outer = times.seconds["inner", True], times.seconds["outer", False]
    assert inner >= 0.03
    assert 0.02 <= outer < inner


def test_backward_nodes_count_for_the_part_that_created_them() -> None:
    times = training.PartTimes()
    weight = torch.ones(300, 300, requires_grad=True)
    product = times.around(lambda: "product", lambda x: x @ weight @ weight)
    root = times.around(lambda: "root", lambda x: x.square().sum())
    with times.part("rest", backward=True):
        root(product(torch.ones(300, 300)) * 2).backward()
    assert times.seconds["product", True] > 0
    assert times.seconds["root", True] > 0


def test_a_step_of_cin() -> None:
    words = ["--size", "72", "--batch", "1", "--shape", "fastest", "--steps", "2", "--json"]
    result = CliRunner().invoke(training.main, words)
    assert result.exit_code == 0, result.output
    rows = {row["part"]: row for row in json.loads(result.stdout)["rows"]}
    assert [*rows] == [*training.PARTS, "step"]
    both = (training.TRANSFORM, training.LOSS_NETWORK, training.GRAM, training.OTHER)
    assert all(rows[part]["forward"] > 0 and rows[part]["backward"] > 0 for part in both)
    only_forward = (training.PHOTOGRAPHS, training.DATA, training.OPTIMIZER)
    assert all(rows[part]["forward"] > 0 == rows[part]["backward"] for part in only_forward)
    parts = sum(rows[part]["ms"] for part in training.PARTS)
    assert rows["step"]["ms"] == pytest.approx(parts)
