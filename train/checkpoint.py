"""Checkpoints: self-describing files that load without running code from them."""

from __future__ import annotations

import dataclasses
import io
import pickle
import reprlib
import typing
import warnings
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from st.runtime.errors import BadInput, printable
from st.runtime.system.atomic_files import atomic_write
from st.train.method import Method
from st.train.methods import METHODS
from st.train.settings import settings_before

FORMAT = 1
MAX_BYTES = 4 << 30
MAX_STYLES = 4096
ZIP_START = b"PK\x03\x04"
PICKLE_START = b"\x80"  # of PyTorch's files before 1.6


@dataclass(frozen=True)
class Checkpoint:
    """All that rebuilds a network, and how it came to be.

    state: the network's state dict. card: training data, steps, losses, time; for people.
    training: optimizer state and step, only in files to resume from.
    """

    method: str
    config: dict[str, Any]
    styles: tuple[str, ...]
    state: dict[str, Tensor]
    card: dict[str, str | int | float] = field(default_factory=dict)
    training: dict[str, Any] | None = None

    def save(self, path: Path) -> None:
        """Write it, whole or not at all. Raises OSError, on a full disk too."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        packed = io.BytesIO()  # torch's own writer hides why a write failed
        torch.save({"format": FORMAT} | values, packed)
        with atomic_write(path) as part:
            part.write_bytes(packed.getbuffer())

    def network(self) -> nn.Module:
        """The trained network, in evaluation mode. Raises BadInput when the parts do not fit."""
        method = METHODS[self.method]
        network = method.build(self.settings(), self.styles)
        self.fill(network)
        return network.eval()

    def fill(self, network: nn.Module) -> None:
        """Put the state into a network. Raises BadInput when it is another network's."""
        try:
            network.load_state_dict(self.state)
        except RuntimeError as error:
            why = printable(str(error).partition("\n")[2].strip() or error, 120)
            raise BadInput(f"checkpoint's weights do not fit its config: {why}") from None

    def load_matching(self, network: nn.Module) -> int:
        """Copy what a network has by the same name and shape; how many tensors that are.

        Raises BadInput when there is none.
        """
        own = network.state_dict()
        lent = {k: v for k, v in self.state.items() if k in own and own[k].shape == v.shape}
        if not lent:
            raise BadInput(f"nothing in this {printable(self.method, 40)} network fits the new one")
        network.load_state_dict(own | lent)
        return len(lent)

    def settings(self) -> Any:
        """The method's Config. Raises BadInput for one of another version."""
        return make_config(METHODS[self.method], self.config)


def make_config(method: Method, values: dict[Any, Any]) -> Any:
    """The method's Config of these values. Raises BadInput for one that it cannot have."""
    known = {entry.name: entry for entry in dataclasses.fields(method.config)}
    hints = typing.get_type_hints(method.config)
    for name, value in values.items():
        if name not in known:
            raise BadInput(f"{method.name} has no setting {printable(name, 40)!r}")
        if not _fits(value, hints[name], known[name].metadata):
            shown = printable(reprlib.repr(value), 40)
            raise BadInput(f"{method.name}: {printable(name, 40)} cannot be {shown}")
    return method.config(**values)


