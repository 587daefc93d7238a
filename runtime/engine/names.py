"""Find a style or an engine by a name as a person types it, and suggest names that are close."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence

from st.runtime.errors import printable

SHOWN = 40  # names that a message lists at most
SUGGESTED = 3  # names that a message suggests at most
SIMILAR = 0.6  # least similarity ratio of a suggestion, 0..1, see `difflib.SequenceMatcher`


def find_name(text: str, names: Sequence[str]) -> str | None:
    """The one of `names` that `text` means, or None if there is none or more than one.

    An exact match wins. Otherwise case, accents, spaces and punctuation are ignored: "Starry
    Night", "starry-night" and "starrynight" mean "starry_night". Some words of a name are enough
    if no other name has them all: "scream" means "the_scream".
    """
    if text in names:
        return text
    words = _words(text)
    if not words:
        return None
    joined = [name for name in names if "".join(_words(name)) == "".join(words)]
    found = joined or [name for name in names if set(words) <= set(_words(name))]
    return found[0] if len(found) == 1 else None


def similar_names(text: str, names: Sequence[str]) -> list[str]:
    """Up to SUGGESTED names that are close to `text`, the closest first."""
    words = _words(text)
    joined = "".join(words)
    if not joined:
        return []

    def likeness(name: str) -> float:
        own = _words(name)
        pairs = [(joined, "".join(own)), *((joined, word) for word in own if len(word) > 2)]
        ratio = max(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)
        return 1.0 if set(words) <= set(own) else ratio

    scored = sorted(((likeness(name), name) for name in names), key=lambda pair: -pair[0])
    return [name for score, name in scored if score >= SIMILAR][:SUGGESTED]


def unknown_name(kind: str, text: object, names: Sequence[str], owner: str) -> str:
    """A message for a name that was not found: what is close to it, and which names there are.

    >>> unknown_name("style", "wvae", ["wave", "udnie"], "this engine has")
    "no style 'wvae': did you mean wave? this engine has wave, udnie"
    """
    close = [printable(name, 60) for name in similar_names(str(text), names)]
    listed = ", ".join(printable(name, 60) for name in names[:SHOWN])
    more = ", …" if len(names) > SHOWN else ""
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"no {kind} {printable(text, 80)!r}: {hint}{owner} {listed}{more}"


def _words(text: str) -> list[str]:
    """The words of a name in lower case, without accents."""
    plain = unicodedata.normalize("NFKD", text[:200]).casefold()
    return re.findall(r"[^\W_]+", "".join(c for c in plain if not unicodedata.combining(c)))
