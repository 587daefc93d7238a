"""Convert PFM and Radiance HDR files to TIFF with 16 bits per channel, which Pillow decodes.

Portable FloatMap: white_level.py infers the white level. Radiance: samples are linear light, where
1 is diffuse white, and are mapped by the tone curve for HDR videos.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.pictures.deep_tiff import tiff_of, white_note
from st.runtime.pictures.hdr import light_to_sdr
from st.runtime.pictures.quiet_opencv import decode_unchanged
from st.runtime.pictures.white_level import to_unit, white_level

HEAD = 4096  # bytes that hold any header
PFM = re.compile(rb"P([Ff])\s+(\d{1,9})\s+(\d{1,9})\s+(-?[0-9.eE+-]{1,20})\s")
RADIANCE = re.compile(rb"#\?(?:RADIANCE|RGBE)\n(?:[^\n]*\n)*?\n[-+]Y (\d{1,9}) [-+]X (\d{1,9})\n")
BAND = 1 << 18  # pixels of Radiance converted at once


class FloatFile(NamedTuple):
    """rewrite: the file's bytes -> (a TIFF with 16 bits per channel, a note or None)."""

    width: int
    height: int
    rewrite: Callable[[bytes], tuple[bytes, str | None]]


def float_file(file: BinaryIO) -> FloatFile | None:
    """The PFM or Radiance file, or None for other files. The file's position is kept."""
    place = file.tell()
    head = file.read(HEAD)
    file.seek(place)
    if found := PFM.match(head):
        return FloatFile(int(found[2]), int(found[3]), _of_pfm)
    if found := RADIANCE.match(head):
        return FloatFile(int(found[2]), int(found[1]), _of_radiance)
    return None


def _of_pfm(data: bytes) -> tuple[bytes, str | None]:
    found = PFM.match(data[:HEAD])
    assert found is not None
    width, height, channels = int(found[2]), int(found[3]), 3 if found[1] == b"F" else 1
    order = "<" if found[4].startswith(b"-") else ">"
    size = width * height * channels * 4
    if len(data) < found.end() + size:
        raise ValueError("cut short")
    samples = np.frombuffer(data, f"{order}f4", size // 4, found.end())
    rows = samples.reshape(height, width, channels)[::-1]  # stored from the last row on
    white = white_level(rows)
    return tiff_of(_sixteen(to_unit(rows, white))), white_note(white)


def _of_radiance(data: bytes) -> tuple[bytes, str | None]:
    light = decode_unchanged(data)
    if light is None or light.dtype != np.float32 or light.ndim != 3:
        raise ValueError("a damaged Radiance picture")
    shown = np.empty(light.shape, np.uint16)
    rows = max(1, BAND // light.shape[1])
    for first in range(0, len(light), rows):
        band = cv2.cvtColor(light[first : first + rows], cv2.COLOR_BGR2RGB).astype(np.float64)
        shown[first : first + rows] = _sixteen(light_to_sdr(np.nan_to_num(band), np.eye(3)))
    return tiff_of(shown), None


def _sixteen(unit: NDArray[np.floating]) -> NDArray[np.uint16]:
    return np.rint(unit * 65535).astype(np.uint16)
