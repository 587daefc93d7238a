"""The model card of a training, stored in its checkpoints and engines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from st.train.loop.inputs import Inputs
from st.train.loop.run import Run
from st.train.method import Method

LISTED = 32  # styles


def training_card(
    method: Method, config: Any, run: Run, inputs: Inputs
) -> dict[str, str | int | float]:
    """A description of the training for display, with names of files and folders but no paths."""
    card: dict[str, str | int | float] = {
        "content": content_text(run.content, len(inputs.content)),
        "styles": _listed(() if method.content_only else inputs.styles),
        "batch": config.batch,
        "size": config.size,
        "seed": run.seed,
        "torch": str(torch.__version__),
        "date": time.strftime("%Y-%m-%d"),
    }
    if run.hold_out:
        card["hold_out"] = run.hold_out
    if run.average:
        card["average"] = run.average
    if inputs.pairs:
        card["motion"] = f"warped photographs and {len(inputs.clips)} clips"
    return card


def content_text(folders: Sequence[Path], count: int) -> str:
    """The card's text about the photographs: "1712 pictures of photos"."""
    if not count:
        return "none, noise alone"
    return f"{count} pictures of {', '.join(folder.name for folder in folders) or 'the styles'}"


def _listed(styles: Sequence[tuple[str, str]]) -> str:
    shown = ", ".join(f"{name} ({Path(path).name})" for name, path in styles[:LISTED])
    return f"{shown} and {len(styles) - LISTED} more" if len(styles) > LISTED else shown
