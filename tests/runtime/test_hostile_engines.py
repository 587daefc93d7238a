"""Untrusted engine files are rejected with one line, within a second, and open no other file."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some
from onnx import TensorProto

from st.runtime import BadEngine, BadInput, StError, StyleCode, Stylizer
from st.runtime.backends.open import open_engine
from st.runtime.engine.metadata import MAX_BYTES, PROPERTY, Metadata
from st.runtime.engine.onnx_file import MAX_FIELDS, MAX_FILE, read_engine
from tests.support import toys

IDENTITY = """identity (uint8[N, H, W, 3] content) => (uint8[N, H, W, 3] stylized)
    { stylized = Identity(content) }"""
DEVICES = ("cpu", "openvino")

pytest.importorskip("openvino")


def refused(path: Path, match: str | None = None, device: str = "cpu") -> str:
    """The error message: one printable line. benchmarks.trust measures the time."""
    with pytest.raises(BadInput, match=match) as caught:
        Stylizer(path, device=device)
    line = str(caught.value)
    assert "\n" not in line
    assert line.isprintable()
    assert len(line) < 600
    return line


def write(path: Path, model: onnx.ModelProto, metadata: str | None) -> Path:
    if metadata is not None:
        model.metadata_props.add(key=PROPERTY, value=metadata)
    path.write_bytes(model.SerializeToString())
    return path


def described(path: Path, text: str) -> Path:
    return write(path, toys.model(IDENTITY), text)


def edited(**changes: object) -> str:
    return json.dumps(json.loads(Metadata("identity").dump()) | changes)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "empty"),
        (b"\0" * 4096, "not an ONNX file"),
        (b"hello, this is no engine", "not an ONNX file"),
        (b"\x80\x02cos\nsystem\n(S'true'\ntR.", "not an ONNX file"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "not an ONNX file"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "not an ONNX file"),
        (b"\x08\x0a", "not an ONNX file"),  # a model without a graph
    ],
)
def test_files_of_other_kinds_are_refused(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    refused(tmp_path / "x.onnx", match)


def test_folders_pipes_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    refused(tmp_path / "folder.onnx", "is a folder")
    os.mkfifo(tmp_path / "pipe.onnx")
    refused(tmp_path / "pipe.onnx", "not a regular file")
    refused(tmp_path / "none.onnx", "no such engine file")
    refused(tmp_path / "a\0b.onnx", "no such engine file")
    refused(tmp_path / "\x1b[31m.onnx", "no such engine file")


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(MAX_FILE + 1)  # sparse
    refused(tmp_path / "huge.onnx", "512")


def test_an_onnx_file_without_metadata_is_refused(tmp_path: Path) -> None:
    refused(write(tmp_path / "x.onnx", toys.model(IDENTITY), None), "st-export")


def test_every_truncation_of_an_engine_is_refused(tmp_path: Path) -> None:
    data = toys.tint_engine(tmp_path / "whole.onnx").read_bytes()
    for length in range(1, len(data), 7):
        (tmp_path / "cut.onnx").write_bytes(data[:length])
        with pytest.raises(BadInput):
            read_engine(tmp_path / "cut.onnx")
    refused(tmp_path / "cut.onnx")


@given(seed=some.integers(0, 2**32 - 1))
@example(seed=328)  # a name of a side that is no text
@settings(max_examples=150, deadline=None)
def test_random_damage_raises_only_st_errors(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    whole = tmp_path_factory.getbasetemp() / "whole.onnx"
    if not whole.exists():
        toys.tiles_pair(whole)
    random = np.random.default_rng(seed)
    data = bytearray(whole.read_bytes())
    for _ in range(random.integers(1, 12)):
        data[random.integers(len(data))] = random.integers(256)
    (whole.with_name("damaged.onnx")).write_bytes(data)
    error = ""
    try:
        with Stylizer(whole.with_name("damaged.onnx"), device="cpu", threads=1) as paint:
            paint(np.zeros((8, 8, 3), np.uint8))
    except StError as caught:
        error = str(caught)
    assert "\n" not in error


@pytest.mark.parametrize(
    ("metadata", "match"),
    [
        ("x" * (MAX_BYTES + 1), "at most 65536"),
        (edited(card={"note": "x" * MAX_BYTES}), "at most 65536"),
        ("[" * 20_000 + "]" * 20_000, "JSON"),
        ('{"a":' * 9 + "1" + "}" * 9, "format"),
        (edited(card={"deep": [[[[[[[[[1]]]]]]]]]}), "card"),
        (edited().replace('"halo": 0', '"halo": NaN'), "NaN"),
        (edited().replace('"halo": 0', '"halo": Infinity'), "Infinity"),
        (edited().replace('"halo": 0', '"halo": 1' + "0" * 5000), "JSON|number"),
        (edited(max_error=-1), "max_error"),
        (edited(multiple=-4), "multiple"),
        (edited(multiple=10**9), "multiple"),
        (edited(min_size=10**9), "min_size"),
        (edited(halo=-1), "halo"),
        (edited(multiple=4.0), "multiple"),
        (edited(multiple=True), "multiple"),
        (edited(fixed_size=[10**9, 10**9]), "fixed_size"),
        (edited(fixed_size=[0, 4]), "fixed_size"),
        (edited(sizes=[[8, 8]]), "sizes"),
        (edited(sizes=[[8, 8], [4, 8]]), "sizes"),
        (edited(sizes=[[8, 8], None]), "sizes"),
        (edited(sizes=[[8, 8], [16, 10]], multiple=4), "multiples"),
        (edited(sizes=[[8, 8], [16, 16]], fixed_size=[8, 8]), "fixed_size"),
        (edited(precision="fp8"), "precision"),
        (edited(blends=1), "blends"),
        (edited(rounding_error=[1.0, 0.1]), "rounding_error"),
        (edited(precision="fp16", rounding_error=[1.0]), "rounding_error"),
        (edited(precision="fp16", rounding_error=[1.0, None]), "rounding_error"),
        (edited(code_size=10**9, inputs=["content", "code"]), "code_size"),
        (edited(styles=["x"] * 10**4, inputs=["content", "weights"]), "styles"),
        (edited(styles=["\x1b[31mred"], inputs=["content", "weights"]), "printable"),
        (edited(styles=["a", "a"], inputs=["content", "weights"]), "twice"),
        (edited(inputs=["content", "shell"]), "unknown input"),
        (edited(inputs=["content", "content"]), "twice"),
        (
            edited(inputs=["content", "moments", "margins"]),
            "a stylizer engine cannot have the inputs",
        ),
        (edited(kind="virus"), "kind"),
        (edited(plugin="evil.so"), "unknown entries"),
        (edited(format=99), "format"),
        ("[]", "no JSON object"),
        ("", "JSON"),
        ("null", "no JSON object"),
    ],
)
def test_metadata_bombs_are_refused(tmp_path: Path, metadata: str, match: str) -> None:
    refused(described(tmp_path / "x.onnx", metadata), match)


def test_duplicate_or_binary_metadata_is_refused(tmp_path: Path) -> None:
    model = toys.model(IDENTITY)
    model.metadata_props.add(key=PROPERTY, value=Metadata("identity").dump())
    refused(write(tmp_path / "twice.onnx", model, Metadata("identity").dump()), "twice")
    data = described(tmp_path / "x.onnx", Metadata("METHOD").dump()).read_bytes()
    (tmp_path / "x.onnx").write_bytes(data.replace(b"METHOD", b"\xff\xfe\xff\xfe\xff\xfe"))
    refused(tmp_path / "x.onnx", "not valid UTF-8")


def test_a_million_protobuf_fields_are_refused(tmp_path: Path) -> None:
    data = toys.identity_engine(tmp_path / "x.onnx").read_bytes()
    (tmp_path / "x.onnx").write_bytes(data + b"\x08\x0a" * MAX_FIELDS)
    refused(tmp_path / "x.onnx", "too many parts")


def test_deeply_nested_graphs_are_refused(tmp_path: Path) -> None:
    inner = b""
    for _ in range(3000):  # attribute.g of a node of a graph, again and again
        for field in (6, 5, 1):
            inner = onnx_field(field, inner)
    data = described(tmp_path / "x.onnx", Metadata("identity").dump()).read_bytes()
    (tmp_path / "x.onnx").write_bytes(data + onnx_field(7, inner))
    for device in DEVICES:
        refused(tmp_path / "x.onnx", device=device)


def onnx_field(number: int, content: bytes) -> bytes:
    size, encoded = len(content), bytearray()
    while size > 127:
        encoded.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2]) + bytes(encoded) + bytes([size]) + content


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("graph", "match"),
    [
        ("(uint8[N, H, W, 3] content) => (uint8[N, H, W, 3] other)", "outputs other"),
        ("(uint8[N, H, W, 3] other) => (uint8[N, H, W, 3] stylized)", "inputs other"),
        ("(float[N, H, W, 3] content) => (float[N, H, W, 3] stylized)", "float32"),
        ("(uint8[N, 3, H, W] content) => (uint8[N, 3, H, W] stylized)", "any, 3, any, any"),
        ("(uint8[H, W, 3] content) => (uint8[H, W, 3] stylized)", "any, any, 3"),
        ("(uint8[N, 8, 8, 3] content) => (uint8[N, 8, 8, 3] stylized)", "any, 8, 8, 3"),
        ("(uint8[7, H, W, 3] content) => (uint8[7, H, W, 3] stylized)", "7, any, any"),
        ("(uint8[N, H, W, 4] content) => (uint8[N, H, W, 4] stylized)", "any, any, any, 4"),
    ],
)
def test_graphs_that_contradict_their_metadata_are_refused(
    tmp_path: Path, graph: str, match: str, device: str
) -> None:
    names = graph.split("]")
    source, target = names[1].split(")")[0].strip(), names[2].split(")")[0].strip()
    model = toys.model(f"g {graph} {{ {target} = Identity({source}) }}")
    refused(write(tmp_path / "x.onnx", model, Metadata("g").dump()), match, device)


@pytest.mark.parametrize("device", DEVICES)
def test_an_input_missing_in_the_metadata_is_refused(tmp_path: Path, device: str) -> None:
    path = toys.tint_engine(tmp_path / "x.onnx")
    model = onnx.load_model_from_string(path.read_bytes())
    del model.metadata_props[:]
    refused(write(path, model, Metadata("tint").dump()), "inputs content, weights", device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("operator", ["evil.Run", "Invent", "ai.onnx.ml.LabelEncoder"])
def test_unknown_operators_are_refused(tmp_path: Path, operator: str, device: str) -> None:
    model = toys.model(IDENTITY.replace("Identity", operator))
    domain = operator.rpartition(".")[0]
    if domain:
        model.opset_import.add(domain=domain, version=1)
    refused(write(tmp_path / "x.onnx", model, Metadata("x").dump()), "cannot open", device)


@pytest.mark.parametrize("device", DEVICES)
def test_an_output_of_another_shape_is_refused_at_run_time(tmp_path: Path, device: str) -> None:
    text = """g (uint8[N, H, W, 3] content) => (uint8[N, H2, W2, 3] stylized)
    <int64[2] start = {0, 0}, int64[2] end = {2, 2}, int64[2] axes = {1, 2}>
    { stylized = Slice(content, start, end, axes) }"""
    path = toys.save(text, tmp_path / "small.onnx", Metadata("g"))
    with pytest.raises(BadEngine, match=r"made \(1, 2, 2, 3\) of a picture of \(1, 8, 8, 3\)"):
        Stylizer(path, device=device)(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize("device", DEVICES)
def test_a_failing_run_gives_one_line_and_no_library_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], device: str
) -> None:
    text = """g (uint8[N, H, W, 3] content) => (uint8[N, H, W, 3] stylized)
    <int64[4] shape = {1, 7, 7, 3}> {
        size = Shape(content)
        none = Sub(size, size)
        seven = Add(none, shape)
        stylized = Reshape(content, seven)
    }"""
    model = toys.model(text)
    paint = Stylizer(write(tmp_path / "x.onnx", model, Metadata("g").dump()), device=device)
    with pytest.raises(StError) as caught:
        paint(np.zeros((5, 5, 3), np.uint8))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_refusals_print_nothing_from_the_library(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for operator in ("evil.Run", "Invent"):
        model = toys.model(IDENTITY.replace("Identity", operator))
        path = write(tmp_path / "x.onnx", model, Metadata("x").dump())
        for device in DEVICES:
            refused(path, device=device)
    assert capfd.readouterr() == ("", "")


LOCATIONS: dict[str, Callable[[Path], str]] = {
    "inside": lambda folder: "secret.bin",
    "parent": lambda folder: f"../{folder.name}/secret.bin",
    "absolute": lambda folder: str(folder / "secret.bin"),
    "symlink": lambda folder: link(folder, folder / "link.bin", Path.symlink_to),
    "hard link": lambda folder: link(folder, folder / "hard.bin", Path.hardlink_to),
    "parent link": lambda folder: link_parent(folder),
    "marker": lambda folder: "*/_ORT_MEM_ADDR_/*",
}


def link(folder: Path, name: Path, make: Callable[[Path, Path], None]) -> str:
    make(name, folder / "secret.bin")
    return name.name


def link_parent(folder: Path) -> str:
    (folder / "up").symlink_to(folder)
    return "up/secret.bin"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("variant", LOCATIONS)
def test_external_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str, device: str
) -> None:
    (tmp_path / "secret.bin").write_bytes(np.ones(4, np.float32).tobytes())
    path = external(tmp_path, LOCATIONS[variant](tmp_path), "initializer")
    monkeypatch.chdir(tmp_path)  # where a library would look for the names of a model in memory
    refused(path, "in another file", device)


@pytest.mark.parametrize("place", ["initializer", "attribute", "branch", "function", "sparse"])
def test_external_data_is_refused_everywhere_in_the_graph(tmp_path: Path, place: str) -> None:
    refused(external(tmp_path, "secret.bin", place), "in another file")


def external(folder: Path, location: str, place: str) -> Path:
    tensor = TensorProto(name="k", dims=[4], data_type=TensorProto.FLOAT, data_location=1)
    for key, value in {"location": location, "offset": "0", "length": "16"}.items():
        tensor.external_data.add(key=key, value=value)
    model = toys.model(IDENTITY)
    constant = onnx.helper.make_node("Constant", [], ["k"], value=tensor)
    if place == "initializer":
        model.graph.initializer.append(tensor)
    elif place == "attribute":
        model.graph.node.insert(0, constant)
    elif place == "branch":
        branch = onnx.helper.make_graph([constant], "b", [], [])
        model.graph.node.append(onnx.helper.make_node("If", ["c"], ["d"], then_branch=branch))
    elif place == "function":
        model.functions.append(
            onnx.helper.make_function("st", "F", [], ["k"], [constant], model.opset_import)
        )
    else:
        model.graph.sparse_initializer.add(values=tensor)
    return write(folder / "x.onnx", model, Metadata("x").dump())


def test_hostile_style_codes_are_refused(tmp_path: Path) -> None:
    good = StyleCode(np.arange(3, dtype=np.float32), "mark")
    good.save(tmp_path / "good.npz")
    data = (tmp_path / "good.npz").read_bytes()
    bad: dict[str, bytes] = {
        "empty": b"",
        "text": b"hello",
        "cut": data[:-40],
        "no numbers": archive(fingerprint=np.zeros(3, np.uint8)),
        "doubles": archive(values=np.zeros(3), fingerprint=np.zeros(3, np.uint8)),
        "matrix": archive(values=np.zeros((3, 3), np.float32), fingerprint=np.zeros(3, np.uint8)),
        "nan": archive(values=np.array([np.nan], np.float32), fingerprint=np.zeros(3, np.uint8)),
        "deflated": archive(zipfile.ZIP_DEFLATED, values=np.zeros(9**6, np.float32)),
        "objects": archive(values=np.array([Canary()], object), fingerprint=np.zeros(3, np.uint8)),
        "claims": archive(values=np.zeros(3, np.float32)).replace(b"(3,)", b"(9,)"),
        "no utf-8": archive(values=np.zeros(3, np.float32), fingerprint=np.full(3, 255, np.uint8)),
    }
    for name, content in bad.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(BadInput, match="style code") as caught:
            StyleCode.load(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="no such style code"):
        StyleCode.load(tmp_path / "none.npz")
    assert not Canary.seen


class Canary:
    """Records that it was unpickled."""

    seen: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return sing, ("tweet",)


def sing(note: str) -> object:
    Canary.seen += (note,)
    return object()


def archive(compression: int = zipfile.ZIP_STORED, **arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, values in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, values, allow_pickle=True)
            file.writestr(f"{name}.npy", member.getvalue())
    return out.getvalue()


def test_a_tiles_engine_with_bad_inputs_is_refused(tmp_path: Path) -> None:
    path = toys.tiles_pair(tmp_path / "pair.onnx").with_suffix(".tiles.onnx")
    model = onnx.load_model_from_string(path.read_bytes())
    changed = json.loads(model.metadata_props[0].value) | {"norms": [6, 9]}
    del model.metadata_props[:]
    write(path, model, json.dumps(changed))
    with pytest.raises(
        BadEngine, match=r"moments.* is float32 \(2, 14\); expected float32 \(2, 15\)"
    ):
        open_engine(path, kind="tiles")
