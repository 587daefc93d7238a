"""An option whose value is a picture's size."""

from __future__ import annotations

import re
from typing import Any

import click

MOST = 1 << 15


class SizeType(click.ParamType):
    """WIDTHxHEIGHT -> (height, width)."""

    name = "WxH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        found = re.fullmatch(r"([0-9]{1,5})[x×]([0-9]{1,5})", str(value).lower())
        if not found or not all(0 < int(side) <= MOST for side in found.groups()):
            self.fail("give WIDTHxHEIGHT, such as 1280x720", param, ctx)
        width, height = map(int, found.groups())
        return height, width


SIZE = SizeType()
