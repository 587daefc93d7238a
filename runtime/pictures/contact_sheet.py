"""Contact sheet: a grid of pictures of one size with labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PAPER, INK = (255, 255, 255), (30, 30, 30)


def contact_sheet(
    cells: Sequence[tuple[str, NDArray[np.uint8]]], columns: int | None = None
) -> NDArray[np.uint8]:
    """Lay out (label, (H, W, 3) uint8 RGB) cells of equal size in a grid.

    columns: cells in a row; by default as many as make the sheet nearly square.

    A label may have a second line, in a smaller font.
    Returns (H', W', 3) uint8 RGB. Raises ValueError if there are no cells.
    """
    if not cells:
        raise ValueError("a contact sheet needs at least one cell")
    height, width = cells[0][1].shape[:2]
    gap = max(4, width // 40)
    count = 1 + max(label.count("\n") for label, _ in cells)
    sizes = [max(10, min(width // part, 40)) for part in (12, 20)][:count]
    fonts = [ImageFont.load_default(size) for size in sizes]
    lines = [_height(font) for font in fonts]
    step_x, step_y = width + gap, height + sum(lines) + 2 * gap
    square = round(math.sqrt(len(cells) * step_y / step_x))
    columns = columns or max(1, min(len(cells), square))
    rows = math.ceil(len(cells) / columns)
    sheet = Image.new("RGB", (gap + columns * step_x, gap + rows * step_y), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (label, pixels) in enumerate(cells):
        x, y = gap + index % columns * step_x, gap + index // columns * step_y
        sheet.paste(Image.fromarray(pixels), (x, y))
        y += height + gap // 2
        for line, font, own in zip(label.split("\n"), fonts, lines, strict=False):
            text = _fitted(line, width, draw, font)
            draw.text((x + (width - draw.textlength(text, font)) / 2, y), text, INK, font)
            y += own
    return np.array(sheet)


def _height(font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> int:
    return math.ceil(sum(font.getmetrics())) if isinstance(font, ImageFont.FreeTypeFont) else 12


def _fitted(
    label: str,
    width: int,
    draw: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> str:
    """The label, truncated to the width."""
    if draw.textlength(label, font) <= width:
        return label
    while label and draw.textlength(label + "...", font) > width:
        label = label[:-1]
    return label + "..." if label else ""
