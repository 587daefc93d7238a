"""`Stylizer`, the one object that apps embed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from st.engines import DEFAULT, find, names
from st.runtime.companions import OpenEngine
from st.runtime.controls import Controls, blended_code, named_weights, unknown_style
from st.runtime.errors import BadControl, BadEngine, BadInput, printable
from st.runtime.frames import Frames, as_batch, crop, fitted_size, mix, pad
from st.runtime.metadata import Metadata
from st.runtime.style_code import SUFFIX as CODE_SUFFIX
from st.runtime.style_code import StyleCode
from st.runtime.tiling import TILE, Progress, paint_tiled

WHOLE_PIXELS = 9_000_000  # up to 4096×2160 is painted in one run
Style = str | Path | Frames | StyleCode


class Stylizer:
    """Paint pictures: (H, W, 3) uint8 RGB, any size, to the same shape.

    >>> paint = Stylizer("paintings").set_style("wave", strength=0.8)
    >>> painted = paint(frame)

    May be called and set by many threads at once: each call works with the style that was set when
    it began. After a fork, open a new one in the new process.

    metadata: what the engine says of itself.
    device: the device really used: cpu, cuda, openvino or openvino-bf16.
    styles: the engine's named styles; the first is set when nothing else is.
    """

    def __init__(
        self,
        engine: str | Path = DEFAULT,
        device: str = "auto",
        threads: int | None = None,
        whole_pixels: int = WHOLE_PIXELS,
    ) -> None:
        """Open an engine.

        engine: a shipped engine's name, or an engine's file.
        device: auto, cpu, cuda, openvino or openvino-bf16; auto is cuda where it is installed, else
            cpu. Never another one than asked for.
        threads: processor threads; by default all that this process may use.
        whole_pixels: larger pictures are painted in tiles, slower and in bounded memory.

        Raises:
            BadInput: no such engine (the message names those there are).
            BadEngine: not an engine, or a damaged one.
            Unavailable: the device is not here. MissingExtra: its library is not installed.
        """
        opened = OpenEngine(engine_path(engine), device, threads)
        self._begin(opened, Controls.of(opened.metadata), whole_pixels)

    def _begin(self, opened: OpenEngine, controls: Controls, whole_pixels: int) -> None:
        self._engine = opened
        self._own = True
        self._whole_pixels = whole_pixels
        self.metadata: Metadata = opened.metadata
        self.device: str = opened.device
        self.styles: tuple[str, ...] = self.metadata.styles
        self._controls = controls
        self._one_a_run = opened.backend.inputs["content"].shape[0] == 1
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

    def set_style(
        self,
        style: Style | Mapping[Any, float] | None = None,
        strength: float | None = None,
    ) -> Self:
        """Set the style of the calls to come, at once and from any thread.

        style: a named style of the engine; or a picture's file, a picture (H, W, 3) uint8 RGB, a
            `StyleCode` or its .npz file, for engines that paint any style; or {style: weight}, a
            blend of these. None keeps the style.
        strength: 0 leaves the picture, 1 paints all of it. None keeps the strength.

        Raises:
            BadControl: a style, weight or strength that this engine does not offer.
            BadInput: a file that is missing or cannot be read.
        """
        values = None if style is None else self._style_values(style)
        with self._setting:
            controls = self._controls
            if strength is not None:
                controls = controls.with_strength(strength)
            if values is not None:
                controls = controls.with_style(values)
            self._controls = controls
        return self

    def __call__(self, frame: Frames, progress: Progress | None = None) -> Frames:
        """Paint one picture (H, W, 3) or a batch (N, H, W, 3), uint8 RGB; the result is new.

        A picture of more than `whole_pixels`, or larger than the engine was built for, is painted
        in tiles (see `tiled`).

        progress: called with (tiles done, tiles to do) while a picture is painted in tiles.

        Raises:
            BadInput: another shape or type of array.
            BadControl: no style is set, and the engine has none of its own.
            BadEngine: too large for one run, and the engine has no tiles companion.
            StError: out of memory, closed, or used after a fork.
        """
        batch = as_batch(frame)
        height, width = batch.shape[1:3]
        most = self.metadata.sizes and self.metadata.sizes[1]
        beyond = most is not None and (height > most[0] or width > most[1])
        if beyond or height * width > self._whole_pixels:
            return self.tiled(frame, progress=progress)
        painted = self._each(batch, self._controls, self._whole)
        return painted if frame.ndim == 4 else painted[0]

    def tiled(self, frame: Frames, tile: int = TILE, progress: Progress | None = None) -> Frames:
        """Paint like a call, in tiles: the same picture within 2/255, in memory that depends on the
        tile and not on the picture.

        tile: side of a tile, pixels.
        progress: called with (tiles done, tiles to do); what it raises ends the work.

        Raises: as a call does, and BadEngine when the engine has no tiles companion.
        """
        batch = as_batch(frame)
        tiles = self._engine.tiles(*batch.shape[1:3])

        def in_tiles(picture: Frames, controls: Controls) -> Frames:
            return paint_tiled(tiles, picture[0], controls.inputs, tile, progress)[None]

        controls = self._controls
        painted = [self._paint(one[None], controls, in_tiles, tiles.metadata)[0] for one in batch]
        return np.stack(painted) if frame.ndim == 4 else painted[0]

    def encode_style(self, picture: str | Path | Frames) -> StyleCode:
        """The style code of a picture or its file; a picture seen before is not encoded again.

        Raises:
            BadControl: the engine paints its own styles only.
            BadInput: not a picture. BadEngine: the encoder beside the engine is missing.
        """
        if "code" not in self.metadata.inputs:
            raise self._own_styles_only()
        if isinstance(picture, str | Path):
            from st.runtime.images import read_picture

            picture = read_picture(picture).rgb
        return self._engine.encoder()(picture)

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

    def _each(
        self,
        batch: Frames,
        controls: Controls,
        run: Callable[[Frames, Controls], Frames],
    ) -> Frames:
        if self._one_a_run and len(batch) > 1:
            return np.concatenate([self._paint(one[None], controls, run) for one in batch])
        return self._paint(batch, controls, run)

    def _paint(
        self,
        batch: Frames,
        controls: Controls,
        run: Callable[[Frames, Controls], Frames],
        tiles: Metadata | None = None,
    ) -> Frames:
        """Pad, run, mix with the source, crop; the batch itself is never written to.

        tiles: of the engine that runs, where it is the tiles companion.
        """
        controls.check_style()
        if controls.mix == 0:
            return batch.copy()
        height, width = batch.shape[1:3]
        size = fitted_size(tiles or self.metadata, height, width, tiled=tiles is not None)
        content = pad(batch, *size)
        painted = run(content, controls)
        if painted.shape != content.shape:
            raise BadEngine(
                f"this engine made {painted.shape} of a picture of {content.shape}: it is damaged "
                "or its metadata is wrong"
            )
        if controls.mix < 1:
            mix(content, painted, controls.mix)
        return crop(painted, height, width)

    def _whole(self, content: Frames, controls: Controls) -> Frames:
        return self._engine.backend.run({"content": content, **controls.inputs}, ["stylized"])[0]

    def _style_values(self, style: Style | Mapping[Any, float]) -> np.ndarray[Any, Any]:
        metadata = self.metadata
        blend = style if isinstance(style, Mapping) else None
        if "code" in metadata.inputs:
            if blend is None:
                return blended_code(metadata, [(self._code(style), 1.0)])
            return blended_code(metadata, [(self._code(s), weight) for s, weight in blend.items()])
        if blend is not None and all(isinstance(name, str) for name in blend):
            return named_weights(metadata, blend)
        if isinstance(style, str):
            return named_weights(metadata, {style: 1.0})
        raise self._own_styles_only()

    def _code(self, style: Any) -> StyleCode:
        if isinstance(style, StyleCode):
            return style
        if isinstance(style, str | Path):
            if Path(style).suffix == CODE_SUFFIX:
                return StyleCode.load(style)
            return self.encode_style(style)
        if isinstance(style, np.ndarray):
            return self.encode_style(style)
        raise BadControl(
            "a style must be a picture, a picture's file or a style code, "
            f"not {printable(type(style).__name__)}"
        )

    def _own_styles_only(self) -> BadControl:
        if self.styles:
            return BadControl(
                "this engine paints its own styles only, not those of pictures: "
                + str(unknown_style("", self.metadata)).partition(": ")[2]
            )
        return BadControl("this engine has one style, which needs no setting")


def engine_path(engine: str | Path) -> Path:
    """The file of an engine given by a shipped one's name, or as a file.

    Raises BadInput: a name that no shipped engine has; the message names those there are.
    """
    if isinstance(engine, str) and not set(engine) & set("/\\.\0"):
        found = find(engine)
        if found is None:
            shown = ", ".join(names()) or "none"
            raise BadInput(
                f"no engine {printable(engine, 80)!r}: shipped are {shown}; or give an .onnx file"
            )
        return found
    return Path(engine)
