"""`Stylizer`, the one object that apps embed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from st.engines import DEFAULT
from st.runtime.engine.location import engine_path
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.style_code import StyleCode
from st.runtime.errors import BadControl, BadInput, printable
from st.runtime.loaded_engine import LoadedEngine
from st.runtime.painting.controls import Controls
from st.runtime.painting.frames import Frames, as_batch, crop, fitted_size
from st.runtime.painting.hints import Place, make_hints
from st.runtime.painting.noise import draw_noise
from st.runtime.painting.painter import Painter
from st.runtime.painting.pipeline import paint, size_of_painting
from st.runtime.painting.regions import Mask, Values, as_mask, make_regions
from st.runtime.painting.tiling import TILE, Progress, paint_tiled
from st.runtime.styles import Style, encoded, style_values
from st.runtime.system.digest import identity

WHOLE_PIXELS = 9_000_000  # 4096×2160; larger pictures are painted whole where memory allows


class Stylizer:
    """Paint pictures: (H, W, 3) uint8 RGB, any size, to the same shape; an engine that enlarges
    pictures (`metadata.scale` above 1) gives as many times the height and the width.

    >>> paint = Stylizer("paintings").set_style("wave", strength=0.8)
    >>> painted = paint(frame)

    May be called and set by many threads at once: each call works with the style that was set when
    it began. After a fork, open a new one in the new process.

    metadata: what the engine says of itself.
    device: the device really used: cpu, cuda, rtx, tensorrt, openvino or openvino-bf16.
    styles: the engine's named styles; the first is set when nothing else is.
    """

    def __init__(
        self,
        engine: str | Path = DEFAULT,
        device: str = "auto",
        threads: int | None = None,
        whole_pixels: int | None = None,
    ) -> None:
        """Open an engine.

        engine: a shipped engine's name, or an engine's file.
        device: auto, cpu, cuda, rtx, openvino or openvino-bf16, or tensorrt, which alone plays
            `.trt` files; auto is tensorrt for these, for others cuda where it is installed, else
            cpu. Never another one than asked for.
        threads: processor threads; by default all that this process may use.
        whole_pixels: larger pictures are painted in tiles, slower and in bounded memory. By
            default pictures of up to 9 megapixels are painted in one run, and on the processor
            larger ones too where the free memory suffices.

        Raises:
            BadInput: no such engine (the message names those there are).
            BadEngine: not an engine, or a damaged one.
            Unavailable: the device is not here. MissingExtra: its library is not installed.
        """
        opened = LoadedEngine(engine_path(engine), device, threads)
        self._begin(opened, Controls.of(opened.metadata), whole_pixels)

    def _begin(self, opened: LoadedEngine, controls: Controls, whole_pixels: int | None) -> None:
        self._engine = opened
        self._own = True
        self._whole_pixels = whole_pixels
        self.metadata: Metadata = opened.metadata
        self.device: str = opened.device
        self.styles: tuple[str, ...] = self.metadata.styles
        self._controls = controls
        picture = opened.backend.inputs[opened.metadata.picture_input]
        self._one_a_run = picture.shape[0] == 1
        self._setting = threading.Lock()  # guards _controls while it is replaced

    def styled(
        self,
        style: Style | Mapping[Any, float] | None = None,
        strength: float | None = None,
    ) -> Stylizer:
        """Another Stylizer on the same open engine, with settings of its own.

        It begins with this one's settings, changed as by `set_style`; what is set later on either
        does not reach the other. It costs next to nothing, so each of a server's visitors can have
        one. Closing it closes nothing; closing this one closes both.

        Raises: as `set_style` does.
        """
        other = Stylizer.__new__(Stylizer)
        other._begin(self._engine, self._controls, self._whole_pixels)
        other._own = False
        return other.set_style(style, strength)

    @property
    def identity(self) -> str:
        """A text that is the same, in any process, for the same engine, device and settings."""
        settings = (self.metadata, self._engine.device, self._whole_pixels, self._controls)
        return identity(settings)

    @property
    def settings(self) -> Controls:
        """All that is set, as one value that can be pickled: for `take_settings`."""
        return self._controls

    def take_settings(self, settings: Controls) -> Self:
        """Set what another Stylizer of the same engine is set to, in another process perhaps.

        Raises BadControl: they are another engine's.
        """
        if settings.metadata != self.metadata:
            raise BadControl("these settings are of another engine")
        return self._change(lambda _: settings)

    def set_style(
        self,
        style: Style | Mapping[Any, float] | None = None,
        strength: float | None = None,
        scale: float | None = None,
    ) -> Self:
        """Set the style of the calls to come, at once and from any thread.

        style: a named style of the engine; or a picture's file, a picture (H, W, 3) uint8 RGB, a
            `StyleCode` or its .npz file, for engines that paint any style; or {style: weight}, a
            blend of these. None keeps the style.
        strength: 0 leaves the picture, 1 paints all of it. None keeps the strength.
        scale: of the style's strokes, 0.25 to 4. Engines that paint any style see its picture
            scaled; those with named styles paint at a size divided by it. Style codes keep the
            scale that they were made with.

        Raises:
            BadControl: a style, weight, strength or scale that this engine does not offer.
            BadInput: a file that is missing or cannot be read.
        """

        def change(controls: Controls) -> Controls:
            if strength is not None:
                controls = controls.with_strength(strength)
            if style is not None and scale is not None:  # else both would be encoded
                controls = controls.with_style(None)
            if scale is not None:
                controls = controls.with_scale(scale, self._encode(scale, codes=False))
            if style is not None:
                encode = self._encode(controls.scale, codes=scale in (None, 1))
                given = style if "code" in self.metadata.inputs else None  # kept for another scale
                controls = controls.with_style(encode(style), given)
            return controls

        return self._change(change)

    def set_regions(
        self,
        regions: Mapping[Any, Mask] | Iterable[tuple[Any, Mask]] | None,
        feather: float = 0,
        rest: Literal["picture", "style"] = "picture",
    ) -> Self:
        """Paint one style a region, from the next call on; None ends it.

        regions: {style: mask} or (style, mask) pairs. A style as for `set_style`, or None for the
            one set there. A mask is a picture's file or an array (h, w) of any size, which is
            scaled to the picture: white, 255, 1.0 or True where the style paints.
        feather: pixels that the regions' edges are soft over.
        rest: what the masks leave free: the picture as it is, or painted in the style that is set.

        Raises: as `set_style` does, and BadControl for more than 15 regions or a bad feather.
        """
        if rest not in ("picture", "style"):
            raise BadControl(f"rest must be picture or style, not {printable(rest, 40)}")
        if regions is None:
            return self._change(lambda controls: controls.with_regions(None))
        pairs = list(regions.items() if isinstance(regions, Mapping) else regions)

        def change(controls: Controls) -> Controls:
            encode = self._encode(controls.scale)
            return controls.with_regions(make_regions(pairs, feather, rest == "style", encode))

        return self._change(change)

    def set_color(self, color: str) -> Self:
        """Whose colors paintings have: the style's ("style"), the content's by keeping its chroma
        ("luminance") or by matching the painting's colors to it ("histogram"), or nothing but the
        style's colors on the content ("only"). Raises BadControl: another."""
        return self._change(lambda controls: controls.with_color(color))

    def set_paint_size(self, size: int | None) -> Self:
        """Paint every picture as if its longer side were that many pixels, and bring it back to its
        own size; None paints it as it is. Raises BadControl: under 16 or over 16,384."""
        return self._change(lambda controls: controls.with_paint_size(size))

    def set_seed(self, seed: int) -> Self:
        """Draw the noise that the engine paints with anew, from the next call on.

        seed: 0 to 2³² - 1, 0 to begin with; the same paints the same picture.
        Raises BadControl: another, or the engine paints without noise.
        """
        return self._change(lambda controls: controls.with_seed(seed))

    def set_hints(
        self,
        points: Iterable[tuple[Place, Place, Any]] = (),
        strokes: str | Path | Frames | None = None,
        palette: str | Path | Frames | None = None,
    ) -> Self:
        """Tell an engine that colors pictures what you know, in place of what it was told before;
        with nothing given, it is left to itself.

        points: (x, y, color); places in pixels from the left and the top, or as "40%"; colors as
            "#2a7f3b", "olive" or (r, g, b). How light a place is, stays.
        strokes: a picture's file or an array with strokes in the colors wanted, of any size,
            scaled to the picture: (h, w, 4) with the rest transparent, or (h, w, 3), the rest gray.
        palette: a picture that has the colors that the result should have, in like shares.

        Raises:
            BadControl: no such color or place, or the engine does not color pictures.
            BadInput: a file that is missing or cannot be read.
        """
        hints = make_hints(points, strokes, palette)
        given = hints.points or hints.strokes is not None or hints.palette is not None
        return self._change(lambda controls: controls.with_hints(hints if given else None))

    def set_render_factor(self, factor: int | None) -> Self:
        """Of an engine that colors pictures: let it see them with a longer side of 16 times that;
        None for what it was made for. Raises BadControl: under 4 or over 64, or another engine."""
        return self._change(lambda controls: controls.with_render_factor(factor))

    def texture(self, height: int, width: int) -> Frames:
        """A texture of that size, out of noise alone: (height, width, 3) uint8 RGB.

        The seed and the style are those set. A height and a width that are multiples of
        `metadata.multiple` give a texture that tiles without a seam, where its method does so.

        Raises:
            BadControl: the engine paints pictures, not textures.
            BadInput: no such size, or more than `whole_pixels`, by default 9 megapixels.
        """
        metadata, controls = self.metadata, self._controls
        if metadata.kind != "texture":
            raise BadControl(
                "this engine paints pictures, not textures: train one with --mode texture"
            )
        most = self._whole_pixels or WHOLE_PIXELS
        if height < 1 or width < 1 or height * width > most:
            raise BadInput(f"no texture of {width}×{height}: up to {most} pixels")
        size = fitted_size(metadata, height, width)
        noise = draw_noise(controls.seed, metadata.noise, *size)
        inputs = {"noise": noise, **controls.inputs}
        (made,) = self._engine.backend.run(inputs, ["stylized"])
        return crop(made, height, width)[0]

    def __call__(
        self,
        frame: Frames,
        progress: Progress | None = None,
        masks: Sequence[Mask] | None = None,
    ) -> Frames:
        """Paint one picture (H, W, 3) or a batch (N, H, W, 3), uint8 RGB; the result is new.

        A picture that is too large for one run (see `whole_pixels`), or larger than the engine was
        built for, is painted in tiles (see `tiled`).

        progress: called with (tiles done, tiles to do) while a picture is painted in tiles.
        masks: of this picture, in place of those that `set_regions` was given, in their order.

        Raises:
            BadInput: another shape or type of array.
            BadControl: no style is set, and the engine has none of its own; or it makes textures.
            BadEngine: too large for one run, and the engine has no tiles companion.
            StError: out of memory, closed, or used after a fork.
        """
        batch, controls = as_batch(frame), self._controls
        if self.metadata.kind == "texture":
            raise BadControl("this engine makes textures, not pictures: use texture(height, width)")
        height, width = size_of_painting(controls, *batch.shape[1:3])
        most = self.metadata.sizes and self.metadata.sizes[1]
        beyond = most is not None and (height > most[0] or width > most[1])
        scale = self.metadata.scale
        # Enlarging is done at full size in many channels: a quarter of the pixels fills the memory.
        pixels = height * width * (1 if scale == 1 else 4 * scale**2)
        if self.metadata.kind != "colorizer" and (beyond or not self._fits(pixels)):
            return self._tiled(frame, batch, controls, TILE, progress, masks)
        whole = Painter(self._whole, self.metadata)
        return self._painted(frame, batch, controls, whole, self._one_a_run, masks)

    def tiled(
        self,
        frame: Frames,
        tile: int = TILE,
        progress: Progress | None = None,
        masks: Sequence[Mask] | None = None,
    ) -> Frames:
        """Paint like a call, in tiles: the same picture within 2/255, in memory that depends on the
        tile and not on the picture.

        tile: side of a tile, pixels.
        progress: called with (tiles done, tiles to do); what it raises ends the work.

        An engine that colors pictures works in such memory anyway: this is a call.

        Raises: as a call does, and BadEngine when the engine has no tiles companion.
        """
        if self.metadata.kind == "colorizer":
            return self(frame, masks=masks)
        return self._tiled(frame, as_batch(frame), self._controls, tile, progress, masks)

    def encode_style(self, picture: str | Path | Frames) -> StyleCode:
        """The style code of a picture or its file, at the scale that is set; a picture seen before
        is not encoded again.

        Raises:
            BadControl: the engine paints its own styles only.
            BadInput: not a picture. BadEngine: the encoder beside the engine is missing.
        """
        return encoded(self._engine, picture, self._controls.scale)

    def close(self) -> None:
        """Give back memory and threads. Calls after it raise StError."""
        if self._own:
            self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _fits(self, pixels: int) -> bool:
        """Whether a picture of so many pixels is painted in one run."""
        if self._whole_pixels is not None:
            return pixels <= self._whole_pixels
        return pixels <= WHOLE_PIXELS or self._engine.fits_memory(pixels)

    def _change(self, change: Callable[[Controls], Controls]) -> Self:
        with self._setting:
            self._controls = change(self._controls)
        return self

    def _encode(self, scale: float, codes: bool = True) -> Callable[[Any], Values]:
        return lambda style: style_values(self._engine, style, scale, codes)

    def _whole(self, content: Frames, inputs: Mapping[str, Any]) -> Frames:
        return self._engine.backend.run({"content": content, **inputs}, [self.metadata.result])[0]

    def _tiled(
        self,
        frame: Frames,
        batch: Frames,
        controls: Controls,
        tile: int,
        progress: Progress | None,
        masks: Sequence[Mask] | None,
    ) -> Frames:
        tiles = self._engine.tiles(*batch.shape[1:3])

        def in_tiles(picture: Frames, inputs: Mapping[str, Any]) -> Frames:
            side = max(1, tile // tiles.metadata.scale)
            return paint_tiled(tiles, picture[0], inputs, side, progress)[None]

        painter = Painter(in_tiles, tiles.metadata, tiled=True)
        return self._painted(frame, batch, controls, painter, True, masks)

    def _painted(
        self,
        frame: Frames,
        batch: Frames,
        controls: Controls,
        painter: Painter,
        one_a_run: bool,
        masks: Sequence[Mask] | None,
    ) -> Frames:
        own = None if masks is None else [as_mask(mask) for mask in masks]
        if one_a_run and len(batch) > 1:
            painted = np.concatenate([paint(one[None], controls, painter, own) for one in batch])
        else:
            painted = paint(batch, controls, painter, own)
        return painted if frame.ndim == 4 else painted[0]
