"""The card of a training, which its checkpoints and engines carry."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from st.train.loop.run import Run


def training_card(
    run: Run,
    config: Any,
    styles: Sequence[tuple[str, Path]],
    content: Sequence[Path],
    step: int,
    losses: dict[str, float],
    precision: str,
    seconds: float,
) -> dict[str, str | int | float]:
    """How the network came to be, for people: no paths of this machine, only names."""
    card: dict[str, str | int | float] = {
        "content": _content_said(run, content),
        "styles": _listed(styles),
        "steps": step,
        "batch": config.batch,
        "size": config.size,
        "seed": run.seed,
        "precision": precision,
        "torch": str(torch.__version__),
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds),
    }
    if run.hold_out:
        card["hold_out"] = run.hold_out
    return card | {f"loss {name}": round(value, 5) for name, value in losses.items()}


def _content_said(run: Run, content: Sequence[Path]) -> str:
    if not content:
        return "none, noise alone"
    folders = ", ".join(folder.name for folder in run.content) or "the styles"
    return f"{len(content)} pictures of {folders}"


def _listed(styles: Sequence[tuple[str, Path]], most: int = 32) -> str:
    shown = ", ".join(f"{name} ({path.name})" for name, path in styles[:most])
    return f"{shown} and {len(styles) - most} more" if len(styles) > most else shown
