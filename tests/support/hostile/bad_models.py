"""Hostile engines, checkpoints, style codes and settings."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto

from st.runtime.engine.metadata import PROPERTY, Metadata
from tests.support import toys
from tests.support.hostile.bad_files import Box, kind

IDENTITY = """identity (uint8[N, H, W, 3] content) => (uint8[N, H, W, 3] stylized)
    { stylized = Identity(content) }"""


class Order:
    """An object whose unpickling creates a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.canary),)


# --- engines


def engine(model: onnx.ModelProto, metadata: str | None = None) -> bytes:
    text = Metadata("identity").dump() if metadata is None else metadata
    model.metadata_props.add(key=PROPERTY, value=text)
    return model.SerializeToString()


def said(**changes: object) -> bytes:
    """An identity engine with changed metadata."""
    text = json.dumps(json.loads(Metadata("identity").dump()) | changes)
    return engine(toys.model(IDENTITY), text)


@kind("engine", often=True)
def metadata_of_wrong_numbers(box: Box) -> bytes:
    wrong: list[Any] = [-1, 10**9, 10**400, 1.5, True, None, "9", [], float("nan"), float("inf")]
    keys = ("multiple", "min_size", "halo", "code_size", "fixed_size", "norms", "max_error", "card")
    key = keys[box.random.integers(len(keys))]
    usable = {"fixed_size": (None,), "max_error": (None, 10**9, 1.5), "norms": ([],)}
    value = wrong[box.random.integers(len(wrong))]
    return said(**{key: -1 if any(value is good for good in usable.get(key, ())) else value})


@kind("engine")
def metadata_of_a_million_styles(box: Box) -> bytes:
    return said(styles=[str(n) for n in range(10**6)], inputs=["content", "weights"])


@kind("engine")
def metadata_nested_without_end(box: Box) -> bytes:
    return engine(toys.model(IDENTITY), '{"card":' * 8000 + "1" + "}" * 8000)


@kind("engine")
def metadata_of_a_megabyte(box: Box) -> bytes:
    return said(card={"note": "x" * 2**20})


@kind("engine")
def metadata_that_writes_to_the_terminal(box: Box) -> bytes:
    return said(kind="\x1b[2J\nError: forged")


@kind("engine", usable=True)
def card_that_writes_to_the_terminal(box: Box) -> bytes:
    return said(method="\x1b[2J\nError: forged", card={"\x1b]0;owned\x07": "\x9b31m\r\n[red]"})


@kind("engine")
def styles_that_are_paths(box: Box) -> bytes:
    return said(styles=["../../etc/passwd", "a\0b", "\x1b[2J"], inputs=["content", "weights"])


@kind("engine")
def metadata_of_other_text(box: Box) -> bytes:
    texts = ("", "null", "[]", "{", '{"format": 1}', '{"format": 1e400}', "NaN", "\ud7ff" * 9)
    return engine(toys.model(IDENTITY), texts[box.random.integers(len(texts))])


@kind("engine", often=True)
def weights_elsewhere(box: Box) -> bytes:
    """External data: in the folder, above it, through a link, absolute, or a memory address."""
    secret = Path(box.write(np.ones(4, np.float32).tobytes(), "secret.bin"))
    (box.folder / "link.bin").symlink_to(secret)
    (box.folder / "hard.bin").hardlink_to(secret)
    (box.folder / "up").symlink_to("..")
    places = (
        "secret.bin",
        f"../{box.folder.name}/secret.bin",
        str(secret),
        "link.bin",
        "hard.bin",
        f"up/{box.folder.name}/secret.bin",
        "*/_ORT_MEM_ADDR_/*",
        "/dev/zero",
    )
    tensor = TensorProto(name="k", dims=[4], data_type=TensorProto.FLOAT, data_location=1)
    place = places[box.random.integers(len(places))]
    for key, value in {"location": place, "offset": "0", "length": "16"}.items():
        tensor.external_data.add(key=key, value=value)
    model = toys.model(IDENTITY)
    model.graph.initializer.append(tensor)
    return engine(model)


@kind("engine", often=True)
def unknown_operators(box: Box) -> bytes:
    names = ("evil.Run", "com.microsoft.Invent", "ai.onnx.ml.Invent", "Invent", "PyOp")
    name = names[box.random.integers(len(names))]
    model = toys.model(IDENTITY.replace("Identity", name))
    if domain := name.rpartition(".")[0]:
        model.opset_import.add(domain=domain, version=1)
    return engine(model)


@kind("engine")
def engine_without_metadata(box: Box) -> bytes:
    return toys.model(IDENTITY).SerializeToString()


@kind("engine")
def engine_of_another_time(box: Box) -> bytes:
    model = toys.model(IDENTITY)
    model.opset_import[0].version = 2**40
    return engine(model)


@kind("engine")
def tensor_that_claims_more_than_it_holds(box: Box) -> bytes:
    text = IDENTITY.replace("Identity(content)", "Add(content, k)")
    model = toys.model(text)
    tensor = TensorProto(name="k", dims=[10**6, 10**6], data_type=TensorProto.UINT8, raw_data=b"12")
    model.graph.initializer.append(tensor)
    return engine(model)


