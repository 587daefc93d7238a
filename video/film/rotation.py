"""Rotation and mirroring by a display matrix (a phone held upright)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from numpy.typing import NDArray

# (a, b, c, d) of the display matrix, which maps stored x, y to a*x + c*y, b*x + d*y,
# -> (whether to transpose, the code for cv2.flip after that).
_RIGHT_ANGLES: dict[tuple[int, int, int, int], tuple[bool, int | None]] = {
    (1, 0, 0, 1): (False, None),
    (-1, 0, 0, 1): (False, 1),
    (1, 0, 0, -1): (False, 0),
    (-1, 0, 0, -1): (False, -1),
    (0, 1, 1, 0): (True, None),
    (0, 1, -1, 0): (True, 1),
    (0, -1, 1, 0): (True, 0),
    (0, -1, -1, 0): (True, -1),
}


@dataclass(frozen=True)
class DisplayRotation:
    """Maps stored pixels to the displayed picture.

    matrix: the nine numbers of the display matrix; None if the video has none.
    """

    matrix: tuple[int, ...] | None = None

    @classmethod
    def of(cls, frame: VideoFrame) -> DisplayRotation:
        for data in cast("Iterable[SideData]", frame.side_data):
            if data.type.name == "DISPLAYMATRIX":
                return cls(struct.unpack("9i", bytes(data)[:36]))
        return UPRIGHT

    @property
    def _steps(self) -> tuple[bool, int | None]:
        if self.matrix is None:
            return False, None
        a, b, c, d = (round(self.matrix[i] / 65536) for i in (0, 1, 3, 4))
        # Other angles are kept as metadata and applied by the player.
        return _RIGHT_ANGLES.get((a, b, c, d), (False, None))

    @property
    def swaps(self) -> bool:
        """Whether width and height are exchanged."""
        return self._steps[0]

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Stored pixels (H, W[, C]) -> displayed pixels."""
        transpose, flip = self._steps
        if transpose:
            picture = cv2.transpose(picture)  # type: ignore[assignment]
        return picture if flip is None else cv2.flip(picture, flip)  # type: ignore[return-value]

    def undo(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The inverse of `apply`."""
        transpose, flip = self._steps
        if flip is not None:
            picture = cv2.flip(picture, flip)  # type: ignore[assignment]
        return cv2.transpose(picture) if transpose else picture  # type: ignore[return-value]


UPRIGHT = DisplayRotation()
