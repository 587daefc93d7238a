"""What paints: an opened engine as a function from pictures to pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from st.runtime.engine.metadata import Metadata
from st.runtime.painting.frames import Frames


@dataclass(frozen=True)
class Painter:
    """The engine that paints, or its companion for tiles.

    run: pictures (N, H, W, 3) of a size that it takes, and its other inputs -> the same shape; a
        colorizer's gives (N, 2, H, W).
    metadata: its own. tiled: it paints in tiles.
    """

    run: Callable[[Frames, Mapping[str, NDArray[Any]]], NDArray[Any]]
    metadata: Metadata
    tiled: bool = False
