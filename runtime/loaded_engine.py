"""An engine and its companion files, loaded on one device and shared by its Stylizers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.util import find_spec
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

ON_PROCESSOR = ("cpu", "openvino", "openvino-bf16")  # devices that use main memory
SPARE = 0.8  # fraction of the free memory that a run may use
UNKNOWN_BYTES = 1536  # per pixel: two tensors of VGG's 64 channels, and those of its second block


def companion(path: Path, what: str) -> Path:
    """The path of an engine's companion file, which may not exist. what: "encoder" or "tiles"."""
    return path.with_name(f"{path.stem}.{what}{path.suffix}")


def engine_files(path: Path) -> list[Path]:
    """All existing files of an engine: the engine, its companions, and their JSON files."""
    engines = [path, companion(path, "encoder"), companion(path, "tiles")]
    beside = [engine.with_name(f"{engine.name}.json") for engine in engines]
    return [file for file in (*engines, *beside) if file.is_file()]


class LoadedEngine:
    """An engine, loaded at once; its style encoder and tiles companion are loaded on first use."""

    def __init__(self, path: Path, device: str, threads: int | None) -> None:
        """Raises what `st.runtime.backends.open.open_engine` raises."""
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
        """Return the style encoder.

        Raises BadEngine: missing, or of another engine. StError: this engine is closed.
        """
        with self._opening:
            if self._encoder is None:
                path = companion(self._path, "encoder")
                if not path.is_file():
                    raise BadEngine(
                        f"{printable(path)}: not found; this engine needs its style encoder in "
                        "the same folder to take pictures as styles"
                    )
                self._encoder = StyleEncoder(self._open(path, "style-encoder", check_encoder))
            return self._encoder

    def tiles(self, height: int, width: int) -> Backend:
        """Return the engine that paints in tiles. height, width: for the error message only.

        Raises BadInput: the method cannot paint in tiles. BadEngine: the companion is missing, or
        of another engine. StError: this engine is closed.
        """
        if self.metadata.scale > 1:  # no global statistics, so it paints tiles itself
            return self.backend
        with self._opening:
            if self._tiles is None:
                path = companion(self._path, "tiles")
                if not path.is_file() and self.metadata.halo == 0:
                    raise BadInput(
                        f"{width}×{height} is too large for one run, and "
                        f"{printable(self.metadata.method, 40)} cannot paint in tiles, because it "
                        "needs the whole picture at once: scale the picture down"
                    )
                if not path.is_file():
                    raise BadEngine(
                        f"{width}×{height} is too large for one run, and {printable(path)}, which "
                        "paints in tiles, was not found: scale the picture down or export the "
                        "engine with its tiles"
                    )
                self._tiles = self._open(path, "tiles", check_tiles)
            return self._tiles

    def fits_memory(self, pixels: int) -> bool:
        """Whether a picture of this many pixels fits into the free memory in one run.

        False on GPUs, and where the free memory is unknown.
        """
        free = free_memory()
        if free is None or self.device not in ON_PROCESSOR:
            return False
        return pixels * self._bytes_a_pixel() < SPARE * free

    def _bytes_a_pixel(self) -> int:
        """An upper bound of the memory of a run, in bytes per pixel of the picture.

        The layers at full size, the first and the last, need most of it. A run of the shipped
        engines was measured to hold 2.5 float32 tensors of their channels; this counts 3.
        """
        path = companion(self._path, "tiles")
        if path.suffix != ".onnx" or not path.is_file():
            return UNKNOWN_BYTES
        norms = read_engine(path)[1].norms
        return 3 * 4 * max(norms[0], norms[-1])

    def close(self) -> None:
        """Release memory and threads. A second call does nothing."""
        with self._opening:
            self._closed = True
            for opened in (self.backend, self._encoder, self._tiles):
                if opened is not None:
                    opened.close()

    def _open(
        self,
        path: Path,
        kind: str,
        check: Callable[[Metadata, Metadata], None],
    ) -> Backend:
        """Open a companion, and check that it fits this engine."""
        if self._closed:
            raise StError("this Stylizer is closed: open a new one")
        # OpenVINO would compile each segment of a tiles engine, and an encoder for each size of its
        # pictures, which takes longer than ONNX Runtime takes to run them.
        on_cpu = self.device == "openvino" and find_spec("onnxruntime") is not None
        device = "cpu" if on_cpu else self.device
        backend = open_engine(path, device, self._threads, kind)
        try:
            check(backend.metadata, self.metadata)
        except BadEngine as error:
            backend.close()
            raise BadEngine(f"{printable(path)}: {error}") from None
        return backend