@kind("engine")
def loop_without_end(box: Box) -> bytes:
    model = toys.model(
        """g (uint8[N, H, W, 3] content) => (uint8[N, H, W, 3] stylized)
        <int64 trips = {4611686018427387904}, bool go = {1}> {
            stylized = Loop<body = turn (int64 i, bool on, uint8[A, B, C, 3] x)
                => (bool still, uint8[A, B, C, 3] y) { still = Identity(on) y = Identity(x) }
            >(trips, go, content)
        }"""
    )
    return engine(model)


@kind("engine")
def constant_of_terabytes(box: Box) -> bytes:
    return engine(
        toys.model(
            """g (uint8[N, H, W, 3] content) => (uint8[N, H, W, 3] stylized)
            <int64[2] shape = {1000000, 1000000}> {
                large = ConstantOfShape(shape)
                most = ReduceMax<keepdims = 0>(large)
                bytes = Cast<to = 2>(most)
                stylized = Add(content, bytes)
            }"""
        )
    )


@kind("engine")
def functions_of_functions(box: Box) -> bytes:
    """Each function calls the next one twice: a billion operators after inlining."""
    model = toys.model(IDENTITY.replace("Identity", "st.f0"))
    model.opset_import.add(domain="st", version=1)
    for level in range(30):
        name = f"f{level + 1}" if level < 29 else "Identity"
        domain = "st" if level < 29 else ""
        calls = [
            onnx.helper.make_node(name, ["x"], ["y"], domain=domain),
            onnx.helper.make_node(name, ["y"], ["z"], domain=domain),
        ]
        model.functions.append(
            onnx.helper.make_function("st", f"f{level}", ["x"], ["z"], calls, model.opset_import)
        )
    return engine(model)


@kind("engine")
def picture_blown_up(box: Box) -> bytes:
    """Known only at run time: each pixel becomes twenty thousand."""
    return engine(
        toys.model(
            """g (uint8[N, H, W, 3] content) => (uint8[N, H, W, 3] stylized)
            <int64[4] times = {1, 2000, 10, 1}> { stylized = Tile(content, times) }"""
        )
    )


@kind("engine")
def picture_cut_off(box: Box) -> bytes:
    return engine(
        toys.model(
            """g (uint8[N, H, W, 3] content) => (uint8[N, H2, W2, 3] stylized)
            <int64[2] start = {0, 0}, int64[2] end = {2, 2}, int64[2] axes = {1, 2}>
            { stylized = Slice(content, start, end, axes) }"""
        )
    )


@kind("engine")
def pickle_as_engine(box: Box) -> bytes:
    return pickle.dumps(Order(box.canary))


# --- checkpoints


def packed(values: Any, **how: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(values, stream, **how)
    return stream.getvalue()


def opened(box: Box) -> dict[str, Any]:
    return torch.load(io.BytesIO(box.good.files["checkpoint"][0]), weights_only=True)


def rezipped(box: Box, change: Callable[[str, bytes], dict[str, bytes]], **how: Any) -> bytes:
    """The archive of an intact checkpoint, with each member replaced."""
    out = io.BytesIO()
    whole = io.BytesIO(box.good.files["checkpoint"][0])
    with (
        warnings.catch_warnings(),
        zipfile.ZipFile(whole) as old,
        zipfile.ZipFile(out, "w", **how) as new,
    ):
        warnings.simplefilter("ignore")  # duplicate names are intended
        for name in old.namelist():
            for changed, data in change(name, old.read(name)).items():
                new.writestr(changed, data)
    return out.getvalue()


@kind("checkpoint")
def pickle_inside(box: Box) -> bytes:
    return packed(opened(box) | {"card": Order(box.canary)})


@kind("checkpoint")
def pickle_in_place_of_the_contents(box: Box) -> bytes:
    order = pickle.dumps(Order(box.canary))
    return rezipped(box, lambda name, data: {name: order if name.endswith("data.pkl") else data})


@kind("checkpoint")
def pickle_under_other_names(box: Box) -> bytes:
    """The names that torch uses in other kinds of archives."""
    order = pickle.dumps(Order(box.canary))
    hidden = ("constants.pkl", "attributes.pkl", "code/__torch__.py", "extra/model.json")
    return rezipped(
        box,
        lambda name, data: {name: data} | {name.replace("data.pkl", x): order for x in hidden},
    )


@kind("checkpoint")
def pickle_in_the_state(box: Box) -> bytes:
    values = opened(box)
    values["state"]["code"] = Order(box.canary)
    return packed(values)


@kind("checkpoint", often=True)
def bare_pickle(box: Box) -> bytes:
    return pickle.dumps(Order(box.canary), protocol=int(box.random.integers(0, 6)))


@kind("checkpoint")
def pickle_of_the_old_format(box: Box) -> bytes:
    return packed({"state": Order(box.canary)}, _use_new_zipfile_serialization=False)


@kind("checkpoint")
def pickle_before_an_archive(box: Box) -> bytes:
    return pickle.dumps(Order(box.canary)) + box.whole()


@kind("checkpoint")
def tar_of_pickles(box: Box) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors", "../canary"):
            data = pickle.dumps(Order(box.canary), protocol=2)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@kind("checkpoint")
def members_outside_the_archive(box: Box) -> bytes:
    outside = ("../canary", f"../../{box.canary.name}", str(box.canary))
    return rezipped(box, lambda name, data: {f"../{name}": data} | dict.fromkeys(outside, b"x"))


@kind("checkpoint")
def zip_bomb(box: Box) -> bytes:
    return rezipped(
        box,
        lambda name, data: {name: data, name.replace("data.pkl", "data/9"): bytes(100 << 20)},
        compression=zipfile.ZIP_DEFLATED,
    )


@kind("checkpoint")
def archive_of_a_million_members(box: Box) -> bytes:
    """A central directory that lists one member many times."""
    data = box.whole()
    end = data.rfind(b"PK\x05\x06")
    start = struct.unpack("<I", data[end + 16 : end + 20])[0]
    entry = data[start : data.index(b"PK\x01\x02", start + 4)]
    listed = entry * 60_000
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 60_000, 60_000, len(listed), start, 0)
    return data[:start] + listed + tail


