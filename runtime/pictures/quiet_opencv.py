"""Decode by OpenCV without its lines about damaged files on standard error."""

from __future__ import annotations

import threading
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_LOCK = threading.Lock()  # the log level is the whole process's


def decode_unchanged(data: bytes) -> NDArray[Any] | None:
    """(H, W) or (H, W, channels), BGR or BGRA, of the file's type; None where OpenCV refuses it."""
    with _LOCK:
        before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            return None
        finally:
            cv2.utils.logging.setLogLevel(before)
