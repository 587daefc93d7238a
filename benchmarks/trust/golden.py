"""G14: reference clips keep everything except the picture."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

from benchmarks.trust.bench import Bench, Reached, tell
from tests.support.video.golden import GOLDEN, LIMIT, color_error, losses, make, repainted

PART = 7  # frames in a segment, so that short clips have several


def golden_clips(bench: Bench) -> Reached:
    """G14: write each clip in one piece and in segments."""
    worst, wrong, clips = 0.0, [], 0
    with mock.patch("st.video.jobs.segments.SEGMENT_FRAMES", PART):
        for name, settings in _chosen(bench):
            folder = bench.folder / str(clips)
            folder.mkdir()
            source, clips = make(name, folder), clips + 1
            target, lines = repainted(name, source, settings)
            wrong += [f"{name}: {text}" for text in losses(name, source, target, lines)]
            worst = max(worst, color_error(name, source, target))
    tell(wrong)
    figure = f"{clips} videos: {len(wrong)} things lost, colors off by {worst:.1f}/255 at most"
    return Reached(figure, not wrong and worst <= LIMIT)


def _chosen(bench: Bench) -> Iterator[tuple[str, str | None]]:
    """All clips in both modes; for a smaller count, each in one mode."""
    ways = (None, "an engine that paints nothing")
    for number, name in enumerate(GOLDEN):
        for way in ways if bench.count >= 100 else ways[number % 2 :][:1]:
            yield name, way
