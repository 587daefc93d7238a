"""`st-image --texture`: a picture out of noise."""

from __future__ import annotations

import sys
from pathlib import Path

from st.runtime.errors import BadInput, printable
from st.runtime.pictures.batch import STREAM, make_folder
from st.runtime.pictures.io import Picture, write_picture
from st.runtime.stylizer import Stylizer


def parse_size(text: str) -> tuple[int, int]:
    """ "1024x512" -> (512, 1024), height and width. Raises BadInput."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        width = height = 0
    if not (1 <= width <= 65_535 and 1 <= height <= 65_535):
        raise BadInput(f"--texture {printable(text, 40)}: give WIDTHxHEIGHT, like 1024x512")
    return height, width


def make_texture(
    stylizer: Stylizer, size: str, output: str, format: str | None, quality: int
) -> None:
    """Write a texture to a file, or to standard output for "-".

    Raises: as `Stylizer.texture` and `write_picture` do, and BadInput for a bad size.
    """
    made = Picture(stylizer.texture(*parse_size(size)))
    if output == STREAM:
        if sys.stdout.isatty():
            raise BadInput("no picture is written to a terminal: redirect it, or give -o FILE")
        write_picture(made, sys.stdout.buffer, format, quality)
        return
    make_folder(Path(output).parent)
    write_picture(made, Path(output), format, quality)
