"""A place for one thing: the newest. What was not taken in time is gone, so nothing ever queues."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """A slot between two threads: one puts, one takes.

    replaced: how many things were never taken, since a newer one came.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self.replaced = 0

    def put(self, item: T) -> None:
        with self._condition:
            self.replaced += self._item is not None
            self._item = item
            self._condition.notify()

    def take(self, timeout: float = 0.0) -> T | None:
        """The newest thing, once; None when nothing comes within `timeout` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None, timeout)
            item, self._item = self._item, None
            return item
