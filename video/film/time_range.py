"""The part of a film that --start and --duration ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from st.runtime.errors import BadInput

_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_SLACK = Fraction(1, 10_000)  # seconds; timestamps are rounded to ticks


@dataclass(frozen=True)
class TimeRange:
    """Seconds from the film's beginning; duration None is up to its end."""

    start: Fraction = Fraction(0)
    duration: Fraction | None = None

    def starts_after(self, seconds: Fraction) -> bool:
        return bool(self.start) and seconds < self.start - _SLACK

    def ends_before(self, seconds: Fraction) -> bool:
        return self.duration is not None and seconds > self.start + self.duration - _SLACK

    def length(self, film: Fraction) -> Fraction:
        """Seconds of a film of `film` seconds that lie in the window."""
        rest = max(Fraction(0), film - self.start)
        return rest if self.duration is None else min(rest, self.duration)


def parse_time(text: str, option: str) -> Fraction:
    """ "90", "1:30" or "0:01:30.5" -> seconds. Raises BadInput."""
    parts = text.split(":")
    if len(parts) > 3 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise BadInput(f"{option} takes seconds or H:MM:SS, like 90 or 1:30")
    seconds = Fraction(0)
    for part in parts:
        seconds = seconds * 60 + Fraction(part)
    return seconds
