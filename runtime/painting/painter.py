"""An opened engine as a function from pictures to pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from st.runtime.engine.metadata import Metadata
from st.runtime.painting.frames import Frames


@dataclass(frozen=True)
class Painter:
    """An engine, or its companion for tiles.

    run: maps pictures (N, H, W, 3) of a size that the engine accepts, and its other inputs, to
        pictures of the same shape, or to chroma (N, 2, H, W) for a colorizer.
    metadata: of the engine. tiled: whether it paints in tiles.
    """

    run: Callable[[Frames, Mapping[str, NDArray[Any]]], NDArray[Any]]
    metadata: Metadata
    tiled: bool = False
