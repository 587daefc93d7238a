"""The adaptive paint size: falls at once, rises cautiously, and does not oscillate."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from st.runtime.engine.metadata import Metadata
from st.video.live import painter as live_painter
from st.video.live.adaptive import FULL, ROOM, SMALLEST, Resolution, sizes
from st.video.live.painter import LivePainter

FRAMES = 1200


def simulate(
    resolution: Resolution, fixed: float, a_pixel: float, noise: float, seed: int, frames: int
) -> list[tuple[int, int]]:
    """Simulate a machine that takes fixed + a_pixel * pixels seconds; return each frame's size."""
    random = np.random.default_rng(seed)
    chosen = []
    for _ in range(frames):
        height, width = resolution.size
        chosen.append((height, width))
        took = fixed + a_pixel * height * width
        resolution.observe(took * (1 + noise * random.uniform(-1, 1)))
    return chosen


@settings(max_examples=40, deadline=None)
@given(
    size=some.tuples(some.integers(100, 2000), some.integers(100, 2000)),
    target=some.floats(5, 60),
    share=some.floats(0.01, 20),
    fixed=some.floats(0, 0.4),
    noise=some.floats(0, 0.1),
    seed=some.integers(0, 99),
)
def test_the_size_settles_where_the_rate_holds(
    size: tuple[int, int], target: float, share: float, fixed: float, noise: float, seed: int
) -> None:
    choices = sizes(*size)
    a_pixel = share / target / (size[0] * size[1])  # the whole picture takes `share` of a frame
    resolution = Resolution(choices, target)
    chosen = simulate(resolution, fixed / target, a_pixel, noise, seed, FRAMES)
    settled = chosen[-FRAMES // 3 :]
    # A rise that needs a lucky median may come late; it must not be undone.
    assert sum(a != b for a, b in pairwise(settled)) <= 1, "it swings"
    cost = [(fixed / target + a_pixel * h * w) * target for h, w in choices]
    at = choices.index(settled[-1])
    assert cost[at] <= 1.0 or at == len(choices) - 1
    # No larger size would have fitted, even by the cautious forecast.
    for larger in range(at):
        pixels = choices[larger][0] * choices[larger][1] / (settled[-1][0] * settled[-1][1])
        assert cost[at] * pixels * (1 + noise) > ROOM * (1 - noise)


@settings(max_examples=20, deadline=None)
@given(slow=some.floats(1.5, 8), seed=some.integers(0, 99))
def test_the_size_falls_under_load_and_recovers(slow: float, seed: int) -> None:
    choices = sizes(720, 1280)
    a_pixel = 0.5 / 30 / (1280 * 720)
    resolution = Resolution(choices, 30)
    before = simulate(resolution, 0, a_pixel, 0.05, seed, 600)
    busy = simulate(resolution, 0, a_pixel * slow, 0.05, seed, 600)
    after = simulate(resolution, 0, a_pixel, 0.05, seed, 4000)
    assert before[-1] == (720, 1280)
    height, width = busy[-1]
    assert a_pixel * slow * width * height * 30 <= 1
    if a_pixel * slow * 1280 * 720 * 30 > 1.06:
        late = busy.index(next(size for size in busy if size != (720, 1280)))
        assert late <= 10  # frames: at once
    assert after[-1] == (720, 1280)
    assert len({*after[-1000:]}) == 1


def test_a_single_slow_frame_changes_nothing() -> None:
    resolution = Resolution(sizes(360, 640), 30)
    for number in range(200):
        resolution.observe(1.0 if number % 20 == 0 else 0.02)
        assert resolution.size == (360, 640)


def test_a_failed_rise_is_retried_ever_less_often() -> None:
    """A machine that is suddenly slower above a certain size, for example when a cache is full."""
    resolution = Resolution(sizes(720, 1280), 30)
    rises, last = [], resolution.size[1]
    for number in range(6000):
        resolution.observe(0.05 if resolution.size[1] > 800 else 0.01)
        if resolution.size[1] > last:
            rises.append(number)
        last = resolution.size[1]
    gaps = np.diff(rises)
    assert len(rises) < 12
    assert gaps[-1] > 5 * gaps[0]


@settings(max_examples=100, deadline=None)
@given(
    height=some.integers(1, 8000),
    width=some.integers(1, 8000),
    most=some.integers(10_000, 10**8),
)
def test_sizes_keep_the_aspect_ratio(height: int, width: int, most: int) -> None:
    found = sizes(height, width, most)
    pixels = [h * w for h, w in found]
    assert pixels == sorted(pixels, reverse=True)
    assert len({*found}) == len(found) >= 1
    assert all(1 <= w <= max(width, 8) and 1 <= h <= max(height, 8) for h, w in found)
    assert width * height > most or found[0] == (height, width)
    for h, w in found:
        assert w * h <= most or min(w, h) <= SMALLEST
        assert abs(w - width * h / height) <= 8 + 8 * width / height


def test_the_two_thresholds_leave_a_gap() -> None:
    assert ROOM * 1.15 < FULL < 1


def test_the_painter_keeps_the_target_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a simulated clock: painting a 720p picture takes four frame periods."""
    now = [0.0]
    monkeypatch.setattr(live_painter.time, "monotonic", lambda: now[0])
    seen = []

    def paint(picture: np.ndarray) -> np.ndarray:
        seen.append(picture.shape)
        now[0] += picture.shape[0] * picture.shape[1] / (1280 * 720) * 4 / 25
        return 255 - picture

    painter = LivePainter(paint, Metadata("toy"), 25)
    picture = np.full((720, 1280, 3), 55, np.uint8)
    for _ in range(150):
        painted = painter(picture)
        assert painted.shape == picture.shape
        assert (painted == 200).all()
    height, width = painter.size
    assert 0.6 < width * height / (1280 * 720 / 4) <= 1
    assert width / height == pytest.approx(16 / 9, rel=0.05)
    assert seen[-1] == (height, width, 3)
    # A new frame size starts over.
    assert painter(np.zeros((200, 100, 3), np.uint8)).shape == (200, 100, 3)


def test_a_size_set_by_the_user_or_the_engine_is_kept() -> None:
    picture = np.zeros((90, 160, 3), np.uint8)
    chosen = LivePainter(lambda p: p, Metadata("toy"), 30, longest=80)
    chosen(picture)
    assert chosen.size == (45, 80)
    fixed = LivePainter(lambda p: p, Metadata("toy", fixed_size=(64, 64)), 30)
    fixed(picture)
    assert fixed.size == (36, 64)
