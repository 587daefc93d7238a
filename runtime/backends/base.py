"""The protocol that every backend implements."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from st.runtime.engine.metadata import Metadata
from st.runtime.errors import StError

NO_BUFFERS: Mapping[str, NDArray[Any]] = MappingProxyType({})
Shape = tuple[int | None, ...]  # None: a dynamic dimension


class Port(NamedTuple):
    """An input or output of a graph. dtype: the NumPy name of its type."""

    dtype: str
    shape: Shape


class Backend(Protocol):
    """An opened engine. `run` may be called by many threads at once."""

    metadata: Metadata
    device: str  # the device in use, never "auto"
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]

    def run(
        self,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Sequence[str],
        buffers: Mapping[str, NDArray[Any]] = NO_BUFFERS,
    ) -> list[NDArray[Any]]:
        """Return the named outputs, in that order. Other outputs are not computed.

        inputs: C-contiguous arrays for all inputs of the engine.
        buffers: C-contiguous arrays of the right type and shape for some of the outputs. Each
            result of these is its buffer, or a new array if the backend has no use for it.
        The results belong to the caller; a later run does not overwrite them.
        Raises StError: the run failed, or this process was forked after the engine was opened.
        """
        ...

    def close(self) -> None:
        """Release memory and threads. A second call does nothing."""
        ...


def check_process(opened_in: int) -> None:
    """Raises StError in a process that was forked after the engine was opened.

    The engine's threads do not exist in the child, so a run could wait for them forever.
    opened_in: the ID of the process that opened the engine.
    """
    if os.getpid() != opened_in:
        raise StError(
            "this engine was opened before a fork: open a new Stylizer in the new process"
        )
