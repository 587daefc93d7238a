"""Films that an engine enlarges."""

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
    """The job and the paint of an engine that enlarges pictures; of another, as they are.

    The film gets the engine's size, or that of --size. Frames come to a paint in the size of the
    film that is written, so each is scaled down to what the engine takes first.

    Raises BadInput: raw frames, whose size their reader is told beforehand.
    """
    scale = stylizer.metadata.scale
    if scale == 1:
        return job, stylizer
    if job.raw:
        raise BadInput("--raw frames keep their size, and this engine enlarges: leave out --raw")
    if job.size is None:
        video_format = reader.video_format.upright()
        job = replace(job, size=(scale * video_format.width, scale * video_format.height))

    def paint(rgb: NDArray[np.uint8], **masks: Any) -> NDArray[np.uint8]:
        height, width = rgb.shape[:2]
        small = cv2.resize(
            rgb, (-(-width // scale), -(-height // scale)), interpolation=cv2.INTER_AREA
        )
        large = stylizer(small.astype(np.uint8, copy=False), **masks)
        return np.ascontiguousarray(large[:height, :width])

    return job, paint
