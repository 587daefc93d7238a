"""`python -m benchmarks.kernels` without a GPU."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

pytest.importorskip("triton", reason="needs the extra triton")

from benchmarks import kernels


def test_the_table_of_one_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = kernels.every(True, 89)
    monkeypatch.setattr(
        kernels, "every", lambda half, capability: {"adain": tiles["adain"][:1]}, raising=True
    )
    rows = list(kernels.counts((89,)))
    assert [row["maps"] for row in rows] == ["half", "float32"]
    assert all(row["spilled bytes"] == 0 and int(row["registers"] or 0) > 0 for row in rows)


def test_traffic_is_never_below_the_minimum() -> None:
    for row in kernels.bytes_moved(1080, 1920):
        assert float(row["of the least"] or 0) >= 1
        assert float(row["PyTorch MB"] or 0) > float(row["from memory"] or 0)
    one = kernels.traffic("adain", 512, 100, 2)
    assert one.least == 2 * 512 * 100 * 2  # read once, written once
    assert one.loads == 3 * 512 * 100 * 2  # statistics first


def test_bad_arguments_give_one_line() -> None:
    for words in (["--size", "large"], ["--capability", "42"]):
        done = CliRunner().invoke(kernels.main, words)
        assert done.exit_code == 2
        assert "Traceback" not in done.output


@pytest.mark.slow
def test_the_whole_command() -> None:
    done = CliRunner().invoke(kernels.main, ["--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {row["for"] for row in found["counts"]} == {
        "7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0",
    }  # fmt: skip
    assert sum(row["spilled bytes"] for row in found["counts"]) == 0
