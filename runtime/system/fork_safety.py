"""Keep forked child processes from destroying inherited inference sessions.

The thread pools of inference libraries do not survive a fork, and their destructors wait for the
threads: a child would hang at exit or in garbage collection. So a child never frees these objects.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any
from weakref import WeakValueDictionary

_held: WeakValueDictionary[int, Any] = WeakValueDictionary()


def keep_in_children(thing: Any) -> None:
    """Never run the destructor of `thing` in a forked child of this process."""
    _held[id(thing)] = thing


def _keep_all() -> None:
    for thing in list(_held.values()):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))  # an extra reference: never freed


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_all)
