"""Convert a style, as given by an app, to the engine's input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from st.runtime.engine.metadata import Metadata
from st.runtime.engine.names import SHOWN
from st.runtime.engine.style_code import SUFFIX as CODE_SUFFIX
from st.runtime.engine.style_code import StyleCode
from st.runtime.errors import BadControl, printable
from st.runtime.loaded_engine import LoadedEngine
from st.runtime.painting.controls import Controls, blended_code, named_weights
from st.runtime.painting.regions import Values
from st.runtime.pictures.kinds import as_rgb, is_picture

if TYPE_CHECKING:
    from PIL.Image import Image

# A name, or what an engine of any style encodes: a picture's path, pixels (H, W, 3) RGB, (H, W)
# gray or (H, W, 4) RGBA, a PIL image or the bytes of an image file; or a style code.
Style: TypeAlias = "str | Path | NDArray[np.uint8] | Image | bytes | StyleCode"


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


def encoded(engine: LoadedEngine, picture: Any, scale: float = 1.0) -> StyleCode:
    """The style code of a picture of any supported type. Raises: as `Stylizer.encode_style`
    does."""
    if "code" not in engine.metadata.inputs:
        raise own_styles_only(engine.metadata)
    return engine.encoder()(as_rgb(picture), scale)


def describe_style(controls: Controls) -> str | dict[str, float] | None:
    """Text for the current style: a name, a blend, a path, "a picture" or "a style code"; None if
    none is set or the engine has only one."""
    metadata, style = controls.metadata, controls.style
    if style is None:
        return None
    if "code" not in metadata.inputs:
        blend = {n: round(float(w), 3) for n, w in zip(metadata.styles, style[0], strict=True) if w}
        return next(iter(blend)) if len(blend) == 1 else blend
    given = controls.given
    if isinstance(given, Mapping):
        return {_label(one): float(weight) for one, weight in given.items()}
    return _label(given)


def _label(style: Any) -> str:
    if isinstance(style, str | Path):
        return str(style)
    return "a style code" if isinstance(style, StyleCode) else "a picture"


def _code(engine: LoadedEngine, style: Any, scale: float, codes: bool) -> StyleCode:
    if isinstance(style, str | Path) and Path(style).suffix == CODE_SUFFIX:
        style = StyleCode.load(style)
    if isinstance(style, StyleCode):
        if not codes:
            raise BadControl(
                "a style code keeps the scale that it was made with: give the picture itself"
            )
        return style
    if is_picture(style):
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
