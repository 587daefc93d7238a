"""Feature maps of a whole picture, kept between the segments of a tiles engine."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from st.runtime.engine.fields import Size
from st.runtime.engine.metadata import Segment
from st.runtime.errors import StError
from st.runtime.system.memory import free_memory

Map = NDArray[np.float32]  # (channels, height, width)
IN_MEMORY = 0.25  # fraction of the free memory that one map may fill; larger maps are in a file


@dataclass(frozen=True)
class Area:
    """Rows and columns of the picture, in pixels; multiples of the stride of every map."""

    rows: slice
    columns: slice

    def of(self, values: Map, stride: int) -> Map:
        """The part (..., h, w) of a map of that stride; a view."""
        rows, columns = (
            slice(side.start // stride, side.stop // stride) for side in (self.rows, self.columns)
        )
        return values[..., rows, columns]


class FeatureMaps:
    """The maps that the segments of a tiles engine write and read.

    A map that no later segment reads gives its memory to a new one of the same shape while it is
    still being read. A tile's result is then kept aside until no later tile reads that place.
    """

    def __init__(
        self, maps: tuple[tuple[int, int], ...], segments: tuple[Segment, ...], size: Size
    ) -> None:
        """maps, segments: see Metadata. size: of the padded picture, pixels."""
        self._shapes, self._segments, self._size = maps, segments, size
        self._last = {k: i for i, segment in enumerate(segments) for k in segment.reads}
        self._old: dict[int, Map] = {}
        self._new: dict[int, Map] = {}
        self._waiting: list[tuple[int, int, Area, Map]] = []

    def begin(self, index: int) -> None:
        """Start a segment. Raises StError: neither memory nor disk has room for its maps."""
        self._old |= self._new
        self._old = {k: kept for k, kept in self._old.items() if self._last.get(k, -1) >= index}
        free = [k for k in self._old if self._last[k] == index]
        self._new = {}
        self._shared = set[int]()
        for k in self._segments[index].writes:
            match = next((old for old in free if self._shapes[old] == self._shapes[k]), None)
            if match is None:
                self._new[k] = self._allocate(k)
            else:
                free.remove(match)
                self._new[k] = self._old[match]
                self._shared.add(k)

    def read(self, k: int, area: Area) -> Map:
        """A copy of a part of map k: (1, channels, h, w)."""
        return np.ascontiguousarray(area.of(self._old[k], self._shapes[k][1])[None])

    def write(self, k: int, area: Area, values: Map) -> None:
        """values: (channels, h, w). Their place is written at once, or by `settle`."""
        if k in self._shared:
            self._waiting.append((area.rows.stop, k, area, values))
        else:
            area.of(self._new[k], self._shapes[k][1])[:] = values

    def settle(self, row: int) -> None:
        """Write what waits above that row of the picture: no later tile reads there."""
        for stop, k, area, values in self._waiting:
            if stop <= row:
                area.of(self._new[k], self._shapes[k][1])[:] = values
        self._waiting = [waits for waits in self._waiting if waits[0] > row]

    def _allocate(self, k: int) -> Map:
        channels, stride = self._shapes[k]
        shape = (channels, *(side // stride for side in self._size))
        size, free = 4 * int(np.prod(shape, dtype=np.int64)), free_memory()
        if free is None or size <= IN_MEMORY * free:
            return np.empty(shape, np.float32)
        try:
            with tempfile.TemporaryFile(prefix="st-tiles-") as file:
                if hasattr(os, "posix_fallocate"):  # else a full disk would kill the process
                    os.posix_fallocate(file.fileno(), 0, size)
                return np.memmap(file, np.float32, "w+", shape=shape)
        except OSError as error:
            raise StError(
                f"{size >> 20} MB of features fit neither into memory nor into "
                f"{tempfile.gettempdir()} ({error.strerror}): scale the picture down"
            ) from None
