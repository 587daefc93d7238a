"""The shipped engines, by name: package data and nothing else."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
DEFAULT = "paintings"
ANY_STYLE = "anything"  # the one that paints in the style of any picture


def names() -> list[str]:
    """Names of the shipped engines; their companions (NAME.encoder, NAME.tiles) are not listed."""
    return sorted(path.stem for path in FOLDER.glob("*.onnx") if "." not in path.stem)


def find(name: str) -> Path | None:
    """The file of a shipped engine, or None: names only, never a path."""
    return FOLDER / f"{name}.onnx" if name in names() else None
