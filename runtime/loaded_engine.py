"""An engine and its companion files, loaded on one device and shared by its Stylizers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from st.engines import FOLDER
from st.runtime.backends.base import Backend
from st.runtime.backends.open import open_engine
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.onnx_file import read_engine
from st.runtime.errors import BadEngine, BadInput, StError, printable
from st.runtime.painting.tiling import check_tiles
from st.runtime.style_encoder import StyleEncoder, check_encoder
from st.runtime.system.memory import free_memory

ON_PROCESSOR = ("cpu", "openvino", "openvino-bf16")  # devices that work in the main memory
SPARE = 0.8  # of the free memory, to be used by a run
UNKNOWN_BYTES = 1536  # a pixel: two tensors of VGG's 64 channels, and those of its second block


def companion(path: Path, what: str) -> Path:
    """Where an engine's companion lies, if it has one. what: encoder or tiles."""
    return path.with_name(f"{path.stem}.{what}{path.suffix}")


def engine_files(path: Path) -> list[Path]:
    """All the files that an engine is played from: itself, its companions, their descriptions."""
    engines = [path, companion(path, "encoder"), companion(path, "tiles")]
    beside = [engine.with_name(f"{engine.name}.json") for engine in engines]
    return [file for file in (*engines, *beside) if file.is_file()]


class LoadedEngine:
    """The engine is loaded at once, its style encoder and tiles companion when first used."""

    def __init__(self, path: Path, device: str, threads: int | None) -> None:
        """Raises: as `st.runtime.backends.open.open_engine` does."""
        self.backend: Backend = open_engine(path, device, threads)
        self.metadata: Metadata = self.backend.metadata
        self.device: str = self.backend.device
        self.name: str = path.stem if path.parent == FOLDER else str(path)
        self._path = path
        self._threads = threads
        self._encoder: StyleEncoder | None = None
        self._tiles: Backend | None = None
        self._closed = False
        self._opening = threading.Lock()  # guards the companions while they are opened

    def encoder(self) -> StyleEncoder:
        """Raises BadEngine: it is not there, or another engine's. StError: closed."""
        with self._opening:
            if self._encoder is None:
                path = companion(self._path, "encoder")
                if not path.is_file():
                    raise BadEngine(
                        f"{printable(path)}: not there; this engine needs its style encoder "
                        "beside it to take pictures as styles"
                    )
                self._encoder = StyleEncoder(self._open(path, "style-encoder", check_encoder))
            return self._encoder

    def tiles(self, height: int, width: int) -> Backend:
        """What paints a picture of this size in tiles; the size is for the message only.

        Raises BadInput: its method paints whole pictures only. BadEngine: it is not there, or
        another engine's. StError: closed.
        """
        if self.metadata.scale > 1:  # no place depends on the whole picture: it needs no twin
            return self.backend
        with self._opening:
            if self._tiles is None:
                path = companion(self._path, "tiles")
                if not path.is_file() and self.metadata.halo == 0:
                    raise BadInput(
                        f"{width}×{height} is too large for one run, and "
                        f"{printable(self.metadata.method, 40)} has no tiles, since it looks at "
                        "the whole picture at once: scale the picture down"
                    )
                if not path.is_file():
                    raise BadEngine(
                        f"{width}×{height} is too large for one run, and {printable(path)}, which "
                        "paints in tiles, is not there: scale the picture down or export the "
                        "engine with its tiles"
                    )
                self._tiles = self._open(path, "tiles", check_tiles)
            return self._tiles

    def fits_memory(self, pixels: int) -> bool:
        """Whether a picture of so many pixels can be painted in one run, in the memory now free.

        False on GPUs, and where the free memory is not known.
        """
        free = free_memory()
        if free is None or self.device not in ON_PROCESSOR:
            return False
        return pixels * self._bytes_a_pixel() < SPARE * free

    def _bytes_a_pixel(self) -> int:
        """An upper bound of the memory of a run, for each pixel of the picture.

        The layers at full size need most: the first and the last. Measured on the shipped engines,
        a run holds 2.5 tensors of their channels in float32, and 3 are counted.
        """
        path = companion(self._path, "tiles")
        if path.suffix != ".onnx" or not path.is_file():
            return UNKNOWN_BYTES
        norms = read_engine(path)[1].norms
        return 3 * 4 * max(norms[0], norms[-1])

    def close(self) -> None:
        """Give back memory and threads; a second call does nothing."""
        with self._opening:
            self._closed = True
            for opened in (self.backend, self._encoder, self._tiles):
                if opened is not None:
                    opened.close()

    def _open(self, path: Path, kind: str, check: Callable[[Metadata, Metadata], None]) -> Backend:
        """A companion on the same device, and surely this engine's."""
        if self._closed:
            raise StError("this Stylizer is closed: open a new one")
        backend = open_engine(path, self.device, self._threads, kind)
        try:
            check(backend.metadata, self.metadata)
        except BadEngine as error:
            backend.close()
            raise BadEngine(f"{printable(path)}: {error}") from None
        return backend