def _fits(value: Any, kind: Any, limits: typing.Mapping[str, Any]) -> bool:
    if typing.get_origin(kind) is tuple:
        part = typing.get_args(kind)[0]
        return type(value) is tuple and value != () and all(_fits(v, part, limits) for v in value)
    choices, minimum, check = limits["choices"], limits["minimum"], limits["check"]
    if choices and value not in choices:
        return False
    right = type(value) is kind or (kind is float and type(value) is int)
    if right and check is not None:
        try:
            check(value)
        except ValueError:
            return False
    return right and (minimum is None or value >= minimum)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises BadInput for anything that is none, or that would need pickle."""
    return checkpoint_of(load_torch_file(path), printable(path))


def load_torch_file(path: Path) -> Any:
    """What a PyTorch file holds, read without running code from it, on the CPU.

    Raises BadInput: no such file, not a PyTorch file, damaged, or it would need pickle.
    """
    shown = printable(path)
    if not path.is_file():
        raise BadInput(f"{shown}: no such file")
    if path.stat().st_size > MAX_BYTES:
        raise BadInput(f"{shown}: over {MAX_BYTES >> 30} GB, no checkpoint of st")
    try:
        with path.open("rb") as file:
            begins = file.read(len(ZIP_START))
    except OSError as error:
        raise BadInput(f"{shown}: cannot be read: {error.strerror}") from None
    if begins == ZIP_START:
        if not zipfile.is_zipfile(path):
            raise BadInput(f"{shown}: cut short: the end of the archive is missing")
        _check_archive(path)
    elif begins[:1] != PICKLE_START:
        raise BadInput(f"{shown}: not a checkpoint of st, nor another PyTorch file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch comments on strange files; one line is enough
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise BadInput(f"{shown}: holds pickled code, which st does not run") from None
    except Exception as error:  # torch raises many kinds on damaged files
        raise BadInput(f"{shown}: damaged checkpoint ({type(error).__name__})") from None


def _check_archive(path: Path) -> None:
    """torch writes its archives uncompressed; one that unpacks to more than it holds is hostile.

    torch does not look at the checksums either: damaged weights would paint damaged pictures.
    """
    shown = printable(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
                raise BadInput(f"{shown}: unpacks to more than it holds, no checkpoint of st")
            if len(set(archive.namelist())) != len(archive.namelist()):
                raise BadInput(f"{shown}: holds two files of one name, no checkpoint of st")
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise BadInput(f"{shown}: a TorchScript module; save the network's state_dict()")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"{shown}: damaged checkpoint ({printable(error, 60)})") from None
    if damaged is not None:
        raise BadInput(f"{shown}: damaged checkpoint (checksum of {printable(damaged, 40)})")


def is_checkpoint(values: Any) -> bool:
    """Whether a PyTorch file's values are a checkpoint of st, of any version and maybe damaged."""
    return isinstance(values, dict) and {"format", "method", "state"} <= set(values)


def checkpoint_of(values: Any, shown: str) -> Checkpoint:
    """The checkpoint in a PyTorch file's values. Raises BadInput: none, or a bad one."""
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise BadInput(f"{shown}: not a checkpoint of st, or of another version")
    kinds = {"method": str, "config": dict, "styles": tuple, "state": dict, "card": dict}
    whole = set(values) == {*kinds, "training"}
    if not whole or not all(isinstance(values[k], kind) for k, kind in kinds.items()):
        raise BadInput(f"{shown}: not a whole checkpoint of st")
    if values["method"] not in METHODS:
        raise BadInput(f"{shown}: unknown method {printable(values['method'], 40)!r}")
    if not all(isinstance(k, str) and is_plain_tensor(v) for k, v in values["state"].items()):
        raise BadInput(f"{shown}: its state is no state dict")
    if not all(bool(v.isfinite().all()) for v in values["state"].values()):
        raise BadInput(f"{shown}: its weights are not all finite numbers")
    names = values["styles"]
    if not all(isinstance(name, str) for name in names):
        raise BadInput(f"{shown}: its styles are no names")
    if len(names) > MAX_STYLES or len(set(names)) != len(names):
        raise BadInput(f"{shown}: over {MAX_STYLES} styles, or two of one name")
    if not all(
        isinstance(k, str) and type(v) in (str, int, float) for k, v in values["card"].items()
    ):
        raise BadInput(f"{shown}: its card is not of texts and numbers")
    values["config"] = settings_before(METHODS[values["method"]].config) | values["config"]
    return Checkpoint(**values)


def is_plain_tensor(value: Any) -> bool:
    """A dense tensor on the CPU, each element of it in the file."""
    return (
        type(value) is Tensor
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and value.untyped_storage().nbytes() >= value.nbytes
    )
