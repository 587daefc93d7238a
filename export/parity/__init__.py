"""Compares exported graphs with the networks that they were exported from."""

from __future__ import annotations

from st.runtime.errors import StError


class ParityError(StError):
    """An engine differs from its source by more than rounding explains."""
