"""Videos painted by an upscaling engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.errors import BadInput
from st.runtime.stylizer import Stylizer
from st.video.jobs.job import Job, Reader
from st.video.jobs.pipeline import Paint


def with_upscaling(job: Job, reader: Reader, stylizer: Stylizer) -> tuple[Job, Paint]:
    """Adapt the job and the paint function to an upscaling engine; return others unchanged.

    The video gets the size of the job, or the source's size times the engine's scale. The paint
    function receives frames of the output size, so it scales each one down for the engine.

    Raises BadInput: the job writes raw frames, whose reader expects the source's size.
    """
    scale = stylizer.metadata.scale
    if scale == 1:
        return job, stylizer
    if job.raw:
        raise BadInput("raw frames keep their size, but this engine enlarges; use a video format")
    if job.size is None:
        video_format = reader.video_format.upright()
        job = replace(job, size=(scale * video_format.height, scale * video_format.width))

    def paint(rgb: NDArray[np.uint8], **masks: Any) -> NDArray[np.uint8]:
        height, width = rgb.shape[:2]
        small = cv2.resize(
            rgb, (-(-width // scale), -(-height // scale)), interpolation=cv2.INTER_AREA
        )
        large = stylizer(small.astype(np.uint8, copy=False), **masks)
        return np.ascontiguousarray(large[:height, :width])

    return job, paint
