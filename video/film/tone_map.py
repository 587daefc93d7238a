"""HDR film (PQ or HLG, BT.2020) to what a BT.709 screen shows: engines know only such pictures.

One table over the cube of coded colors does all of it: coded values to light, highlights rolled
off, BT.2020 to BT.709 primaries, light to BT.709's code. FFmpeg's lut3d filter applies it.
"""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

PQ, HLG = 16, 18  # transfer characteriztics, ITU-T H.273
EDGE = 33  # points along each edge of the cube
WHITE = 203.0  # cd/m2 of diffuse white, ITU-R BT.2408
PEAK = 1000.0  # cd/m2 that still shows detail
KNEE = 0.7  # of SDR's range; light below it is left as it is
_TO_709 = np.array(  # ITU-R BT.2087
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])


def light_of_pq(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """PQ code 0..1 -> cd/m2 over WHITE (SMPTE ST 2084)."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = code ** (1 / m2)
    return 10000 / WHITE * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def light_of_hlg(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """HLG code (..., 3), 0..1 -> cd/m2 over WHITE on a screen of PEAK cd/m2 (ITU-R BT.2100)."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    luma = np.maximum(scene @ _LUMA_2020, 1e-6)[..., None]
    return PEAK / WHITE * scene * luma**0.2  # the system gamma, 1.2 at 1000 cd/m2


def to_sdr(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.2020 light (..., 3), 1 = diffuse white -> BT.709 code values 0..1."""
    brightest = np.maximum(light.max(-1, keepdims=True), 1e-9)
    # Scaling all three by one factor keeps the hue where the highlights bend.
    light = light * (_roll_off(brightest) / brightest)
    light = np.clip(light @ _TO_709.T, 0, 1)
    return np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)


def _roll_off(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Straight up to KNEE, then a parabola in the logarithm that reaches 1 at PEAK."""
    top = np.log(PEAK / WHITE / KNEE)
    t = np.clip(np.log(np.maximum(light, KNEE) / KNEE) / top, 0, 1)
    # Slope KNEE at t = 0 would follow the straight part in this scale; it flattens towards 1.
    slope = KNEE * top
    bent = KNEE + (1 - KNEE) * (1 - (1 - t) ** max(1.0, slope / (1 - KNEE)))
    return np.where(light <= KNEE, light, bent)


def cube(transfer: int) -> NDArray[np.float64]:
    """The table, (EDGE, EDGE, EDGE, 3): indices blue, green, red, code values in and out 0..1."""
    axis = np.linspace(0, 1, EDGE)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    code = np.stack([red, green, blue], -1)
    return to_sdr(light_of_pq(code) if transfer == PQ else light_of_hlg(code))


class ToneMap:
    """Maps frames of gbrp10le; not for more than one thread at a time."""

    def __init__(self) -> None:
        self._graphs: dict[tuple[int, int, int], Graph] = {}
        self._narrow = VideoReformatter()

    def __call__(self, frame: VideoFrame, transfer: int) -> VideoFrame:
        """A gbrp10le frame of coded HDR -> a gbrp frame of BT.709."""
        key = (transfer, frame.width, frame.height)
        if key not in self._graphs:
            self._graphs = {key: _graph(frame, transfer)}
        graph = self._graphs[key]
        frame.pts = None
        graph.vpush(frame)
        return self._narrow.reformat(graph.vpull(), format="gbrp", threads=1)


def _graph(frame: VideoFrame, transfer: int) -> Graph:
    rows = cube(transfer).reshape(-1, 3)
    text = f"LUT_3D_SIZE {EDGE}\n" + "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in rows)
    graph = Graph()
    with tempfile.TemporaryDirectory(prefix="st-") as folder:
        file = Path(folder) / "hdr.cube"
        file.write_text(text)
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)
        )
        table = graph.add("lut3d", file=str(file), interp="tetrahedral")
        sink = graph.add("buffersink")
        source.link_to(table)
        table.link_to(sink)
        graph.configure()  # reads the file
    return graph
