"""From a style as an app gives it to what the engine takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from st.runtime.engine.metadata import Metadata
from st.runtime.engine.names import SHOWN
from st.runtime.engine.style_code import SUFFIX as CODE_SUFFIX
from st.runtime.engine.style_code import StyleCode
from st.runtime.errors import BadControl, printable
from st.runtime.loaded_engine import LoadedEngine
from st.runtime.painting.controls import blended_code, named_weights
from st.runtime.painting.frames import Frames
from st.runtime.painting.regions import Values

Style = str | Path | Frames | StyleCode


def style_values(
    engine: LoadedEngine,
    style: Style | Mapping[Any, float],
    scale: float = 1.0,
    codes: bool = True,
) -> Values:
    """A style, or {style: weight}, as weights (1, S) or a style code (1, K).

    scale: of pictures. codes: whether style codes may be given, which keep their own scale.
    Raises: as `Stylizer.set_style` does.
    """
    metadata = engine.metadata
    blend = style if isinstance(style, Mapping) else None
    if "code" in metadata.inputs:
        blend = {0: 1.0} if blend is None else blend
        given = [style] if not isinstance(style, Mapping) else list(style)
        made = [_code(engine, one, scale, codes) for one in given]
        return blended_code(metadata, zip(made, blend.values(), strict=True))
    if blend is not None and all(isinstance(name, str) for name in blend):
        return named_weights(metadata, blend)
    if isinstance(style, str):
        return named_weights(metadata, {style: 1.0})
    raise own_styles_only(metadata)


def encoded(engine: LoadedEngine, picture: str | Path | Frames, scale: float = 1.0) -> StyleCode:
    """The style code of a picture or its file. Raises: as `Stylizer.encode_style` does."""
    if "code" not in engine.metadata.inputs:
        raise own_styles_only(engine.metadata)
    if isinstance(picture, str | Path):
        from st.runtime.pictures.io import read_picture

        picture = read_picture(picture).rgb
    return engine.encoder()(picture, scale)


def _code(engine: LoadedEngine, style: Any, scale: float, codes: bool) -> StyleCode:
    if isinstance(style, str | Path) and Path(style).suffix == CODE_SUFFIX:
        style = StyleCode.load(style)
    if isinstance(style, StyleCode):
        if not codes:
            raise BadControl(
                "a style code keeps the scale that it was made with: give the picture itself"
            )
        return style
    if isinstance(style, str | Path | np.ndarray):
        return encoded(engine, style, scale)
    raise BadControl(
        "a style must be a picture, a picture's file or a style code, "
        f"not {printable(type(style).__name__)}"
    )


def own_styles_only(metadata: Metadata) -> BadControl:
    if metadata.styles:
        return BadControl(
            "this engine paints its own styles only, not those of pictures: "
            + ", ".join(printable(name, 60) for name in metadata.styles[:SHOWN])
        )
    return BadControl("this engine has one style, which needs no setting")
