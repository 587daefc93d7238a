"""Web addresses given where a file is expected."""

from __future__ import annotations

import re

from st.runtime.errors import BadInput, printable

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:/{1,2}", re.IGNORECASE)


def is_address(text: str) -> bool:
    """Whether the text starts like a URL: https://…, or https:/… as paths shorten it."""
    return _SCHEME.match(text) is not None


def check_local(text: str) -> None:
    """Raises BadInput for a URL, which would only be called a missing file otherwise."""
    if is_address(text):
        raise BadInput(f"{printable(text)}: a web address; download it first and give the file")
