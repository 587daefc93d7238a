"""The difference between an exported engine and its PyTorch network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from st.export.parity import ParityError
from st.runtime.backends.onnxruntime import OrtBackend
from st.runtime.engine.metadata import Metadata
from st.runtime.painting.tiling import paint_tiled
from st.runtime.system.cpus import usable_cpus

LIMIT = 2  # steps of 1/255: one from rounding, one from the order of sums
MEAN_LIMIT = 1.0  # of all pixels, for methods where a few may be off by more
CODE_LIMIT = 1e-3  # of a style code, relative to its largest entry


@dataclass(frozen=True)
class Parity:
    """Largest and mean difference from PyTorch in float32 over the sizes tried.

    Pictures: in steps of 1/255. Style codes, moments and chroma: relative to the largest entry.
    """

    largest: float
    mean: float


def run_both(
    model: bytes, metadata: Metadata, graph: nn.Module, inputs: dict[str, Tensor]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The engine's outputs on ONNX Runtime and the graph's in PyTorch, pairwise."""
    backend = OrtBackend(model, metadata, "cpu", usable_cpus())
    ours = backend.run({k: v.numpy() for k, v in inputs.items()}, list(backend.outputs))
    with torch.no_grad():
        result = graph(*inputs.values())
    theirs = result if isinstance(result, tuple) else (result,)
    return [
        (np.asarray(a, np.float64), b.numpy().astype(np.float64))
        for a, b in zip(ours, theirs, strict=True)
    ]


def picture_parity(
    model: bytes,
    metadata: Metadata,
    graph: nn.Module,
    trials: list[dict[str, Tensor]],
    limit: int = LIMIT,
) -> Parity:
    """Compare the first output, a uint8 picture.

    limit: see `ExportSpec.rounding`. Raises ParityError over it, or over MEAN_LIMIT on the average.
    """
    pairs = [run_both(model, metadata, graph, trial)[0] for trial in trials]
    return _picture_parity(pairs, limit)


def tiles_parity(
    model: bytes,
    metadata: Metadata,
    graph: nn.Module,
    trials: list[dict[str, Tensor]],
    limit: int = LIMIT,
) -> Parity:
    """Compare pictures painted in tiles by a tiles engine with the graph's whole pictures.

    Raises ParityError as `picture_parity` does.
    """
    backend = OrtBackend(model, metadata, "cpu", usable_cpus())
    pairs = []
    for trial in trials:
        content, *others = trial
        picture = trial[content][0].numpy()
        controls = {name: trial[name].numpy() for name in others}
        tile = max(picture.shape[:2]) // 2
        tiled = paint_tiled(backend, picture, controls, tile)
        with torch.no_grad():
            whole = graph(*trial.values())[0].numpy()
        pairs.append((tiled.astype(np.float64), whole.astype(np.float64)))
    return _picture_parity(pairs, limit)


def _picture_parity(
    pairs: list[tuple[NDArray[np.float64], NDArray[np.float64]]], limit: int
) -> Parity:
    errors = [np.abs(ours - theirs) for ours, theirs in pairs]
    parity = Parity(max(e.max() for e in errors), float(np.mean([e.mean() for e in errors])))
    if parity.largest > limit or parity.mean > MEAN_LIMIT:
        raise ParityError(
            f"the engine differs from PyTorch by {parity.largest:.0f} of 255"
            f" (mean {parity.mean:.2g})"
        )
    return parity


def code_parity(
    model: bytes,
    metadata: Metadata,
    graph: nn.Module,
    trials: list[dict[str, Tensor]],
    what: str = "style encoder",
) -> Parity:
    """Compare float outputs. Raises ParityError over CODE_LIMIT."""
    errors = [
        np.abs(a - b) / max(np.abs(b).max(), 1e-6)
        for trial in trials
        for a, b in run_both(model, metadata, graph, trial)
    ]
    parity = Parity(max(e.max() for e in errors), float(np.mean([e.mean() for e in errors])))
    if parity.largest > CODE_LIMIT:
        raise ParityError(f"the {what} differs from PyTorch by {parity.largest:.1e}")
    return parity
