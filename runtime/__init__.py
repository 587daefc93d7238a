"""Play style engines on pictures, without torch.

>>> from st.runtime import Stylizer
>>> paint = Stylizer("paintings").set_style("wave", strength=0.8)
>>> painted = paint(frame)  # (H, W, 3) uint8 RGB -> the same shape

Importing this package loads nothing heavy: each name below is imported at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from st.runtime.errors import (
    BadControl,
    BadEngine,
    BadInput,
    MissingExtra,
    StError,
    Unavailable,
)

if TYPE_CHECKING:
    from st.runtime.engine.metadata import Metadata
    from st.runtime.engine.style_code import StyleCode
    from st.runtime.stylizer import Stylizer

__all__ = [
    "BadControl",
    "BadEngine",
    "BadInput",
    "Metadata",
    "MissingExtra",
    "StError",
    "StyleCode",
    "Stylizer",
    "Unavailable",
]
LATER = {
    "Metadata": "st.runtime.engine.metadata",
    "StyleCode": "st.runtime.engine.style_code",
    "Stylizer": "st.runtime.stylizer",
}


def __getattr__(name: str) -> Any:
    if name in LATER:
        return getattr(import_module(LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
