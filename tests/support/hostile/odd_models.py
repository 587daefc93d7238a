"""Graphs with cycles or endless depth, and archives with duplicate members."""

from __future__ import annotations

import io
import itertools
import warnings
import zipfile
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from st.runtime.engine.metadata import PROPERTY
from tests.support import toys
from tests.support.hostile.bad_files import Box, kind
from tests.support.hostile.bad_models import (
    IDENTITY,
    MARK,
    Order,
    code,
    engine,
    opened,
    packed,
    rezipped,
)


@kind("engine")
def graph_that_goes_in_a_circle(box: Box) -> bytes:
    model = toys.model(IDENTITY)
    del model.graph.node[:]
    for one, two in (("a", "b"), ("b", "a")):
        model.graph.node.append(helper.make_node("Identity", [one], [two]))
    model.graph.node.append(helper.make_node("Identity", ["a"], ["stylized"]))
    return engine(model)


@kind("engine")
def graph_that_feeds_itself(box: Box) -> bytes:
    model = toys.model(IDENTITY)
    model.graph.node[0].input[0] = "stylized"
    return engine(model)


@kind("engine")
def output_made_twice(box: Box) -> bytes:
    model = toys.model(IDENTITY)
    model.graph.node.append(helper.make_node("Identity", ["content"], ["stylized"]))
    return engine(model)


@kind("engine")
def two_graphs(box: Box) -> bytes:
    """Protobuf merges duplicate fields; a reader that takes the first sees another model."""
    one = engine(toys.model(IDENTITY))
    other = onnx.ModelProto()
    other.graph.node.append(helper.make_node("Identity", ["content"], ["stylized"]))
    return one + other.SerializeToString()


@kind("engine")
def choices_within_choices(box: Box) -> bytes:
    """`If` nested a hundred deep, which protobuf itself rejects."""
    graph = helper.make_graph([helper.make_node("Identity", ["content"], ["o"])], "g", [], [])
    for _ in range(int(box.random.choice([30, 120]))):
        graph.output.append(helper.make_tensor_value_info("o", TensorProto.UINT8, None))
        node = helper.make_node("If", ["c"], ["o"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "g", [], [])
        if graph.ByteSize() > 30_000_000:
            break
    model = toys.model(IDENTITY)
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("If", ["c"], ["stylized"], then_branch=graph))
    return engine(model)


@kind("engine")
def chain_of_a_hundred_thousand(box: Box) -> bytes:
    model = toys.model(IDENTITY)
    del model.graph.node[:]
    names = ["content", *(f"t{n}" for n in range(100_000)), "stylized"]
    for one, two in itertools.pairwise(names):
        model.graph.node.append(helper.make_node("Identity", [one], [two]))
    return engine(model)


@kind("engine")
def tensors_of_wrong_sizes(box: Box) -> bytes:
    sizes = ([-4], [2**62, 2**62], [0] * 4, [1] * 2000, [2**63 - 1])
    model = toys.model(IDENTITY.replace("Identity(content)", "Add(content, k)"))
    dims = sizes[box.random.integers(len(sizes))]
    model.graph.initializer.append(
        TensorProto(name="k", dims=dims, data_type=TensorProto.UINT8, raw_data=b"1234")
    )
    return engine(model)


@kind("engine")
def tensors_of_wrong_kinds(box: Box) -> bytes:
    kinds = (TensorProto.STRING, TensorProto.UNDEFINED, 77, TensorProto.COMPLEX128)
    model = toys.model(IDENTITY.replace("Identity(content)", "Add(content, k)"))
    tensor = TensorProto(name="k", dims=[1], data_type=kinds[box.random.integers(len(kinds))])
    tensor.string_data.append(b"\x1b[2J")
    model.graph.initializer.append(tensor)
    return engine(model)


