"""An address as a QR code for a terminal."""

from __future__ import annotations

import io


def qr_text(url: str) -> str:
    """The QR code in half-block characters, two rows of modules per line."""
    import segno  # pyright: ignore[reportMissingImports] - only where a terminal shows a code

    out = io.StringIO()
    segno.make(url, error="l", micro=False).terminal(out, border=2, compact=True)
    return out.getvalue().rstrip("\n")
