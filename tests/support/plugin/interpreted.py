"""The kernels under Triton's interpreter, in a separate process.

Triton decides at import time whether kernels are compiled or interpreted, and other tests in the
same process compile them.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@contextmanager
def interpreter() -> Iterator[ProcessPoolExecutor]:
    """A pool of one process whose Triton interprets kernels."""
    before = os.environ.get("TRITON_INTERPRET")
    os.environ["TRITON_INTERPRET"] = "1"
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    try:
        pool.submit(os.getpid).result(timeout=120)  # it must start with this environment
        if before is None:
            del os.environ["TRITON_INTERPRET"]
        else:
            os.environ["TRITON_INTERPRET"] = before
        yield pool
    finally:
        pool.shutdown()


def run(function: str, arrays: tuple[Array, ...], kernels: str = "", **options: Any) -> list[Array]:
    """Call a function of st.export.plugin.cuda on arrays; `kernels`: another source to use."""
    import torch

    torch.set_num_threads(1)
    from st.export.plugin import cuda

    own = cuda.kernels
    try:
        if kernels:
            cuda.kernels = _module(kernels)
        result = getattr(cuda, function)(*(torch.from_numpy(a) for a in arrays), **options)
    finally:
        cuda.kernels = own
    results = result if isinstance(result, tuple) else (result,)
    return [np.asarray(r.numpy()) for r in results]


def _module(source: str) -> Any:
    name = f"mutant_{abs(hash(source))}"
    spec = spec_from_file_location(name, Path(source))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