@kind("engine")
def sparse_tensor_of_terabytes(box: Box) -> bytes:
    model = toys.model(IDENTITY.replace("Identity(content)", "Add(content, k)"))
    sparse = model.graph.sparse_initializer.add()
    sparse.dims.extend([10**6, 10**6])
    sparse.values.CopyFrom(TensorProto(name="k", dims=[1], data_type=2, raw_data=b"1"))
    sparse.indices.CopyFrom(TensorProto(dims=[1], data_type=7, raw_data=bytes(8)))
    return engine(model)


@kind("engine")
def ports_of_other_kinds(box: Box) -> bytes:
    texts = (
        IDENTITY.replace("uint8", "float"),
        IDENTITY.replace("[N, H, W, 3]", "[3]"),
        IDENTITY.replace("stylized", "painted"),
        IDENTITY.replace("[N, H, W, 3] content", "[N, H, W, 3] content, float[1] more"),
        """g (uint8[N, H, W, 3] content) => (seq(uint8[N, H, W, 3]) stylized)
        { stylized = SequenceConstruct(content) }""",
    )
    return engine(toys.model(texts[box.random.integers(len(texts))]))


@kind("engine")
def names_of_parts_that_write(box: Box) -> bytes:
    model = toys.model(IDENTITY.replace("Identity", "Round"))  # not defined for uint8
    model.graph.node[0].name = "\x1b[2J\nError: forged"
    model.graph.doc_string = model.producer_name = "\x1b]0;owned\x07"
    return engine(model)


@kind("engine")
def metadata_under_two_keys(box: Box) -> bytes:
    model = toys.model(IDENTITY)
    model.metadata_props.add(key=PROPERTY, value="{}")
    return engine(model)


@kind("checkpoint")
def members_twice(box: Box) -> bytes:
    """One reader takes the first member of a name, another the last."""
    out = io.BytesIO(rezipped(box, lambda name, data: {name: data}))
    with warnings.catch_warnings(), zipfile.ZipFile(out, "a") as archive:
        warnings.simplefilter("ignore")
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        archive.writestr(name, packed({"state": Order(box.canary)}))
    return out.getvalue()


def doubled(levels: int) -> tuple[Any, ...]:
    """A few bytes as a pickle, but 2^levels objects when it is traversed or printed."""
    nested: tuple[Any, ...] = ("lol",)
    for _ in range(levels):
        nested = (nested, nested)
    return nested


@kind("checkpoint")
def settings_that_double(box: Box) -> bytes:
    key = ("size", "steps", "style_layers", "shape")[box.random.integers(4)]
    values = opened(box)
    return packed(values | {"config": values["config"] | {key: doubled(40)}})


@kind("checkpoint")
def parts_that_double(box: Box) -> bytes:
    key = ("styles", "card", "method", "format", "training")[box.random.integers(5)]
    return packed(opened(box) | {key: doubled(40)})


@kind("checkpoint")
def settings_of_endless_digits(box: Box) -> bytes:
    values = opened(box)
    return packed(values | {"config": values["config"] | {"size": 10**9000, "steps": -(10**9000)}})


@kind("checkpoint")
def keys_of_other_kinds(box: Box) -> bytes:
    values = opened(box)
    keys = (3, None, ("a",), "\x1b[2J", "x" * 100_000, 1.5)
    key = keys[box.random.integers(len(keys))]
    part = ("config", "card")[box.random.integers(2)]
    return packed(values | {part: values[part] | {key: (1, [2])}})


@kind("code")
def code_members_twice(box: Box) -> bytes:
    data = code(values=np.ones(3, np.float32), fingerprint=MARK)
    out = io.BytesIO(data)
    with warnings.catch_warnings(), zipfile.ZipFile(out, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("values.npy", archive.read("values.npy")[:-4] + b"\0\0\xc0\x7f")
    return out.getvalue()


@kind("code")
def code_of_other_numbers(box: Box) -> bytes:
    kinds = (">f4", "<f8", "<c8", "<i4", "<U1", "|b1", "<M8[s]", "f4,f4")
    values = np.zeros(3, kinds[box.random.integers(len(kinds))])
    return code(values=values, fingerprint=MARK)
