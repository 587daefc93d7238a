"""Tone-map HDR video (PQ or HLG, BT.2020) to BT.709, which engines are trained on.

A single 3D lookup table does all steps: code values to linear light, highlight roll-off, BT.2020
to BT.709 primaries, linear light to BT.709 code values. FFmpeg's lut3d filter applies it.
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

from st.runtime.pictures.hdr import code_to_sdr

EDGE = 33  # points along each edge of the cube


def cube(transfer: int) -> NDArray[np.float64]:
    """The table, (EDGE, EDGE, EDGE, 3): indices blue, green, red, code values in and out 0..1."""
    axis = np.linspace(0, 1, EDGE)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    return code_to_sdr(np.stack([red, green, blue], -1), transfer)


class ToneMap:
    """Maps frames of gbrp10le. Not thread-safe."""

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
