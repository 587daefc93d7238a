"""The files that both web pages use."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "page"
NAMES = ("cameras.js", "common.css", "icon.svg", "page_tools.js", "recorder.js", "styles.js")
MIME = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_INCLUDE = re.compile(r"<!-- include ([a-z_]+\.html) -->\n")


def shared_files() -> dict[str, Path]:
    """{name: path} of the shared files."""
    return {name: FOLDER / name for name in NAMES}


def page_html(path: Path) -> str:
    """The text of a page, with the shared parts that it includes, such as the style controls."""
    text = path.read_text("utf-8")
    return _INCLUDE.sub(lambda found: (FOLDER / found[1]).read_text("utf-8"), text)
