"""Paint pictures with style engines, without torch.

>>> from st.runtime import Stylizer
>>> paint = Stylizer("paintings", style="wave", strength=0.8)
>>> painting = paint(picture)  # a NumPy array, a PIL image, bytes or a path

Importing this package is cheap: each name below is imported when it is first used.
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

    __version__: str

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


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from st.runtime.system.version import version

        return version()
    if name in LATER:
        return getattr(import_module(LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
