"""G16: artifacts of the shipped engines on plain pictures."""

from __future__ import annotations

from benchmarks.artifacts import (
    MAX_BLOBS,
    MAX_GRID,
    MAX_HALO,
    MAX_RASTER,
    MAX_SEAM,
    inspect,
    styles_of,
)
from benchmarks.report import progress
from benchmarks.trust.bench import Bench, Reached, tell
from st import engines
from st.runtime import Stylizer

BOUNDS = {
    "grid": MAX_GRID,
    "halo": MAX_HALO,
    "raster": MAX_RASTER,
    "blobs": MAX_BLOBS,
    "tiled": MAX_SEAM,
}


def artifacts(bench: Bench) -> Reached:
    """Inspect every style of every shipped engine; for a small count, the first of each."""
    over: list[str] = []
    worst: dict[str, float] = dict.fromkeys(BOUNDS, 0.0)
    painted = 0
    with progress() as bar:
        for name in engines.names():
            stylizer = Stylizer(name, device="cpu")
            if stylizer.metadata.kind == "colorizer":  # has no styles
                continue
            styles = list(styles_of(stylizer).items())
            for style, what in bar.track(
                styles[: bench.scaled(len(styles))], description=f"G16 {name}"
            ):
                row, painted = inspect(stylizer, what, style), painted + 1
                for figure, bound in BOUNDS.items():
                    value = float(row[figure] or 0)
                    worst[figure] = max(worst[figure], value)
                    if value > bound:
                        over.append(f"{name}, {style}: {figure} {value:.3g} over {bound:g}")
    tell(over)
    figures = ", ".join(f"{name} {value:.3g}" for name, value in worst.items())
    return Reached(f"{painted} styles, {len(over)} figures over: at most {figures}", not over)
