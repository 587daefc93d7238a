"""Paint a large picture in tiles, with the same result as in one run.

Instance normalization makes every pixel depend on the whole picture, so tiles that are painted
independently differ in color and style. Here all tiles use the moments of the whole picture. The
moments of norm i depend on the norms before it, so an engine with L norms passes over all tiles
L + 1 times: pass i measures the input of norm i, and the last pass paints. The result differs from
one run by float rounding only. It costs 8 to 10 times the processor time of one run, because
pass i repeats all layers before norm i.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st.runtime.backends.base import Backend
from st.runtime.engine.metadata import Metadata
from st.runtime.errors import BadEngine
from st.runtime.painting.frames import Frames

TILE = 1024  # side of a tile without its margins, pixels
Progress = Callable[[int, int], None]  # (tiles done, all tiles), over all passes


@dataclass(frozen=True)
class Span:
    """A tile along one axis: pixels start..stop are read, without the margins they are written."""

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
    tile: int = TILE,
    progress: Progress | None = None,
) -> Frames:
    """Paint a picture with a "tiles" engine, or with a super-resolution engine.

    picture: (H, W, 3) uint8, of a size that the engine takes. -> the same shape, or enlarged.
    controls: the inputs of the engine other than picture, moments and margins.
    tile: side of a tile, pixels; reduced to what the engine was built for. Memory grows with its
        square.
    progress: called after each tile; an exception from it ends the work.
    """
    metadata = engine.metadata
    least = metadata.min_size
    if metadata.sizes:
        least = max(least, *metadata.sizes[0])
        tile = min(tile, min(metadata.sizes[1]) - 2 * metadata.halo)
    fit = (tile, metadata.halo, metadata.multiple, least)
    rows, columns = (spans(length, *fit) for length in picture.shape[:2])
    tiles = [(row, column) for row in rows for column in columns]
    # Norms whose moments are not yet measured come after the one that is being measured.
    moments = np.stack([np.zeros(sum(metadata.norms)), np.ones(sum(metadata.norms))])
    moments = moments.astype(np.float32)
    total = (len(metadata.norms) + 1) * len(tiles)
    done = 0

    def each(output: str) -> Iterator[tuple[Span, Span, NDArray[Any]]]:
        nonlocal done
        for row, column in tiles:
            content = picture[row.start : row.stop, column.start : column.stop]
            inputs = {
                "content": np.ascontiguousarray(content)[None],
                **controls,
            }
            if metadata.kind == "tiles":
                margins = np.array([row.before, row.after, column.before, column.after])
                inputs |= {"moments": moments, "margins": margins}
            (result,) = engine.run(inputs, [output])
            yield row, column, result
            done += 1
            if progress:
                progress(done, total)

    first = 0
    for index, channels in enumerate(metadata.norms):
        parts = []
        for row, column, own in each(f"moments_{index}"):
            if own.shape != (2, channels):
                raise BadEngine(f"the tiles engine gave moments of shape {own.shape}")
            parts.append((_length(row) * _length(column), own))
        moments = moments.copy()
        moments[:, first : first + channels] = merge_moments(parts)
        first += channels
    scale = metadata.scale
    painted = np.empty((picture.shape[0] * scale, picture.shape[1] * scale, 3), np.uint8)
    for row, column, result in each("stylized"):
        height, width = (scale * (span.stop - span.start) for span in (row, column))
        if result.shape != (1, height, width, 3):
            raise BadEngine(f"the tiles engine gave a picture of shape {result.shape}")
        place = _enlarged(row.core, scale), _enlarged(column.core, scale)
        painted[place] = result[0, _enlarged(row.inner, scale), _enlarged(column.inner, scale)]
    return painted


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
    same = ("fingerprint", "styles", "code_size", "multiple", "min_size")
    if (
        set(tiles.inputs) != controls
        or tiles.fixed_size
        or any(getattr(tiles, name) != getattr(engine, name) for name in same)
    ):
        raise BadEngine("this tiles engine belongs to another engine: export both anew")
