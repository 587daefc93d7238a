"""Style and engine names as people type them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from st.runtime import BadControl, BadInput, Stylizer
from st.runtime.engine.location import engine_path
from st.runtime.engine.names import find_name, similar_names
from tests.support import toys

NAMES = ("wave", "the_scream", "starry_night", "woman_with_hat", "night_watch", "Été")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("wave", "wave"),
        ("Wave", "wave"),
        ("scream", "the_scream"),
        ("The Scream", "the_scream"),
        ("starry night", "starry_night"),
        ("starry-night", "starry_night"),
        ("StarryNight", "starry_night"),
        (" hat ", "woman_with_hat"),
        ("ete", "Été"),
        ("night", None),  # two have it
        ("wvae", None),
        ("", None),
        ("_", None),
    ],
)
def test_names_are_found_despite_case_and_separators(text: str, found: str | None) -> None:
    assert find_name(text, NAMES) == found


@pytest.mark.parametrize(
    ("text", "close"),
    [
        ("wvae", ["wave"]),
        ("night", ["starry_night", "night_watch"]),
        ("screm", ["the_scream"]),
        ("zzzz", []),
    ],
)
def test_close_names_are_suggested(text: str, close: list[str]) -> None:
    assert similar_names(text, NAMES) == close


@given(some.text(max_size=300), some.lists(some.text(min_size=1, max_size=20), max_size=6))
def test_lookup_of_any_text_returns_a_listed_name_or_none(text: str, names: list[str]) -> None:
    assert find_name(text, names) in (*names, None)
    assert set(similar_names(text, names)) <= set(names)


def test_an_exact_name_wins_over_one_that_differs_in_case() -> None:
    assert find_name("Wave", ("wave", "Wave")) == "Wave"
    assert find_name("WAVE", ("wave", "Wave")) is None


def test_stylizers_accept_loose_names_and_suggest_close_ones(tmp_path: Path) -> None:
    paint = Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device="cpu")
    assert paint.set_style("BLACK").identity == paint.styled("black").identity
    with pytest.raises(BadControl, match="no style 'blakc': did you mean black"):
        paint.set_style("blakc")


def test_shipped_engines_are_found_by_loose_names() -> None:
    assert engine_path("Paintings Light") == engine_path("paintings-light")
    with pytest.raises(BadInput, match="did you mean paintings"):
        engine_path("paintigs")
