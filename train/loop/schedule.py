"""How the learning rate goes, and how many steps there is time for."""

from __future__ import annotations

import math

WARM_UP = 100  # steps
HELD = 0.6  # part of the steps at the full learning rate


def learning_rate(step: int, steps: int, peak: float) -> float:
    """A short warm-up, then `peak`, then a cosine to 0 over the last part."""
    warm_up = min(WARM_UP, steps // 5)
    if step < warm_up:
        return peak * (step + 1) / warm_up
    late = (step / steps - HELD) / (1 - HELD)
    return peak if late <= 0 else peak * 0.5 * (1 + math.cos(math.pi * late))


def planned_steps(step: int, steps: int, seconds: float, minutes: float | None) -> int:
    """How many steps there will be, at the speed of the first `step` of them."""
    if minutes is None or seconds <= 0 or step == 0:
        return steps
    return max(step, min(steps, round(step * minutes * 60 / seconds)))
