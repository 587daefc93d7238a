"""Color described by code points instead of a profile: cICP and gAMA/cHRM in PNG, nclx in AVIF.

Code points are those of ITU-T H.273. Everything is converted to 8-bit sRGB, which the engines are
trained on; PQ and HLG are mapped by the tone curve for videos (see hdr.py).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from st.runtime.pictures.hdr import HLG, PQ, hlg_to_light, light_to_sdr, pq_to_light

Chromaticities = tuple[float, float, float, float, float, float, float, float]  # white, R, G, B

D65, DCI_WHITE, C = (0.3127, 0.3290), (0.314, 0.351), (0.310, 0.316)
BT709 = (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
SMPTE_170M = (*D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07)
PRIMARIES: dict[int, Chromaticities] = {
    1: BT709,
    4: (*C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),  # BT.470 M
    5: (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),  # BT.470 BG
    6: SMPTE_170M,
    7: SMPTE_170M,
    8: (*C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),  # video
    9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (*DCI_WHITE, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # DCI-P3
    12: (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
    22: (*D65, 0.63, 0.34, 0.295, 0.605, 0.155, 0.077),  # EBU 3213
}
# Transfer -> exponent. All others except PQ and HLG count as sRGB.
GAMMA = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
NEAR = 0.001  # tolerated difference of chromaticities and of gAMA values
SRGB_GAMA = 0.45455
ENTRIES = 1 << 14  # size of the table from linear light to sRGB
BAND = 1 << 18  # pixels converted at once
MAX_HEADER = 1 << 20  # bytes of an AVIF file that are searched for its color


@dataclass(frozen=True)
class CodedColor:
    """Color of RGB samples. The default is sRGB.

    primaries: xy of white, red, green and blue.
    gamma: the exponent from samples to light; None for sRGB's curve. transfer: PQ, HLG or 0.
    full: whether samples use the full range, not 16..235 of 255.
    depth: bits per sample in the file.
    """

    primaries: Chromaticities = BT709
    gamma: float | None = None
    transfer: int = 0
    full: bool = True
    depth: int = 8

    @property
    def is_srgb(self) -> bool:
        same = all(abs(a - b) < NEAR for a, b in zip(self.primaries, BT709, strict=True))
        return same and self.gamma is None and not self.transfer and self.full

    @property
    def hdr(self) -> bool:
        return self.transfer in (PQ, HLG)


def of_codes(primaries: int, transfer: int, full: bool = True, depth: int = 8) -> CodedColor:
    """The color of H.273 code points; unspecified and unknown ones count as sRGB."""
    return CodedColor(
        PRIMARIES.get(primaries, BT709),
        GAMMA.get(transfer),
        transfer if transfer in (PQ, HLG) else 0,
        full,
        depth,
    )


def coded_color(image: Image.Image, file: BinaryIO, start: int) -> CodedColor | None:
    """The color that a PNG or AVIF file describes instead of a profile, or None.

    image: as opened, not yet loaded. file: of its bytes, which begin at `start`; its position is
    kept. A PNG's cICP wins over its profile, a profile over all else.
    """
    place = file.tell()
    try:
        file.seek(start)
        if image.format == "PNG":
            return _of_png(image, file)
        if image.format == "AVIF" and not image.info.get("icc_profile"):
            return _of_avif(file.read(MAX_HEADER))
    except (struct.error, ValueError, IndexError):
        return None
    finally:
        file.seek(place)
    return None


def _of_png(image: Image.Image, file: BinaryIO) -> CodedColor | None:
    depth = 8
    file.seek(8, 1)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in (b"IDAT", b"IEND"):
            break
        if kind == b"IHDR":
            depth = file.read(length)[8]
        elif kind == b"cICP":
            primaries, transfer, _, full = file.read(length)[:4]
            return of_codes(primaries, transfer, bool(full), depth)
        else:
            file.seek(length, 1)
        file.seek(4, 1)
    info = image.info
    if info.get("icc_profile") or "srgb" in info or not {"gamma", "chromaticity"} & set(info):
        return None
    gamma = float(info.get("gamma", SRGB_GAMA))
    corners = tuple(info.get("chromaticity", BT709))
    if gamma <= 0 or len(corners) != 8 or min(corners[1::2]) <= 0:
        return None
    near = abs(gamma - SRGB_GAMA) < NEAR
    return CodedColor(corners, None if near else 1 / gamma, depth=depth)


def _of_avif(data: bytes) -> CodedColor | None:
    """The nclx box and the bit depth of the first item."""
    depth, found = 8, None
    for kind, body in _boxes(data, (b"meta", b"iprp", b"ipco")):
        if kind == b"av1C" and len(body) > 2 and depth == 8:
            depth = (8, 8, 10, 12)[2 * (body[2] >> 6 & 1) + (body[2] >> 5 & 1)]
        elif kind == b"colr" and body[:4] == b"nclx" and found is None:
            found = struct.unpack(">HH", body[4:8])
    return found and of_codes(*found, depth=depth)


def _boxes(data: bytes, inside: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of the boxes in an ISO base media file; those named are opened in turn."""
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        if size < 8:  # up to the end, or a 64-bit size: headers have neither
            return
        body = data[place + 8 : place + size]
        if kind in inside:
            yield from _boxes(body[4:] if kind == b"meta" else body, inside)
        else:
            yield kind, body
        place += size


