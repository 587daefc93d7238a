"""The device of a video that an earlier, interrupted run has begun."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from st.runtime.backends.open import REAL_DEVICES
from st.runtime.stylizer import Stylizer
from st.video.jobs.segment_store import stored_plan


def begun_device(
    stylizer: Stylizer, target: Path, paint_sizes: Sequence[int | None] | None = None
) -> str | None:
    """The device that painted the finished segments of a video, or None.

    Devices round differently, so a video must be continued on its own. None if there are no
    segments, or if they were painted with other settings.

    stylizer: with the settings of the video, on any device. target: the video to write.
    paint_sizes: what --paint-size auto may have chosen; by default the size of `stylizer`.
    """
    plan = stored_plan(target)
    if not plan:
        return None
    trials = [stylizer]
    if paint_sizes is not None:
        trials = [stylizer.styled().set_paint_size(size) for size in paint_sizes]
    for trial in trials:
        for device in REAL_DEVICES:
            if trial.identity_on(device) in plan:
                return device
    return None
