"""The protocol that every backend implements."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from st.runtime.engine.metadata import Metadata
from st.runtime.errors import StError

Shape = tuple[int | None, ...]  # None: any size


class Port(NamedTuple):
    """An input or output of a graph. dtype: as NumPy calls it."""

    dtype: str
    shape: Shape


class Backend(Protocol):
    """An opened engine. `run` may be called by many threads at once."""

    metadata: Metadata
    device: str  # the one really used
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> list[NDArray[Any]]:
        """The named outputs, in that order; nothing is computed that they do not need.

        inputs: C-contiguous arrays for all of the engine's inputs.
        The results are the caller's own: nobody writes to them later.
        Raises StError when the run fails, or in a process forked off the one that opened it.
        """
        ...

    def close(self) -> None:
        """Give back memory and threads; a second call does nothing."""
        ...


def check_process(opened_in: int) -> None:
    """Raises StError in a process forked off the one that opened an engine: its threads are not
    here, and a run could wait for them for ever."""
    if os.getpid() != opened_in:
        raise StError(
            "this engine was opened before a fork: open a new Stylizer in the new process"
        )
