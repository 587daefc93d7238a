"""The files that both web pages use."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "page"
NAMES = ("common.css", "icon.svg", "page_tools.js", "recorder.js", "styles.js")
MIME = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def shared_files() -> dict[str, Path]:
    """{name: path} of the shared files."""
    return {name: FOLDER / name for name in NAMES}
