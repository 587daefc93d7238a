"""What can be wrong with an engine that was just made."""

from __future__ import annotations

from st.runtime.errors import StError


class ParityError(StError):
    """An engine differs from what it was made of by more than rounding."""
