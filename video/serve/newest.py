"""A place for one frame, where a newer one takes an older one's place.

Frames that wait in a line make a live picture later and later; here none can wait.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class ClosedError(Exception):
    """No frame will come any more."""


class Newest(Generic[T]):
    """Used from one event loop. dropped: how many were overtaken by newer ones."""

    def __init__(self) -> None:
        self.dropped = 0
        self._item: T | None = None
        self._closed = False
        self._change = asyncio.Event()

    def put(self, item: T) -> None:
        """Lay down an item; one that still lies there is dropped, and any after the end."""
        if self._closed:
            return
        self.dropped += self._item is not None
        self._item = item
        self._change.set()

    async def get(self) -> T:
        """Take the item, waiting for one. Raises ClosedError."""
        while self._item is None:
            if self._closed:
                raise ClosedError
            self._change.clear()
            await self._change.wait()
        item, self._item = self._item, None
        return item

    def close(self) -> None:
        """Let nobody wait any more; what lies there is dropped."""
        self._item = None
        self._closed = True
        self._change.set()