@kind("checkpoint")
def checkpoint_of_other_things(box: Box) -> bytes:
    values = opened(box)
    changes: tuple[Any, ...] = (
        {"method": "\x1b[2J../../x"},
        {"method": "adain"},
        {"styles": ("a", "b")},
        {"state": {}},
        {"config": {"steps": float("nan")}},
        {"config": {"shape": "fast", "size": 10**12}},
        {"state": values["state"] | {"code": torch.zeros(1).expand(1 << 20, 1 << 20)}},
        {"state": values["state"] | {"code": torch.zeros(2, device="meta")}},
        {"state": values["state"] | {"code": torch.eye(2).to_sparse()}},
    )
    return packed(values | changes[box.random.integers(len(changes))])


@kind("checkpoint")
def weights_that_are_no_numbers(box: Box) -> bytes:
    values = opened(box)
    values["state"] = {k: torch.full_like(v, torch.nan) for k, v in values["state"].items()}
    return packed(values)


# --- style codes


def code(compression: int = zipfile.ZIP_STORED, **arrays: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, values in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(values), allow_pickle=True)
            archive.writestr(f"{name}.npy", member.getvalue())
    return out.getvalue()


MARK = np.frombuffer(b"mean", np.uint8)


@kind("code")
def pickle_in_a_code(box: Box) -> bytes:
    return code(values=np.array([Order(box.canary)], object), fingerprint=MARK)


@kind("code")
def pickle_as_fingerprint(box: Box) -> bytes:
    return code(values=np.ones(3, np.float32), fingerprint=np.array([Order(box.canary)], object))


@kind("code")
def pickle_as_code(box: Box) -> bytes:
    return pickle.dumps(Order(box.canary))


@kind("code")
def code_of_no_numbers(box: Box) -> bytes:
    bad = (np.nan, np.inf, -np.inf)
    values = np.full(3, bad[box.random.integers(3)], np.float32)
    return code(values=values, fingerprint=MARK)


@kind("code")
def code_of_another_engine(box: Box) -> bytes:
    return code(values=np.ones(3, np.float32), fingerprint=np.frombuffer(b"\x1b[2J\n", np.uint8))


@kind("code")
def code_of_other_shape(box: Box) -> bytes:
    shapes = ((2,), (4,), (0,), (1, 3), (1 << 20,))
    return code(values=np.ones(shapes[box.random.integers(5)], np.float32), fingerprint=MARK)


@kind("code")
def code_that_claims_more_than_it_holds(box: Box) -> bytes:
    data = code(values=np.ones(3, np.float32), fingerprint=MARK)
    return data.replace(b"(3,), }   ", b"(9999999,)")


@kind("code")
def code_bomb(box: Box) -> bytes:
    return code(zipfile.ZIP_DEFLATED, values=np.zeros(30_000_000, np.float32), fingerprint=MARK)


@kind("code")
def code_header_that_runs(box: Box) -> bytes:
    """NumPy's header is a Python literal; this one is an expression."""
    header = f"{{'descr': __import__('os').mkdir('{box.canary}')}}".encode().ljust(246) + b"\n"
    member = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("values.npy", member)
        archive.writestr("fingerprint.npy", member)
    return out.getvalue()


# --- settings


@kind("settings")
def settings_nested_without_end(box: Box) -> bytes:
    return b"size = " + b"[" * 50_000


@kind("settings")
def settings_of_huge_numbers(box: Box) -> bytes:
    return b"size = 1" + b"0" * 5000


@kind("settings")
def settings_of_other_kinds(box: Box) -> bytes:
    lines = (b"size = nan", b"size = []", b"size = {a = 1}", b"seed = -3", b"style-layers = [[1]]")
    return lines[box.random.integers(len(lines))]


@kind("settings")
def settings_that_write_to_the_terminal(box: Box) -> bytes:
    return b'"\\u001b[2J\\nError: forged" = 1'
