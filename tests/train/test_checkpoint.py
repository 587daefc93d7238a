"""Untrusted checkpoints are rejected in one line, and no code in them runs."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import resource
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from st.runtime.errors import BadInput
from st.train.checkpoint import MAX_BYTES, Checkpoint, load_checkpoint, make_config
from st.train.methods import METHODS


class Canary:
    """An object whose unpickling creates a file."""

    def __init__(self, path: Path) -> None:
        self.order = f"touch {path}"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.order,)


def good() -> dict[str, Any]:
    """The contents of a checkpoint of a small real network."""
    config = METHODS["perceptual"].config(shape="fast")
    network = METHODS["perceptual"].build(config, ["wave"])
    return {
        "format": 1,
        "method": "perceptual",
        "config": dataclasses.asdict(config),
        "styles": ("wave",),
        "state": dict(network.state_dict()),
        "card": {"steps": 3},
        "training": None,
    }


def packed(values: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(values, stream)
    return stream.getvalue()


def repacked(data: bytes, change: Callable[[str, bytes], dict[str, bytes]], **how: Any) -> bytes:
    """A zip archive with every member modified."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w", **how) as new:
        for name in old.namelist():
            for changed, content in change(name, old.read(name)).items():
                new.writestr(changed, content)
    return stream.getvalue()


def with_pickle(pickled: bytes) -> bytes:
    """A checkpoint with another pickle."""
    return repacked(packed(good()), lambda n, d: {n: pickled if n.endswith("data.pkl") else d})


def legacy_tar(canary: Path) -> bytes:
    """The first format of torch: a tar of pickles."""
    stream, order = io.BytesIO(), pickle.dumps(Canary(canary), protocol=2)
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            info = tarfile.TarInfo(name)
            info.size = len(order)
            archive.addfile(info, io.BytesIO(order))
    return stream.getvalue()


def torch_script() -> bytes:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), stream)
    return stream.getvalue()


def overlapping(size: int = 1000) -> bytes:
    """A zip whose directory lists one stored member many times, so that it unpacks to more than it
    holds."""
    data = bytearray(packed(good()))
    end = data.rfind(b"PK\x05\x06")
    start = struct.unpack("<I", data[end + 16 : end + 20])[0]
    entry = data[start : data.index(b"PK\x01\x02", start + 4)]
    directory = bytes(entry) * size
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, size, size, len(directory), start, 0)
    return bytes(data[:start]) + directory + tail


def stretched() -> Tensor:
    return torch.zeros(1).expand(1 << 20, 1 << 20)


def state_with(key: str, value: Any) -> bytes:
    values = good()
    values["state"] |= {key: value}
    return packed(values)


def config_with(**entries: Any) -> bytes:
    values = good()
    values["config"] |= entries
    return packed(values)


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "reduce in the pickle": lambda c: packed(good() | {"card": Canary(c)}),
    "reduce as the whole file": lambda c: packed(Canary(c)),
    "reduce in another protocol": lambda c: with_pickle(pickle.dumps(Canary(c), protocol=5)),
    "bare pickle": lambda c: pickle.dumps(Canary(c)),
    "legacy pickle": lambda c: legacy(Canary(c)),
    "legacy tar": legacy_tar,
    "legacy pickle before a zip": lambda c: pickle.dumps(Canary(c)) + packed(good()),
    "TorchScript": lambda c: torch_script(),
    "TorchScript's constants with an order": lambda c: repacked(
        packed(good()),
        lambda n, d: {n: d, n.replace("data.pkl", "constants.pkl"): pickle.dumps(Canary(c))},
    ),
    "zip bomb": lambda c: repacked(
        packed(good()),
        lambda n, d: {n: d, n.replace("data.pkl", "data/999"): bytes(50 << 20)},
        compression=zipfile.ZIP_DEFLATED,
    ),
    "overlapping members": lambda c: overlapping(),
    "members outside": lambda c: repacked(
        packed(good()), lambda n, d: {f"../../{n}": d, f"../{c.name}": b"x", str(c): b"x"}
    ),
    "cut in the middle": lambda c: packed(good())[:-2000],
    "cut to its beginning": lambda c: packed(good())[:3],
    "empty": lambda c: b"",
    "noise in the middle": lambda c: packed(good())[:4000] + bytes(500) + packed(good())[4500:],
    "no pickle inside": lambda c: repacked(packed(good()), lambda n, d: {n + "x": d}),
    "endless nesting": lambda c: with_pickle(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
    "memory order": lambda c: with_pickle(
        b"\x80\x02c__builtin__\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x40\x85R."
    ),
    "a list": lambda c: packed([1, 2]),
    "a bare state dict": lambda c: packed(good()["state"]),
    "another format": lambda c: packed(good() | {"format": 2}),
    "one entry more": lambda c: packed(good() | {"extra": 1}),
    "unknown method": lambda c: packed(good() | {"method": "../../\x1b[2J"}),
    "wrong method": lambda c: packed(good() | {"method": "adain"}),
    "method of another kind": lambda c: packed(good() | {"method": ["cin"]}),
    "non-tensor state": lambda c: state_with("code", [1.0, 2.0]),
    "tensor of another shape": lambda c: state_with("code", torch.zeros(2, 2)),
    "tensor that is not all there": lambda c: state_with("code", stretched()),
    "sparse tensor": lambda c: state_with("code", torch.eye(3).to_sparse()),
    "meta tensor": lambda c: state_with("code", torch.zeros(3, device="meta")),
    "unknown tensor": lambda c: state_with("other", torch.zeros(2)),
    "names that are none": lambda c: packed(good() | {"styles": (1, 2)}),
    "a name twice": lambda c: packed(good() | {"styles": ("wave", "wave")}),
    "a million names": lambda c: packed(good() | {"styles": ("wave",) * 1_000_000}),
    "ten thousand styles": lambda c: packed(
        good() | {"method": "cin", "styles": tuple(map(str, range(10_000)))}
    ),
    "card of another kind": lambda c: packed(good() | {"card": {"steps": [[]]}}),
    "unknown setting": lambda c: config_with(depth=3),
    "setting without a name": lambda c: packed(good() | {"config": {3: 4, "steps": 1}}),
    "unknown shape": lambda c: config_with(shape="huge"),
    "shape of another kind": lambda c: config_with(shape=["fast"]),
    "size that is no number": lambda c: config_with(size="32"),
    "size below any": lambda c: config_with(size=-32),
    "weight that is NaN": lambda c: config_with(style_weight=float("nan")),
}


