"""Tile sizes of each kernel, shared by PyTorch, TensorRT and the benchmark."""

from __future__ import annotations

from dataclasses import dataclass

EPS = 1e-5  # epsilon of every instance norm, as in st.train.networks.transform
PROGRAMS = 256  # target for covariance: two programs per multiprocessor of a large GPU


@dataclass(frozen=True)
class Tiles:
    """A kernel's constexpr arguments by name, and its warps (of 32 threads) per program."""

    warps: int
    constants: tuple[tuple[str, int | float | str], ...]

    def __getitem__(self, name: str) -> int:
        return int(dict(self.constants)[name])


def adain_tiles() -> tuple[Tiles, ...]:
    """Candidates that TensorRT times. The first is used where nothing is timed."""
    return tuple(
        Tiles(warps, (("EPS", EPS), ("BLOCK", block)))
        for block, warps in ((2048, 8), (1024, 4), (4096, 16))
    )


def parts_tiles(precision: str) -> tuple[Tiles, ...]:
    return tuple(
        Tiles(warps, (("ROWS", rows), ("COLUMNS", columns), ("PRECISION", precision)))
        for rows, columns, warps in ((64, 16, 8), (32, 32, 8))
    )


def merge_tiles(correction: int = 0) -> tuple[Tiles, ...]:
    return (Tiles(4, (("CORRECTION", correction), ("ROWS", 32))),)


def whiten_tiles(precision: str) -> tuple[Tiles, ...]:
    return tuple(
        Tiles(
            warps,
            (("ROWS", rows), ("COLUMNS", columns), ("DEPTH", depth), ("PRECISION", precision)),
        )
        for rows, columns, depth, warps in ((64, 64, 32, 8), (64, 64, 16, 4), (64, 128, 16, 8))
    )


def dot_precision(half: bool, capability: int) -> str:
    """The `input_precision` of tl.dot.

    TF32 has the mantissa of float16; three TF32 products have about the precision of float32.
    capability: 75 for compute capability 7.5, which has no TF32.
    """
    if capability < 80:
        return "ieee"
    return "tf32" if half else "tf32x3"


def parts_for(channels: int) -> int:
    """The number of parts that a covariance is split into; with few channels, many fill a GPU.

    The partial moments, parts · channels² floats, stay below 20 MB.
    """
    blocks = -(-channels // 64)
    return max(1, min(PROGRAMS // (blocks * (blocks + 1) // 2), (5 << 20) // channels**2))


def every(half: bool, capability: int) -> dict[str, tuple[Tiles, ...]]:
    """All candidate tiles of each kernel, by name. The first is the default."""
    precision = dot_precision(half, capability)
    return {
        "adain": adain_tiles(),
        "covariance_parts": parts_tiles(precision),
        "covariance_merge": merge_tiles(),
        "whiten_color": whiten_tiles(precision),
    }
