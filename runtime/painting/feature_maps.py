"""Feature maps of a whole picture, kept in pieces between the segments of a tiles engine."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from st.runtime.engine.metadata import Segment
from st.runtime.errors import StError
from st.runtime.system.memory import free_memory

Map = NDArray[np.float32]  # (1, channels, height, width)
IN_MEMORY = 0.25  # fraction of the free memory that one map may fill; larger maps are in files
FILE = 1 << 25  # minimum bytes of a file, so that a large picture needs few files


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in pixels.

    start..stop is its window, which is read. Without the margins `before` and `after` it is the
    core, which is written.
    """

    start: int
    stop: int
    before: int
    after: int

    @property
    def core(self) -> slice:
        return slice(self.start + self.before, self.stop - self.after)

    @property
    def inner(self) -> slice:
        """The core, relative to the start of the tile."""
        return slice(self.before, self.stop - self.start - self.after)

    def __len__(self) -> int:
        return self.stop - self.start


class FeatureMaps:
    """The maps that the segments of a tiles engine write and read.

    A map is a grid of pieces, one for each tile's window. Only the core of a piece is
    valid at first; its margins are copied from the cores of its neighbors before it is read. So the
    bulk of a map is never copied. The last segment that reads a map releases its pieces.
    """

    def __init__(
        self,
        maps: tuple[tuple[int, int], ...],
        segments: tuple[Segment, ...],
        rows: Sequence[Span],
        columns: Sequence[Span],
    ) -> None:
        """maps, segments: see Metadata. rows, columns: of the grid of tiles."""
        self._maps, self._segments, self._rows, self._columns = maps, segments, rows, columns
        self._last = {k: i for i, segment in enumerate(segments) for k in segment.reads}
        self._pieces: dict[int, dict[tuple[int, int], Map]] = {}
        self._index = 0
        self._in_files = set[int]()
        self._memory, self._files = _Regions(_in_memory, 0), _Regions(_in_file, FILE)

    def begin(self, index: int) -> None:
        """Start a segment."""
        self._index = index
        free = free_memory()
        for k in self._segments[index].writes:
            self._pieces[k] = {}
            size = len(self._rows) * len(self._columns) * 4 * int(np.prod(self._shape(k)))
            if free is not None and size > IN_MEMORY * free:
                self._in_files.add(k)
        later = {
            int(np.prod(self._shape(k))) for part in self._segments[index:] for k in part.writes
        }
        self._memory.keep_only(later)
        self._files.keep_only(later)

    def buffer(self, k: int) -> Map:
        """An array for a piece of map k. Raises StError: there is no room for it."""
        shape = self._shape(k)
        return self._regions(k).take(int(np.prod(shape))).reshape(shape)

    def read(self, k: int, row: int, column: int) -> Map:
        """The piece of map k in the window of a tile."""
        piece = self._pieces[k][row, column]
        stride = self._maps[k][1]
        for y, own_rows, its_rows in _overlaps(self._rows, row):
            for x, own_columns, its_columns in _overlaps(self._columns, column):
                if (y, x) != (row, column):
                    found = _part(self._pieces[k][y, x], its_rows, its_columns, stride)
                    _part(piece, own_rows, own_columns, stride)[:] = found
        return piece

    def write(self, k: int, row: int, column: int, buffer: Map, values: Map) -> bool:
        """Store a tile's piece of map k. Returns False if it does not have the shape of its window.

        buffer: from `buffer`; the values are copied into it unless they are there.
        """
        if values.shape != buffer.shape:
            return False
        if values is not buffer:
            buffer[:] = values
        self._pieces[k][row, column] = buffer
        return True

    def release(self, row: int) -> None:
        """Release the pieces that no tile of this segment in that row of tiles or below reads."""
        start = self._rows[row].start if row < len(self._rows) else self._rows[-1].stop
        for k in self._segments[self._index].reads:
            if self._last[k] == self._index:
                pieces = self._pieces[k]
                for y, x in [place for place in pieces if self._rows[place[0]].core.stop <= start]:
                    self._regions(k).give_back(pieces.pop((y, x)))

    def _regions(self, k: int) -> _Regions:
        return self._files if k in self._in_files else self._memory

    def _shape(self, k: int) -> tuple[int, ...]:
        channels, stride = self._maps[k]
        return 1, channels, len(self._rows[0]) // stride, len(self._columns[0]) // stride


def _overlaps(spans: Sequence[Span], number: int) -> Iterator[tuple[int, slice, slice]]:
    """The tiles whose cores lie in the window of one: number, and the part in each, in pixels."""
    own = spans[number]
    for i, other in enumerate(spans):
        start, stop = max(own.start, other.core.start), min(own.stop, other.core.stop)
        if start < stop:
            within_own = slice(start - own.start, stop - own.start)
            yield i, within_own, slice(start - other.start, stop - other.start)


def _part(piece: Map, rows: slice, columns: slice, stride: int) -> Map:
    """A part of a piece, given in pixels; a view."""
    return piece[
        ...,
        rows.start // stride : rows.stop // stride,
        columns.start // stride : columns.stop // stride,
    ]


class _Regions:
    """Flat float32 arrays, reused by their length.

    allocate: makes an array of a length. block: bytes to allocate at once.
    """

    def __init__(self, allocate: Callable[[int], NDArray[np.float32]], block: int) -> None:
        self._allocate, self._block = allocate, block
        self._wanted = set[int]()
        self._free = defaultdict[int, list[NDArray[np.float32]]](list)

    def keep_only(self, lengths: set[int]) -> None:
        """Forget free arrays of other lengths, now and when they are given back."""
        self._wanted = lengths
        for length in self._free.keys() - lengths:
            del self._free[length]

    def take(self, length: int) -> NDArray[np.float32]:
        free = self._free[length]
        if not free:
            count = max(1, self._block // (4 * length))
            values = self._allocate(count * length)
            free += [values[i * length : (i + 1) * length] for i in range(count)]
        return free.pop()

    def give_back(self, values: Map) -> None:
        if values.size in self._wanted:
            self._free[values.size].append(values.reshape(-1))


def _in_memory(length: int) -> NDArray[np.float32]:
    """Small pages, as for a file: NumPy asks for huge ones, which a busy system is slow to find."""
    return np.frombuffer(mmap.mmap(-1, 4 * length), np.float32)


def _in_file(length: int) -> NDArray[np.float32]:
    size = 4 * length
    try:
        with tempfile.TemporaryFile(prefix="st-tiles-") as file:
            if hasattr(os, "posix_fallocate"):  # else a full disk would kill the process
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, np.float32, "w+", shape=(length,))
    except OSError as error:
        raise StError(
            f"{size >> 20} MB of features fit neither into memory nor into "
            f"{tempfile.gettempdir()} ({error.strerror}): scale the picture down"
        ) from None