def to_srgb_codes(samples: NDArray[np.uint8 | np.uint16], color: CodedColor) -> NDArray[np.uint8]:
    """(H, W, 3) RGB samples of `color.depth` bits, in uint8 or uint16, to 8-bit sRGB (H, W, 3).

    HDR is mapped to BT.709 code values, as in videos.
    """
    top = (1 << color.depth) - 1
    light = _light_table(color, top)
    matrix = to_bt709(color.primaries)
    out = np.empty(samples.shape, np.uint8)
    rows = max(1, BAND // samples.shape[1])
    for first in range(0, len(samples), rows):
        linear = light[samples[first : first + rows]]
        if color.hdr:
            linear = hlg_to_light(linear) if color.transfer == HLG else linear
            shown = light_to_sdr(linear, matrix) * 255
        else:
            linear = cv2.transform(linear, matrix)
            shown = _srgb_table()[np.rint(np.clip(linear, 0, 1) * (ENTRIES - 1)).astype(np.intp)]
        out[first : first + rows] = np.rint(shown)
    return out


def _light_table(color: CodedColor, top: int) -> NDArray[np.float64]:
    """Light of each sample 0..top; for HLG its code value, since light depends on all three."""
    code = np.arange(top + 1) / top
    if not color.full:
        code = np.clip((code * 255 - 16) / 219, 0, 1)
    if color.transfer == PQ:
        return pq_to_light(code)
    if color.transfer == HLG:
        return code
    if color.gamma is not None:
        return code**color.gamma
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


@lru_cache(maxsize=1)
def _srgb_table() -> NDArray[np.float32]:
    """sRGB code values 0..255 of linear light 0..1, ENTRIES of them (IEC 61966-2-1)."""
    light = np.linspace(0, 1, ENTRIES)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (code * 255).astype(np.float32)


def to_bt709(primaries: Chromaticities) -> NDArray[np.float64]:
    """(3, 3) from linear RGB of these primaries to BT.709's, white to white (Bradford)."""
    cone = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    own, ours = cone @ _xyz(*primaries[:2]), cone @ _xyz(*D65)
    adapt = np.linalg.inv(cone) @ np.diag(ours / own) @ cone
    return np.linalg.inv(_to_xyz(BT709)) @ adapt @ _to_xyz(primaries)


def _to_xyz(primaries: Chromaticities) -> NDArray[np.float64]:
    corners = np.column_stack([_xyz(*primaries[i : i + 2]) for i in (2, 4, 6)])
    return corners * np.linalg.solve(corners, _xyz(*primaries[:2]))


def _xyz(x: float, y: float) -> NDArray[np.float64]:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def deep_samples(data: bytes, depth: int) -> NDArray[np.uint16] | None:
    """(H, W, 3) RGB of a PNG or AVIF with more than 8 bits, as stored; None where that fails."""
    flat = np.frombuffer(data, np.uint8)
    try:
        samples = cv2.imdecode(flat, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if samples is None or samples.dtype != np.uint16:
        return None
    if samples.ndim == 2:
        samples = cv2.merge([samples] * 3)
    rgb = cv2.cvtColor(np.ascontiguousarray(samples[..., :3]), cv2.COLOR_BGR2RGB)
    return np.minimum(rgb, (1 << depth) - 1).astype(np.uint16)
