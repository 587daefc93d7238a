"""Paint a large picture in tiles, with the same result as in one run.

Instance normalization makes every pixel depend on the whole picture, so tiles that are painted
independently differ in color and style. Here all tiles use the moments of the whole picture. The
moments of norm i depend on the norms before it, so an engine with L norms passes over all tiles
L + 1 times: segment i computes and measures the input of norm i, and the last segment paints. The
features that later segments need are kept for the whole picture (feature_maps), so most layers run
once for each tile. The result differs from one run by float rounding only.

Tiles engines of older versions keep nothing: each pass repeats all layers before its norm, and a
picture costs 8 to 10 times the processor time of one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st.runtime.backends.base import Backend
from st.runtime.engine.metadata import Metadata, Segment
from st.runtime.errors import BadEngine
from st.runtime.painting.feature_maps import FeatureMaps, Span
from st.runtime.painting.frames import Frames

TILE = 1024  # default maximum side of a tile, without its margins, in pixels
SMALL_HALO = 16  # pixels; up to this, tiles of half the size are faster, since they fit the cache
Progress = Callable[[int, int], None]  # (tiles done, all tiles), over all passes


def spans(length: int, tile: int, halo: int, multiple: int, least: int) -> list[Span]:
    """Split a side of `length` pixels, a multiple of `multiple`, into overlapping tiles.

    Cores of up to `tile` pixels divide the side evenly. All tiles have the same length, at least
    `least`, so that a backend sees one shape: tiles at the border extend further inward instead.
    """
    tile, halo, least = (-(-n // multiple) * multiple for n in (max(tile, 1), halo, least))
    count = -(-length // tile)
    steps = length // multiple
    edges = [steps * i // count * multiple for i in range(count + 1)]
    window = min(length, max(tile + 2 * halo, least)) if count > 1 else length
    found = []
    for low, high in pairwise(edges):
        start = min(max(low - halo, 0), length - window)
        found.append(Span(start, start + window, low - start, start + window - high))
    return found


def paint_tiled(
    engine: Backend,
    picture: Frames,
    controls: Mapping[str, NDArray[Any]],
    tile: int | None = None,
    progress: Progress | None = None,
) -> Frames:
    """Paint a picture with a "tiles" engine, or with a super-resolution engine.

    picture: (H, W, 3) uint8, of a size that the engine accepts. -> the same shape, or enlarged.
    controls: the inputs of the engine other than picture, moments, margins and maps.
    tile: side of a tile, pixels; reduced to what the engine was built for. The memory of a run
        grows with its square. None: `TILE`, or half of it where tiles overlap by little.
    progress: called after each tile; an exception from it ends the work.
    """
    run = _TiledRun(engine, picture, controls, tile, progress)
    for index in range(len(run.metadata.norms)):
        run.measure(index)
    return run.paint()


class _TiledRun:
    """One picture on its way through the segments of an engine."""

    def __init__(
        self,
        engine: Backend,
        picture: Frames,
        controls: Mapping[str, NDArray[Any]],
        tile: int | None,
        progress: Progress | None,
    ) -> None:
        self.metadata = metadata = engine.metadata
        small = metadata.halo <= SMALL_HALO and metadata.segments
        tile = tile or (TILE // 2 if small else TILE // metadata.scale)
        self._engine, self._picture, self._progress = engine, picture, progress
        self._least = -(-metadata.min_size // metadata.multiple) * metadata.multiple
        if metadata.sizes:
            self._least = max(self._least, *metadata.sizes[0])
            tile = min(tile, min(metadata.sizes[1]) - 2 * metadata.halo)
        whole = Segment(metadata.halo)  # of an engine without segments
        count = len(metadata.norms) + 1
        self._segments = metadata.segments or (whole,) * count
        halo = max(segment.halo for segment in self._segments)
        fit = (tile, halo, metadata.multiple, self._least)
        self._rows, self._columns = (spans(length, *fit) for length in picture.shape[:2])
        self._maps = FeatureMaps(metadata.maps, self._segments, self._rows, self._columns)
        # Unread inputs of a segment have the minimum size: some backends compute every segment.
        least = self._least
        nothing = np.zeros((1, least, least, 3), np.uint8)
        self._unread: dict[str, NDArray[Any]] = {"content": nothing}
        for k, (channels, stride) in enumerate(metadata.maps):
            shape = (1, channels, least // stride, least // stride)
            self._unread[f"map_{k}"] = np.zeros(shape, np.float32)
        self._controls = dict(controls)
        # Norms whose moments are not yet measured come after the one that is being measured.
        norms = sum(metadata.norms)
        self._moments = np.stack([np.zeros(norms), np.ones(norms)]).astype(np.float32)
        self._done, self._total = 0, count * len(self._rows) * len(self._columns)

    def measure(self, index: int) -> None:
        """Run segment `index`, and set the moments of its norm."""
        channels, parts = self.metadata.norms[index], []
        for row, column, own in self._run(index, f"moments_{index}"):
            if own.shape != (2, channels):
                raise BadEngine(f"the tiles engine returned moments of shape {own.shape}")
            parts.append((_length(row) * _length(column), own))
        first = sum(self.metadata.norms[:index])
        self._moments = self._moments.copy()
        self._moments[:, first : first + channels] = merge_moments(parts)

    def paint(self) -> Frames:
        """Run the last segment."""
        scale, (height, width) = self.metadata.scale, self._picture.shape[:2]
        painted = np.empty((height * scale, width * scale, 3), np.uint8)
        for row, column, result in self._run(len(self._segments) - 1, "stylized"):
            height, width = (scale * (span.stop - span.start) for span in (row, column))
            if result.shape != (1, height, width, 3):
                raise BadEngine(f"the tiles engine returned a picture of shape {result.shape}")
            place = _enlarged(row.core, scale), _enlarged(column.core, scale)
            painted[place] = result[0, _enlarged(row.inner, scale), _enlarged(column.inner, scale)]
        return painted

    def _run(self, index: int, output: str) -> Iterator[tuple[Span, Span, NDArray[Any]]]:
        """Run a segment on all tiles, and keep its maps."""
        segment = self._segments[index]
        self._maps.begin(index)
        outputs = [*(f"new_map_{k}" for k in segment.writes), output]
        for y, row in enumerate(self._rows):
            for x, column in enumerate(self._columns):
                inputs = self._inputs(segment, y, x)
                buffers = [self._maps.buffer(k) for k in segment.writes]
                named = dict(zip(outputs, buffers, strict=False))  # without the last output
                *made, result = self._engine.run(inputs, outputs, named)
                for k, buffer, values in zip(segment.writes, buffers, made, strict=True):
                    if not self._maps.write(k, y, x, buffer, values):
                        raise BadEngine(f"the tiles engine returned a map of shape {values.shape}")
                yield row, column, result
                self._done += 1
                if self._progress:
                    self._progress(self._done, self._total)
            self._maps.release(y + 1)

    def _inputs(self, segment: Segment, y: int, x: int) -> dict[str, NDArray[Any]]:
        """The inputs for the tile in row y and column x of the grid."""
        row, column = self._rows[y], self._columns[x]
        inputs = self._unread | self._controls
        if segment.content:
            part = self._picture[row.start : row.stop, column.start : column.stop]
            inputs["content"] = np.ascontiguousarray(part)[None]
        inputs |= {f"map_{k}": self._maps.read(k, y, x) for k in segment.reads}
        if self.metadata.kind == "tiles":
            margins = np.array([row.before, row.after, column.before, column.after])
            inputs |= {"moments": self._moments, "margins": margins}
        return inputs


def _enlarged(part: slice, scale: int) -> slice:
    return slice(scale * part.start, scale * part.stop)


def _length(span: Span) -> int:
    return span.core.stop - span.core.start


def merge_moments(parts: Sequence[tuple[int, NDArray[np.float32]]]) -> NDArray[np.float64]:
    """Combine means and biased variances of parts (Chan, Golub and LeVeque, 1979).

    parts: (number of values, (2, C) means and variances) of each part. -> (2, C).
    """
    counts = np.array([count for count, _ in parts], np.float64)
    share = (counts / counts.sum())[:, None]
    means = np.stack([own[0] for _, own in parts]).astype(np.float64)
    variances = np.stack([own[1] for _, own in parts]).astype(np.float64)
    mean = (share * means).sum(axis=0)
    variance = (share * (variances + (means - mean) ** 2)).sum(axis=0)
    return np.stack([mean, variance])


def check_tiles(tiles: Metadata, engine: Metadata) -> None:
    """Raises BadEngine unless the tiles engine was exported together with this engine."""
    controls = set(engine.inputs) | {"moments", "margins"}
    controls |= {f"map_{k}" for k in range(len(tiles.maps))}
    same = ("fingerprint", "styles", "code_size", "multiple", "min_size")
    if (
        set(tiles.inputs) != controls
        or tiles.fixed_size
        or any(getattr(tiles, name) != getattr(engine, name) for name in same)
    ):
        raise BadEngine("this tiles engine belongs to another engine: export both again")
