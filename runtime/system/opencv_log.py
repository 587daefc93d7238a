"""OpenCV's log level, which is one for the whole process."""

from __future__ import annotations

from typing import Any

import cv2

SILENT = 0


def set_log_level(level: int) -> int:
    """Set OpenCV's log level; returns the previous one."""
    library: Any = cv2
    logging = getattr(library.utils, "logging", None)  # missing in OpenCV 4.10
    if logging is not None:
        return logging.setLogLevel(level)
    before = library.getLogLevel()  # missing in OpenCV 5
    library.setLogLevel(level)
    return before
