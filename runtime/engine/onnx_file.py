"""Read an .onnx file: validate it before any library loads it, and extract the metadata.

This is a minimal protobuf reader for untrusted files. It is needed because OpenVINO opens the files
that a model names as external data, even if the model is passed as bytes, and does not expose the
model's metadata.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from st.runtime.engine.metadata import MAX_BYTES, PROPERTY, Metadata, parse
from st.runtime.errors import BadEngine, BadInput, printable

MAX_FILE = 1 << 29  # bytes
MAX_FIELDS = 150_000  # an engine has some thousands; this keeps the scan under a second

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types

# onnx.proto: which fields of a message hold messages that can lead to a tensor.
CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 14: "property", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
}
TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION = 13, 14
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_OUTPUT = 1, 12
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OPERATOR = 1, 2, 3, 4
LOOPS = (b"Loop", b"Scan")


def read_engine(path: Path) -> tuple[bytes, Metadata]:
    """Read and validate an engine file. Returns its bytes and its metadata.

    Raises:
        BadInput: no such file, or it cannot be read.
        BadEngine: not an ONNX file, cut short, larger than `MAX_FILE` bytes, with missing or
            invalid st metadata, or with weights in other files.
    """
    data = engine_bytes(path, "an engine (.onnx)")
    try:
        return data, parse(metadata_text(data))
    except BadEngine as error:
        raise BadEngine(f"{printable(path)}: {error}") from None


def engine_bytes(path: Path, what: str, most: int = MAX_FILE) -> bytes:
    """Read a regular file of 1 to `most` bytes.

    what: the expected file, for the error message about a folder.
    Raises BadInput or BadEngine, as `read_engine` does.
    """
    name = printable(path)
    try:
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            raise BadInput(f"{name}: is a folder, give {what}")
        if not stat.S_ISREG(info.st_mode):
            raise BadEngine(f"{name}: not a regular file")
        if info.st_size > most:
            shown = (info.st_size, most) if most < 1 << 20 else (info.st_size >> 20, most >> 20)
            unit = "bytes" if most < 1 << 20 else "MB"
            raise BadEngine(f"{name}: {shown[0]} {unit}; at most {shown[1]} are allowed")
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{name}: no such engine file") from None
    except OSError as error:
        raise BadInput(f"{name}: cannot be read: {error.strerror}") from None
    except ValueError:  # a NUL in the name
        raise BadInput(f"{name}: no such engine file") from None
    if not data:
        raise BadEngine(f"{name}: empty, not an engine")
    return data


def check_onnx(data: bytes) -> None:
    """Check an ONNX model of any origin as `read_engine` checks an engine's graph.

    Raises BadEngine: not an ONNX file, weights in other files, or loops or functions in it.
    """
    _scan(data)


def metadata_text(data: bytes) -> str:
    """The metadata property `st` of an ONNX model. Raises BadEngine: see `read_engine`."""
    found = _scan(data)
    if not found:
        raise BadEngine("an ONNX file without st metadata: create engines with st-export")
    if len(found) > 1:
        raise BadEngine("it has st metadata twice")
    if len(found[0]) > MAX_BYTES:
        raise BadEngine(
            f"engine metadata of {len(found[0])} bytes; at most {MAX_BYTES} are allowed"
        )
    try:
        return found[0].decode()
    except UnicodeDecodeError:
        raise BadEngine("engine metadata is not valid UTF-8") from None


def is_engine(data: bytes) -> bool:
    """Whether an ONNX model has st metadata, valid or not. Checks it as `check_onnx` does."""
    return bool(_scan(data))


def _scan(data: bytes) -> list[bytes]:
    """Validate the whole model. Returns the values of all its metadata properties `st`."""
    found: list[bytes] = []
    pending: list[tuple[str, memoryview]] = [("model", memoryview(data))]
    count = graphs = functions = 0
    while pending:
        kind, message = pending.pop()
        functions += kind == "function"
        if kind == "property":
            found += _own_property(message)
            continue
        children = CHILDREN.get(kind, {})
        for number, value in _fields(message):
            count += 1
            if count > MAX_FIELDS:
                raise BadEngine("not an engine: it has too many parts")
            if kind == "tensor":
                if number == TENSOR_EXTERNAL_DATA or (number == TENSOR_DATA_LOCATION and value):
                    raise BadEngine(
                        "its weights are in another file: put them into it with "
                        "onnx.save(onnx.load(NAME), OTHER_NAME)"
                    )
            elif kind == "node" and number == NODE_OPERATOR and value in LOOPS:
                raise BadEngine(
                    "it has a loop, which may never end; engines written by st-export have none"
                )
            elif number in children:
                if not isinstance(value, memoryview):
                    raise _damaged()
                graphs += kind == "model" and number == MODEL_GRAPH
                pending.append((children[number], value))
    if graphs != 1:  # libraries would combine two graphs in different ways
        raise _damaged()
    if functions:  # a few functions that call each other can expand to billions of operators
        raise BadEngine("it has functions; engines written by st-export have none")
    return found


def _own_property(message: memoryview) -> list[bytes]:
    """[value] of a key-value pair whose key is `PROPERTY`, else []."""
    pair = {number: value for number, value in _fields(message) if number in (1, 2)}
    key, value = pair.get(1), pair.get(2, memoryview(b""))
    if isinstance(key, memoryview) and key == PROPERTY.encode():
        return [bytes(value)] if isinstance(value, memoryview) else []
    return []


def node_ports(data: bytes) -> dict[str, int]:
    """The number of inputs and outputs of each named node. data: checked by `metadata_text`."""
    (graph,) = (v for n, v in _fields(memoryview(data)) if n == MODEL_GRAPH)
    counts: dict[str, int] = {}
    for number, node in _fields(graph if isinstance(graph, memoryview) else memoryview(b"")):
        if number == GRAPH_NODE and isinstance(node, memoryview):
            ports = _texts(node, NODE_INPUT) + _texts(node, NODE_OUTPUT)
            counts |= dict.fromkeys(_texts(node, NODE_NAME), len(ports))
    return counts


def cut(data: bytes, outputs: Sequence[str]) -> bytes:
    """Reduce a model to these outputs and the nodes that they need.

    ONNX Runtime computes all outputs of a model, even if only some are requested.
    data: checked by `metadata_text`.
    """
    kept = bytearray()
    for field in _spans(memoryview(data)):
        if field.number == MODEL_GRAPH and isinstance(field.value, memoryview):
            graph = _cut_graph(field.value, set(outputs))
            kept += bytes([MODEL_GRAPH << 3 | BYTES]) + _to_varint(len(graph)) + graph
        else:
            kept += field.raw
    return bytes(kept)


def _cut_graph(graph: memoryview, needed: set[str]) -> bytes:
    parts: list[memoryview] = []
    for field in reversed(list(_spans(graph))):  # nodes are in topological order
        if isinstance(field.value, memoryview):
            if field.number == GRAPH_NODE:
                if not needed & set(_texts(field.value, NODE_OUTPUT)):
                    continue
                needed |= _used(field.value)
            elif field.number == GRAPH_OUTPUT and not needed & set(_texts(field.value, 1)):
                continue
        parts.append(field.raw)
    return b"".join(reversed(parts))


def _used(node: memoryview) -> set[str]:
    """Names that a node reads, directly or in the subgraphs of its attributes (If)."""
    names: set[str] = set()
    pending = [("node", node)]
    while pending:
        kind, message = pending.pop()
        if kind == "node":
            names.update(_texts(message, NODE_INPUT))
        elif kind == "graph":  # its outputs may be names of the enclosing graph
            outputs = (v for n, v in _fields(message) if n == GRAPH_OUTPUT)
            names.update(*(_texts(v, 1) for v in outputs if isinstance(v, memoryview)))
        for number, value in _fields(message):
            child = CHILDREN.get(kind, {}).get(number)
            if child in ("node", "attribute", "graph") and isinstance(value, memoryview):
                pending.append((child, value))
    return names


def _texts(message: memoryview, wanted: int) -> list[str]:
    found = (value for number, value in _fields(message) if number == wanted)
    return [bytes(v).decode(errors="replace") for v in found if isinstance(v, memoryview)]


class _Field(NamedTuple):
    number: int
    value: int | memoryview  # numbers of fixed size as bytes
    raw: memoryview  # the encoded field, with its key


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    return ((field.number, field.value) for field in _spans(message))


def _spans(message: memoryview) -> Iterator[_Field]:
    """The fields of a protobuf message, in order."""
    at, end = 0, len(message)
    while at < end:
        start = at
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        value: int | memoryview
        if wire == VARINT:
            value, at = _varint(message, at)
        else:
            if wire == BYTES:
                size, at = _varint(message, at)
            elif wire in (FIXED32, FIXED64):
                size = 4 if wire == FIXED32 else 8
            else:
                raise _damaged()
            if not number or at + size > end:
                raise _damaged()
            value = message[at : at + size]
            at += size
        yield _Field(number, value, message[start:at])


def _to_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise _damaged()


def _damaged() -> BadEngine:
    return BadEngine("not an ONNX file, or cut short or damaged")
