"""Decode with OpenCV, without its messages about damaged files on standard error."""

from __future__ import annotations

import threading
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.system.opencv_log import SILENT, set_log_level

_LOCK = threading.Lock()  # the log level is global to the process


def decode_unchanged(data: bytes) -> NDArray[Any] | None:
    """(H, W) or (H, W, channels), BGR or BGRA, of the file's type; None if OpenCV rejects it."""
    with _LOCK:
        before = set_log_level(SILENT)
        try:
            return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            return None
        finally:
            set_log_level(before)
