"""The part of a video to paint, as a start and a duration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from st.runtime.errors import BadInput, printable

_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_SLACK = Fraction(1, 10_000)  # seconds; timestamps are rounded to ticks


@dataclass(frozen=True)
class TimeRange:
    """Seconds from the start of the video; a duration of None means to its end."""

    start: Fraction = Fraction(0)
    duration: Fraction | None = None

    def starts_after(self, seconds: Fraction) -> bool:
        return bool(self.start) and seconds < self.start - _SLACK

    def ends_before(self, seconds: Fraction) -> bool:
        return self.duration is not None and seconds > self.start + self.duration - _SLACK

    def length(self, film: Fraction) -> Fraction:
        """How many seconds of a video that lasts `film` seconds lie in the range."""
        rest = max(Fraction(0), film - self.start)
        return rest if self.duration is None else min(rest, self.duration)


def parse_time(text: str) -> Fraction:
    """ "90", "1:30" or "0:01:30.5" -> seconds. Raises BadInput."""
    parts = text.split(":")
    if len(parts) > 3 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise BadInput(
            f"{printable(text, 40)!r} is not a time; give seconds or H:MM:SS, such as 90 or 1:30"
        )
    seconds = Fraction(0)
    for part in parts:
        seconds = seconds * 60 + Fraction(part)
    return seconds
