"""Check whether a device of this machine can run an engine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np

from st.runtime.bench.startup import give_style, paint_one
from st.runtime.errors import DISTRIBUTION, BadInput, StError, printable
from st.runtime.stylizer import Stylizer

SIZE = (64, 64)


@dataclass(frozen=True)
class Verdict:
    """The result of a check. milliseconds: time of the second of two small frames."""

    device: str
    runs: bool
    milliseconds: float | None = None
    why_not: str = ""


def installed_twice() -> str:
    """A warning if onnxruntime and onnxruntime-gpu are both installed, else "".

    Both wheels write the same files, so the one installed last decides whether CUDA works.
    """
    for wheel in ("onnxruntime", "onnxruntime-gpu"):
        try:
            distribution(wheel)
        except PackageNotFoundError:
            return ""
    return (
        "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
        "pip uninstall onnxruntime onnxruntime-gpu, then "
        f"pip install '{DISTRIBUTION}[cuda]' (or [cpu])"
    )


def verdict_of(engine: str, device: str, threads: int | None) -> Verdict:
    """Run two small frames. Raises BadInput: the engine itself is invalid."""
    frame = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    try:
        with Stylizer(engine, device=device, threads=threads) as stylizer:
            give_style(stylizer)
            paint_one(stylizer, frame)
            start = time.perf_counter()
            paint_one(stylizer, frame)
            return Verdict(device, True, 1000 * (time.perf_counter() - start))
    except BadInput:
        raise
    except StError as error:
        return Verdict(device, False, why_not=printable(error, 500))
    except Exception as error:  # the command reports failures of a provider
        return Verdict(device, False, why_not=f"{type(error).__name__}: {printable(error, 300)}")
