"""`Stylizer`, the object that apps embed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

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
from st.runtime.painting.tiling import Progress, paint_tiled
from st.runtime.pictures.kinds import Painted, as_rgb, is_image, open_kind, swap_channels
from st.runtime.styles import Style, describe_style, encoded, style_values
from st.runtime.system.digest import identity

if TYPE_CHECKING:
    from PIL.Image import Image

WHOLE_PIXELS = 9_000_000  # 4096×2160; larger pictures are painted whole where memory allows
StyleOrBlend: TypeAlias = "Style | Mapping[Any, float]"
Kind = TypeVar("Kind", NDArray[np.uint8], "Image", bytes)  # of a picture, in and out


class Stylizer:
    """Paint pictures in a style.

    >>> paint = Stylizer("paintings", style="wave", strength=0.8)
    >>> painting = paint(picture)

    A picture is a NumPy array (H, W, 3) uint8 RGB, (H, W) gray or (H, W, 4) RGBA, a batch
    (N, H, W, 3), a PIL image, the bytes of an image file, or a path. The painting is of the same
    kind and size (PIL for a path; `metadata.scale` times larger for engines that enlarge).

    One Stylizer serves many threads: each call works with the settings that held when it began.
    After a fork, open a new one in the child process.

    metadata: the engine's description.
    device: the device in use: cpu, cuda, rtx, tensorrt, openvino or openvino-bf16.
    styles: the engine's named styles. The first one is set until another is.
    """

    def __init__(
        self,
        engine: str | Path = DEFAULT,
        style: StyleOrBlend | None = None,
        strength: float | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
        bgr: bool = False,
        whole_pixels: int | None = None,
    ) -> None:
        """Open an engine.

        engine: the name of a shipped engine, or the path of an engine file.
        style, strength: see `set_style`.
        device: auto, fastest, cpu, cuda, rtx, openvino, openvino-bf16, or tensorrt, which plays
            `.trt` files only. auto is tensorrt for these, else cuda if it is available, else cpu.
            fastest is for videos and cameras: openvino in place of cpu, where it is installed and
            runs the engine. There is no fallback from a device that you name.
        threads: processor threads; default: all that this process may use.
        bgr: NumPy pictures are BGR or BGRA, as in OpenCV, in calls, results and styles.
        whole_pixels: larger pictures are painted in tiles, in less memory. By default
            pictures of up to 9 megapixels are painted in one run, and on the processor larger ones
            too if they fit the free memory.

        Raises:
            BadInput: no such engine, or a style's file that cannot be read.
            BadEngine: not an engine, or a damaged one.
            BadControl: a style or a strength that the engine does not offer.
            Unavailable: the device is not available. MissingExtra: its library is not installed.
        """
        opened = LoadedEngine(engine_path(engine), device, threads)
        try:
            self._begin(opened, Controls.of(opened.metadata), whole_pixels, bgr)
            self.set_style(style, strength)
        except BaseException:
            opened.close()
            raise

    def _begin(
        self, opened: LoadedEngine, controls: Controls, whole_pixels: int | None, bgr: bool
    ) -> None:
        self._engine = opened
        self._own = True
        self._whole_pixels = whole_pixels
        self._bgr = bgr
        self.metadata: Metadata = opened.metadata
        self.device: str = opened.device
        self.styles: tuple[str, ...] = self.metadata.styles
        self._controls = controls
        picture = opened.backend.inputs[opened.metadata.picture_input]
        self._one_a_run = picture.shape[0] == 1
        self._setting = threading.Lock()  # guards _controls while it is replaced

    def __repr__(self) -> str:
        """Engine, device, style and strength: Stylizer('paintings', style='wave', device='cpu')"""
        controls = self._controls
        shown = [repr(self._engine.name)]
        if (style := describe_style(controls)) is not None:
            shown.append(f"style={style!r}")
        if controls.strength != 1:
            shown.append(f"strength={controls.strength:g}")
        return f"Stylizer({', '.join(shown)}, device={self.device!r})"

    def styled(
        self,
        style: StyleOrBlend | None = None,
        strength: float | None = None,
    ) -> Stylizer:
        """Return another Stylizer on the same open engine, with its own settings.

        It starts with the settings of this one, changed as by `set_style`. Later changes of one do
        not affect the other. It costs almost nothing, so each user of a server can have one.
        Closing it has no effect; closing this one closes both.

        Raises: as `set_style` does.
        """
        other = Stylizer.__new__(Stylizer)
        other._begin(self._engine, self._controls, self._whole_pixels, self._bgr)
        other._own = False
        return other.set_style(style, strength)

    @property
    def identity(self) -> str:
        """A text that is equal, in any process, for equal engines, devices and settings."""
        return self.identity_on(self.device)

    def identity_on(self, device: str) -> str:
        """The `identity` of a Stylizer that is equal to this one, but runs on `device`."""
        return identity((self.metadata, device, self._whole_pixels, self._controls))

    @property
    def settings(self) -> Controls:
        """All settings as one immutable value, which can be pickled: for `take_settings`."""
        return self._controls

    def take_settings(self, settings: Controls) -> Self:
        """Take over the settings of another Stylizer of the same engine, in any process.

        Raises BadControl: they are of another engine.
        """
        if settings.metadata != self.metadata:
            raise BadControl("these settings are of another engine")
        return self._change(lambda _: settings)

    def set_style(
        self,
        style: StyleOrBlend | None = None,
        strength: float | None = None,
        scale: float | None = None,
    ) -> Self:
        """Set the style of the next calls, from any thread.

        style: the name of one of `styles`: case, spaces and articles do not matter. For engines
            that paint any style: a picture, as for a call, a `StyleCode`, or the path of its .npz
            file. Or a blend, {style: weight}. None keeps the style.
        strength: 0 (the picture) to 1 (the painting). None keeps the strength.
        scale: stroke size multiplier, 0.25 to 4. Engines that paint any style see the style picture
            at that scale; those with named styles paint at a size divided by it. A style code keeps
            the scale that it was made with.

        Raises:
            BadControl: a style, weight, strength or scale that this engine does not offer.
            BadInput: a file that is missing or cannot be read.
        """
        return self._change(lambda controls: self._restyled(controls, style, strength, scale))

    def _restyled(
        self,
        controls: Controls,
        style: StyleOrBlend | None,
        strength: float | None,
        scale: float | None = None,
    ) -> Controls:
        if strength is not None:
            controls = controls.with_strength(strength)
        if style is not None and scale is not None:  # else both would be encoded
            controls = controls.with_style(None)
        if scale is not None:
            controls = controls.with_scale(scale, self._encode(scale, codes=False))
        if style is not None:
            style = self._rgb(style)
            values = self._encode(controls.scale, codes=scale in (None, 1))(style)
            given = style if "code" in self.metadata.inputs else None  # to encode at another scale
            controls = controls.with_style(values, given)
        return controls

    def set_regions(
        self,
        regions: Mapping[Any, Mask] | Iterable[tuple[Any, Mask]] | None,
        feather: float = 0,
        rest: Literal["picture", "style"] = "picture",
    ) -> Self:
        """Set one style for each region, from the next call on; None removes the regions.

        regions: {style: mask} or (style, mask) pairs. A style as for `set_style`, or None for the
            current one. A mask is the path of a picture or an array (h, w) of any size, which is
            scaled to the picture: white, 255, 1.0 or True where the style applies.
        feather: feather radius of the edges, in pixels.
        rest: the pixels outside all masks: "picture" leaves them unchanged, "style" paints them in
            the current style.

        Raises: as `set_style` does, and BadControl for more than 15 regions or a bad feather.
        """
        if rest not in ("picture", "style"):
            raise BadControl(f"rest must be picture or style, not {printable(rest, 40)}")
        if regions is None:
            return self._change(lambda controls: controls.with_regions(None))
        listed = list(regions.items() if isinstance(regions, Mapping) else regions)
        pairs = [(self._rgb(style), mask) for style, mask in listed]

        def change(controls: Controls) -> Controls:
            encode = self._encode(controls.scale)
            return controls.with_regions(make_regions(pairs, feather, rest == "style", encode))

        return self._change(change)

    def set_color(self, color: str) -> Self:
        """Set the color mode, from the next call on.

        color: "style": the colors of the style. "luminance": the chroma of the content.
            "histogram": the colors of the painting, matched to those of the content. "only": the
            content, with the colors of the style and without its strokes.
        Raises BadControl: another mode.
        """
        return self._change(lambda controls: controls.with_color(color))

    def set_paint_size(self, size: int | None) -> Self:
        """Set the longer side at which pictures are painted, in pixels: 16 to 16,384.

        The painting has the size of the picture. None paints at the size of the picture.
        Raises BadControl: a size out of range.
        """
        return self._change(lambda controls: controls.with_paint_size(size))

    def set_seed(self, seed: int) -> Self:
        """Set the seed of the noise input, from the next call on.

        seed: 0 (the initial value) to 2³² - 1. Equal seeds give equal paintings.
        Raises BadControl: a seed out of range, or an engine without a noise input.
        """
        return self._change(lambda controls: controls.with_seed(seed))

    def set_hints(
        self,
        points: Iterable[tuple[Place, Place, Any]] = (),
        strokes: str | Path | Frames | None = None,
        palette: str | Path | Frames | None = None,
    ) -> Self:
        """Set the color hints of a colorizer; they replace earlier hints. Without arguments, remove
        them.

        points: (x, y, color): pixels from the left and the top, or percentages such as "40%";
            colors as "#2a7f3b", "olive" or (r, g, b). Hints set the chroma, not the lightness.
        strokes: the path of a picture or an array of any size, scaled to the picture: (h, w, 4),
            transparent where there is no hint, or (h, w, 3), gray where there is none.
        palette: a picture whose distribution of colors the result should have.

        Raises:
            BadControl: no such color or place, or the engine does not color pictures.
            BadInput: a file that is missing or cannot be read.
        """
        hints = make_hints(points, self._rgb(strokes), self._rgb(palette))
        given = hints.points or hints.strokes is not None or hints.palette is not None
        return self._change(lambda controls: controls.with_hints(hints if given else None))

    def set_render_factor(self, factor: int | None) -> Self:
        """Set the input size of a colorizer: its longer side in units of 16 pixels, 4 to 64.

        None sets the default of the engine. Raises BadControl: a factor out of range, or an engine
        that is no colorizer.
        """
        return self._change(lambda controls: controls.with_render_factor(factor))

    def texture(self, height: int, width: int) -> Frames:
        """Make a texture from noise: (height, width, 3) uint8 RGB, with the current seed and style.

        If height and width are multiples of `metadata.multiple`, textures of the method `texture`
        can be repeated without a seam.

        Raises:
            BadControl: the engine paints pictures, not textures.
            BadInput: an invalid size, or more than `whole_pixels` (9 megapixels by default).
        """
        metadata, controls = self.metadata, self._controls
        if metadata.kind != "texture":
            raise BadControl(
                "this engine paints pictures, not textures: use one of the kind texture"
            )
        most = self._whole_pixels or WHOLE_PIXELS
        if height < 1 or width < 1 or height * width > most:
            raise BadInput(f"no texture of {width}×{height}: up to {most} pixels")
        size = fitted_size(metadata, height, width)
        noise = draw_noise(controls.seed, metadata.noise, *size)
        inputs = {"noise": noise, **controls.inputs}
        (made,) = self._engine.backend.run(inputs, ["stylized"])
        texture = crop(made, height, width)[0]
        return swap_channels(texture) if self._bgr else texture

    @overload
    def __call__(
        self,
        picture: Kind,
        style: StyleOrBlend | None = None,
        strength: float | None = None,
        *,
        progress: Progress | None = None,
        masks: Sequence[Mask] | None = None,
    ) -> Kind: ...

    @overload
    def __call__(
        self,
        picture: str | Path,
        style: StyleOrBlend | None = None,
        strength: float | None = None,
        *,
        progress: Progress | None = None,
        masks: Sequence[Mask] | None = None,
    ) -> Image: ...

    def __call__(
        self,
        picture: Any,
        style: StyleOrBlend | None = None,
        strength: float | None = None,
        *,
        progress: Progress | None = None,
        masks: Sequence[Mask] | None = None,
    ) -> Any:
        """Paint a picture, or a batch of pictures; the result is new and of the same kind.

        picture: see `Stylizer`.
        style, strength: for this call only, as for `set_style`; None uses what is set.
        progress: called with (tiles done, all tiles) when a picture is painted in tiles, because
            it is too large for one run (see `whole_pixels`) or for the engine (see `tiled`).
        masks: replace those of `set_regions`, in their order, for this call.

        Raises:
            BadInput: not a picture, or one that cannot be read.
            BadControl: no style is set, or a style or strength that the engine does not offer.
            BadEngine: too large for one run, and the engine has no tiles companion.
            StError: out of memory, closed, or used after a fork.
        """
        frame, to_kind = open_kind(picture, self._bgr)
        batch, controls = as_batch(frame), self._controls
        if style is not None or strength is not None:
            controls = self._restyled(controls, style, strength)
        if self.metadata.kind == "texture":
            raise BadControl("this engine makes textures, not pictures: use texture(height, width)")
        if self._needs_tiles(controls, *batch.shape[1:3]):
            painter, one_a_run = self._tile_painter(batch, None, progress), True
        else:
            painter, one_a_run = Painter(self._whole, self.metadata), self._one_a_run
        return self._painted(frame, to_kind, controls, painter, one_a_run, masks)

    @overload
    def tiled(
        self,
        picture: Kind,
        tile: int | None = None,
        progress: Progress | None = None,
        masks: Sequence[Mask] | None = None,
    ) -> Kind: ...

    @overload
    def tiled(
        self,
        picture: str | Path,
        tile: int | None = None,
        progress: Progress | None = None,
        masks: Sequence[Mask] | None = None,
    ) -> Image: ...

    def tiled(
        self,
        picture: Any,
        tile: int | None = None,
        progress: Progress | None = None,
        masks: Sequence[Mask] | None = None,
    ) -> Any:
        """Paint in tiles: the result of a call within 2/255, in less memory.

        tile: side of a tile, pixels; by default 512 or 1,024, whichever suits the engine.
        progress: called with (tiles done, all tiles). An exception from it stops the painting.

        A colorizer needs no tiles; it is called as usual.

        Raises: as a call does, and BadEngine if the engine has no tiles companion.
        """
        if self.metadata.kind == "colorizer":
            return self(picture, masks=masks)
        frame, to_kind = open_kind(picture, self._bgr)
        painter = self._tile_painter(as_batch(frame), tile, progress)
        return self._painted(frame, to_kind, self._controls, painter, True, masks)

    def encode_style(self, picture: NDArray[np.uint8] | Image | bytes | str | Path) -> StyleCode:
        """Return the style code of a picture, at the current scale. Recent codes are cached.

        Raises:
            BadControl: the engine paints its own styles only.
            BadInput: not a picture. BadEngine: the encoder beside the engine is missing.
        """
        return encoded(self._engine, self._rgb(picture), self._controls.scale)

    def close(self) -> None:
        """Release memory and threads. Later calls raise StError."""
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
        """Whether a picture of this many pixels is painted in one run."""
        if self._whole_pixels is not None:
            return pixels <= self._whole_pixels
        return pixels <= WHOLE_PIXELS or self._engine.fits_memory(pixels)

    def _change(self, change: Callable[[Controls], Controls]) -> Self:
        with self._setting:
            self._controls = change(self._controls)
        return self

    def _encode(self, scale: float, codes: bool = True) -> Callable[[Any], Values]:
        return lambda style: style_values(self._engine, style, scale, codes)

    def _rgb(self, picture: Any) -> Any:
        """Convert a BGR array or a PIL image to an RGB array; other values are returned
        unchanged."""
        if isinstance(picture, np.ndarray):
            color = picture.ndim == 3 and picture.shape[2] in (3, 4)
            return swap_channels(picture) if color and self._bgr else picture
        return as_rgb(picture) if is_image(picture) else picture

    def _whole(self, content: Frames, inputs: Mapping[str, Any]) -> Frames:
        return self._engine.backend.run({"content": content, **inputs}, [self.metadata.result])[0]

    def _needs_tiles(self, controls: Controls, height: int, width: int) -> bool:
        metadata = self.metadata
        if metadata.kind == "colorizer":
            return False
        height, width = size_of_painting(controls, height, width)
        most = metadata.sizes and metadata.sizes[1]
        if most and (height > most[0] or width > most[1]):
            return True
        # Engines that enlarge need four times the memory for each pixel that they make.
        each = 1 if metadata.scale == 1 else 4 * metadata.scale**2
        return not self._fits(height * width * each)

    def _tile_painter(self, batch: Frames, tile: int | None, progress: Progress | None) -> Painter:
        tiles = self._engine.tiles(*batch.shape[1:3])

        def in_tiles(picture: Frames, inputs: Mapping[str, Any]) -> Frames:
            side = tile and max(1, tile // tiles.metadata.scale)
            return paint_tiled(tiles, picture[0], inputs, side, progress)[None]

        return Painter(in_tiles, tiles.metadata, tiled=True)

    def _painted(
        self,
        frame: Frames,
        to_kind: Painted,
        controls: Controls,
        painter: Painter,
        one_a_run: bool,
        masks: Sequence[Mask] | None,
    ) -> Any:
        batch = as_batch(frame)
        own = None if masks is None else [as_mask(mask) for mask in masks]
        if one_a_run and len(batch) > 1:
            painted = np.concatenate([paint(one[None], controls, painter, own) for one in batch])
        else:
            painted = paint(batch, controls, painter, own)
        return to_kind(painted if frame.ndim == 4 else painted[0])
