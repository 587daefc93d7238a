"""Objects that a forked child process must not destroy.

The libraries' thread pools do not survive a fork, and their destructors wait for the threads: a
child that merely ends (or collects its garbage) would hang. So a child keeps what it inherited.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any
from weakref import WeakValueDictionary

_held: WeakValueDictionary[int, Any] = WeakValueDictionary()


def keep_in_children(thing: Any) -> None:
    """Never run `thing`'s destructor in a process forked off this one."""
    _held[id(thing)] = thing


def _keep_all() -> None:
    for thing in list(_held.values()):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))  # one reference too many: never freed


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_all)
