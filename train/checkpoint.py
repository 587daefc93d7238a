"""Checkpoints: self-describing files that are loaded without executing pickled code."""

from __future__ import annotations

import dataclasses
import io
import pickle
import re
import reprlib
import tarfile
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
PICKLED = re.compile(r"GLOBAL ([\w.]+)")  # in torch's message about types that it does not unpickle
PICKLE_START = b"\x80"  # in files written by PyTorch before 1.6


@dataclass(frozen=True)
class Checkpoint:
    """A trained network, with its settings and a description of its training.

    state: the network's state dict. card: training data, steps, losses and time, for display.
    training: optimizer state and step, only in files to resume from.
    """

    method: str
    config: dict[str, Any]
    styles: tuple[str, ...]
    state: dict[str, Tensor]
    card: dict[str, str | int | float] = field(default_factory=dict)
    training: dict[str, Any] | None = None

    def save(self, path: Path) -> None:
        """Write the file atomically. Raises OSError, also for a full disk."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        packed = io.BytesIO()  # torch's writer hides the reason of a failure
        torch.save({"format": FORMAT} | values, packed)
        with atomic_write(path) as part:
            part.write_bytes(packed.getbuffer())

    def network(self) -> nn.Module:
        """The trained network, in evaluation mode. Raises BadInput if the state does not fit."""
        method = METHODS[self.method]
        network = method.build(self.settings(), self.styles)
        self.fill(network)
        return network.eval()

    def fill(self, network: nn.Module) -> None:
        """Load the state into a network. Raises BadInput if it belongs to another network."""
        try:
            network.load_state_dict(self.state)
        except RuntimeError as error:
            why = printable(str(error).partition("\n")[2].strip() or error, 120)
            raise BadInput(f"checkpoint's weights do not fit its config: {why}") from None

    def load_matching(self, network: nn.Module) -> int:
        """Copy the tensors that match a network's by name and shape; returns their number.

        Raises BadInput when none match.
        """
        own = network.state_dict()
        matching = {k: v for k, v in self.state.items() if k in own and own[k].shape == v.shape}
        if not matching:
            raise BadInput(
                f"no weights of this {printable(self.method, 40)} network fit the new one"
            )
        network.load_state_dict(own | matching)
        return len(matching)

    def settings(self) -> Any:
        """The method's Config. Raises BadInput for settings that this version does not know."""
        return make_config(METHODS[self.method], self.config)


def make_config(method: Method, values: dict[Any, Any]) -> Any:
    """A method's Config with these values. Raises BadInput for unknown names or invalid values."""
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
    """Read a checkpoint. Raises BadInput for any other file, and for one that needs pickle."""
    return checkpoint_of(load_torch_file(path), printable(path))


def load_torch_file(path: Path) -> Any:
    """Read a PyTorch file without executing code from it; tensors are on the CPU.

    Raises BadInput: no such file, not a PyTorch file, damaged, or it would need pickle.
    """
    shown = printable(path)
    if not path.is_file():
        raise BadInput(f"{shown}: no such file")
    if path.stat().st_size > MAX_BYTES:
        raise BadInput(f"{shown}: over {MAX_BYTES >> 30} GB, which st does not read")
    try:
        with path.open("rb") as file:
            begins = file.read(len(ZIP_START))
    except OSError as error:
        raise BadInput(f"{shown}: cannot be read: {error.strerror}") from None
    if begins == ZIP_START:
        if not zipfile.is_zipfile(path):
            raise BadInput(f"{shown}: truncated: the end of the archive is missing")
        _check_archive(path)
    elif begins[:1] != PICKLE_START:
        raise BadInput(f"{shown}: {_other_kind(path)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about odd files; our error is enough
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = PICKLED.search(str(error))
        what = f" ({printable(named[1], 60)})" if named else ""
        raise BadInput(
            f"{shown}: contains pickled code{what}, which st does not run: save the network's "
            "state_dict() alone"
        ) from None
    except Exception as error:  # torch raises many types for damaged files
        raise BadInput(f"{shown}: damaged checkpoint ({type(error).__name__})") from None


def _other_kind(path: Path) -> str:
    """Describe a file that does not begin like a PyTorch file, and what to do with it."""
    try:
        with tarfile.open(path, "r:") as archive:
            members = archive.getnames()
    except (tarfile.TarError, OSError, EOFError, zlib.error):
        return "not a checkpoint of st, nor another PyTorch file"
    if {"pickle", "storages", "tensors"} <= set(members):
        return (
            "of PyTorch 0.1, whose files are pickled code, which st does not run: load it with "
            "torch.load(…, weights_only=False) if you trust it, and save its state_dict()"
        )
    return "an archive: unpack it and give the file in it"


def _check_archive(path: Path) -> None:
    """Raises BadInput for a damaged or malicious zip archive.

    torch writes archives uncompressed, so one that unpacks to more than its size is malicious. It
    also ignores checksums, so damaged weights would go unnoticed.
    """
    shown = printable(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
                raise BadInput(f"{shown}: unpacks to more than its size; not a checkpoint of st")
            if len(set(archive.namelist())) != len(archive.namelist()):
                raise BadInput(f"{shown}: contains two files of one name; not a checkpoint of st")
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise BadInput(
                    f"{shown}: is a TorchScript module; save the network's state_dict() instead"
                )
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"{shown}: damaged checkpoint ({printable(error, 60)})") from None
    if damaged is not None:
        raise BadInput(f"{shown}: damaged checkpoint (checksum of {printable(damaged, 40)})")


def is_checkpoint(values: Any) -> bool:
    """Whether the values of a PyTorch file are a checkpoint of st, of any version."""
    return isinstance(values, dict) and {"format", "method", "state"} <= set(values)


def checkpoint_of(values: Any, shown: str) -> Checkpoint:
    """The checkpoint in the values of a PyTorch file. Raises BadInput for anything else."""
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise BadInput(f"{shown}: not a checkpoint of st, or of another version")
    kinds = {"method": str, "config": dict, "styles": tuple, "state": dict, "card": dict}
    whole = set(values) == {*kinds, "training"}
    if not whole or not all(isinstance(values[k], kind) for k, kind in kinds.items()):
        raise BadInput(f"{shown}: not a complete checkpoint of st")
    if values["method"] not in METHODS:
        raise BadInput(f"{shown}: unknown method {printable(values['method'], 40)!r}")
    if not all(isinstance(k, str) and is_plain_tensor(v) for k, v in values["state"].items()):
        raise BadInput(f"{shown}: its state is not a state dict")
    if not all(bool(v.isfinite().all()) for v in values["state"].values()):
        raise BadInput(f"{shown}: some of its weights are not finite")
    names = values["styles"]
    if not all(isinstance(name, str) for name in names):
        raise BadInput(f"{shown}: its style names are not texts")
    if len(names) > MAX_STYLES or len(set(names)) != len(names):
        raise BadInput(f"{shown}: over {MAX_STYLES} styles, or two with the same name")
    if not all(
        isinstance(k, str) and type(v) in (str, int, float) for k, v in values["card"].items()
    ):
        raise BadInput(f"{shown}: its card has entries other than texts and numbers")
    values["config"] = settings_before(METHODS[values["method"]].config) | values["config"]
    return Checkpoint(**values)


def is_plain_tensor(value: Any) -> bool:
    """Whether a value is a dense CPU tensor, with storage for every element."""
    return (
        type(value) is Tensor
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and value.untyped_storage().nbytes() >= value.nbytes
    )
