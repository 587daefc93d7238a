"""The x264 settings for the defaults and for the user's preset."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from st.video.jobs.job import Job, Painter, open_reader, perform
from tests.support.video import clips


def settings(folder: Path, preset: str | None) -> dict[str, str]:
    """The settings that x264 writes into the stream."""
    source = clips.film(folder / "in.mp4", frames=4)
    target = folder / "out.mp4"
    job = Job(source, preset=preset)
    reader = open_reader(job)
    perform(job, reader, target, Painter(lambda frame: frame))
    reader.close()
    found = re.search(rb"options: ([ -~]+)", target.read_bytes())
    assert found
    return dict(word.split("=", 1) for word in found[1].decode().split())


def test_the_default_has_the_rate_control_of_a_slower_preset(tmp_path: Path) -> None:
    told = settings(tmp_path, None)
    assert (told["mbtree"], told["rc_lookahead"], told["subme"]) == ("1", "10", "1")
    assert told["crf"] == "20.0"


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("superfast", {"subme": "1", "rc_lookahead": "0", "mbtree": "0"}),
        ("veryfast", {"subme": "2", "rc_lookahead": "10", "mbtree": "1"}),
        ("ultrafast", {"subme": "0", "rc_lookahead": "0", "mbtree": "0", "cabac": "0"}),
        ("medium", {"subme": "7", "rc_lookahead": "40", "mbtree": "1"}),
    ],
)
def test_a_preset_of_the_user_is_not_changed(
    tmp_path: Path, preset: str, expected: dict[str, str]
) -> None:
    told = settings(tmp_path, preset)
    # x264 leaves rc_lookahead out where nothing looks ahead.
    assert {name: told.get(name, "0") for name in expected} == expected