def legacy(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


@pytest.mark.filterwarnings("ignore")  # of torch.jit's age, and of names twice in one archive
@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_files_are_refused(attack: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    file = tmp_path / "in" / "model.pt"
    file.parent.mkdir()
    file.write_bytes(HOSTILE[attack](canary))
    with pytest.raises(BadInput) as refusal:
        load_checkpoint(file).network()
    message = str(refusal.value)
    assert len(message) < 400
    assert message.isprintable()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "model.pt"]


def test_the_hostile_pickle_executes_when_unpickled(tmp_path: Path) -> None:
    """The attack works on a loader that unpickles without checks."""
    canary = tmp_path / "canary"
    with zipfile.ZipFile(io.BytesIO(HOSTILE["reduce in the pickle"](canary))) as archive:
        pickled = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        content = archive.read(pickled)

    class Careless(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            return torch.TypedStorage(4 << 20, dtype=torch.float32, _internal=True)  # pyright: ignore

    Careless(io.BytesIO(content)).load()
    assert canary.exists()


def test_giant_files_are_refused_unread(tmp_path: Path) -> None:
    giant = tmp_path / "giant.pt"
    with giant.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(MAX_BYTES + 1)  # sparse: no disk is used
    with pytest.raises(BadInput, match="GB"):
        load_checkpoint(giant)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pt", tmp_path):
        with pytest.raises(BadInput, match="no such file"):
            load_checkpoint(path)


def test_good_checkpoints_load(tmp_path: Path) -> None:
    """The unmodified parts of the attacks are accepted."""
    file = tmp_path / "model.pt"
    for data in (packed(good()), repacked(packed(good()), lambda n, d: {n: d})):
        file.write_bytes(data)
        assert load_checkpoint(file).card == {"steps": 3}
        load_checkpoint(file).network()


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    """A file size limit replaces the full disk: the write fails half way."""
    values = good()
    del values["format"]
    saved, path = Checkpoint(**values), tmp_path / "model.pt"
    path.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match="large"):
            saved.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]
    saved.save(path)
    assert load_checkpoint(path).styles == ("wave",)


def test_make_config() -> None:
    cin = METHODS["cin"]
    assert make_config(cin, {"tv_weight": 2}).tv_weight == 2  # a whole number is a number
    assert make_config(cin, {}) == cin.config()
    for values in ({"steps": True}, {"steps": 0}, {"style_layers": ()}, {"content_layer": "relu9"}):
        with pytest.raises(BadInput, match="cin"):
            make_config(cin, values)


@pytest.mark.parametrize("name", ["wct", "mgan"])
def test_checkpoints_without_an_encoder_setting_use_vgg(name: str, tmp_path: Path) -> None:
    """Their configs lack the setting, which defaults to SqueezeNet in new ones."""
    method, setting = METHODS[name], "encoder" if name == "wct" else "loss_network"
    config = method.config(**{setting: "vgg16"}, **({"levels": ("1",)} if name == "wct" else {}))
    styles = ("wave",) if name == "mgan" else ()
    network = method.build(config, styles)
    values = dataclasses.asdict(config)
    del values[setting]
    Checkpoint(name, values, styles, network.state_dict()).save(tmp_path / "old.pt")
    loaded = load_checkpoint(tmp_path / "old.pt")
    assert loaded.config[setting] == "vgg16"
    loaded.network()
    assert getattr(method.config(), setting) == "squeezenet"
