"""Mixed precision in the ONNX graph: FP16 convolutions, FP32 statistics.

TensorRT 11 networks are strongly typed, so the graph itself decides each operator's precision:

- Convolutions read and write FP16.
- Instance norms compute their mean and variance in FP32 and write FP16.
- All other reductions (means, covariances, matrix products), and what depends on them, are FP32.
- Element-wise operators and data movement are FP16 where all of their inputs are, except after the
  last convolution: the final 8-bit rounding needs more than FP16's 11 bits.

Pictures stay uint8; style codes, moments and all other inputs and outputs keep their types.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper, shape_inference

from st.runtime.errors import BadEngine

LARGEST = 65504.0  # the largest FP16
CONVOLUTIONS = {"Conv", "ConvTranspose"}
NORMS = {"InstanceNormalization"}
MOVES = {
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Relu",
    "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip
VALUEWISE = {
    "Add", "AveragePool", "Clip", "Div", "Elu", "LeakyRelu", "Max", "Min", "Mul", "Neg", "PRelu",
    "Resize", "Selu", "Sigmoid", "Softplus", "Sub", "Tanh",
}  # fmt: skip
FREE_INPUTS = {"weights", "strength"}  # controls of 0..1, as good in FP16
NO_DATA = {"Resize": (1, 2)}  # inputs that are float32 whatever the data are


def to_fp16(model: onnx.ModelProto, keep: Collection[str] = ()) -> onnx.ModelProto:
    """Convert a model to FP16 where that is safe; inputs and outputs keep their types.

    keep: tensors that must stay in FP32 because their values are too large.
    Raises BadEngine: the graph has subgraphs, which cannot be typed from outside.
    """
    graph = _Graph.of(model, set(keep))
    halves = graph.halves()
    converted = onnx.ModelProto()
    converted.CopyFrom(model)
    del converted.graph.node[:], converted.graph.initializer[:], converted.graph.value_info[:]
    converted.graph.node.extend(_Writer(graph, halves).nodes())
    used = {name for node in converted.graph.node for name in node.input}
    for name, tensor in graph.constants.items():
        if name in used:
            converted.graph.initializer.append(tensor)
        if name + "_half" in used:
            values = numpy_helper.to_array(tensor).astype(np.float16)
            converted.graph.initializer.append(numpy_helper.from_array(values, name + "_half"))
    onnx.checker.check_model(converted, full_check=True)
    return converted


def fp16_tensors(model: onnx.ModelProto) -> list[str]:
    """The tensors that `to_fp16` rounds to FP16."""
    graph = _Graph.of(model, set())
    halves = graph.halves()
    rounded = {o for n in graph.nodes if id(n) in halves for o in graph.floats(n.output)}
    cast = {
        name for n in graph.nodes if id(n) in halves and n.op_type not in NORMS
        for name in graph.data(n)
    }  # fmt: skip
    return sorted((rounded | cast) - set(graph.constants))


@dataclass
class _Graph:
    """A model's nodes with the types, constants and users that the conversion needs."""

    nodes: list[NodeProto]
    constants: dict[str, TensorProto]
    types: dict[str, int]
    inputs: set[str]
    outputs: set[str]
    keep: set[str]
    users: dict[str, list[NodeProto]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: onnx.ModelProto, keep: set[str]) -> _Graph:
        inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
        constants = {tensor.name: tensor for tensor in inferred.initializer}
        nodes = []
        for node in inferred.node:
            if any(a.type in (a.GRAPH, a.GRAPHS) for a in node.attribute):
                raise BadEngine(f"no FP16 of a graph with {node.op_type} in it")
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                constants[node.output[0]] = tensor = TensorProto()
                tensor.CopyFrom(node.attribute[0].t)
                tensor.name = node.output[0]
            else:
                nodes.append(node)
        known = (*inferred.input, *inferred.output, *inferred.value_info)
        types = {value.name: value.type.tensor_type.elem_type for value in known}
        types |= {name: tensor.data_type for name, tensor in constants.items()}
        inputs = {value.name for value in inferred.input}
        outputs = {value.name for value in inferred.output}
        graph = cls(nodes, constants, types, inputs, outputs, keep)
        for node in nodes:
            for name in node.input:
                graph.users.setdefault(name, []).append(node)
        return graph

    def floats(self, names: Collection[str]) -> list[str]:
        return [name for name in names if self.types.get(name) == TensorProto.FLOAT]

    def data(self, node: NodeProto) -> list[str]:
        """The inputs whose type is the node's compute type."""
        others = NO_DATA.get(node.op_type, ())
        return self.floats([name for i, name in enumerate(node.input) if i not in others])

    def halves(self) -> set[int]:
        """ids of the nodes whose outputs become FP16."""
        before = self._before_a_convolution()
        kinds = {name: "free" if self._fits(t) else "float" for name, t in self.constants.items()}
        kinds |= {name: "free" if name in FREE_INPUTS else "float" for name in self.inputs}
        halves = set()
        for node in self.nodes:
            kind = "float"
            inputs = {kinds.get(name, "float") for name in self.data(node)}
            if node.domain or self.keep & set(node.output) or self.outputs & set(node.output):
                pass
            elif node.op_type in CONVOLUTIONS:
                kind = "half" if self._castable(node, kinds) else "float"
            elif node.op_type in NORMS:
                kind = "half" if id(node) in before else "float"
            elif node.op_type in MOVES | VALUEWISE and inputs and "float" not in inputs:
                kind = "free" if inputs == {"free"} else "half"
                if kind == "half" and node.op_type in VALUEWISE and id(node) not in before:
                    kind = "float"
            if kind == "half":
                halves.add(id(node))
            kinds |= dict.fromkeys(self.floats(node.output), kind)
        return halves | self._sunk(halves)

    def _castable(self, node: NodeProto, kinds: dict[str, str]) -> bool:
        data = self.data(node)
        bad = [n for n in data if n in self.constants and kinds[n] == "float"]
        return not bad and not self.keep & set(data)

    def _sunk(self, halves: set[int]) -> set[int]:
        """Data movements of FP32 values that are only used as FP16: rounding commutes with them."""
        sunk: set[int] = set()
        for node in reversed(self.nodes):
            outputs = self.floats(node.output)
            if (
                node.op_type in MOVES
                and id(node) not in halves
                and outputs
                and not (self.outputs | self.keep) & set(outputs)
                and not self.keep & set(self.data(node))
                and all(self._wanted_half(name, halves | sunk) for name in outputs)
            ):
                sunk.add(id(node))
        return sunk

    def _wanted_half(self, name: str, halves: set[int]) -> bool:
        users = self.users.get(name, [])
        return bool(users) and all(
            id(user) in halves and user.op_type not in NORMS and name in self.data(user)
            for user in users
        )

    def _before_a_convolution(self) -> set[int]:
        """ids of the nodes that a convolution depends on."""
        found: set[int] = set()
        wanted: set[str] = set()
        for node in reversed(self.nodes):
            if wanted & set(node.output):
                found.add(id(node))
            if id(node) in found or node.op_type in CONVOLUTIONS:
                wanted |= set(node.input)
        return found

    def _fits(self, tensor: TensorProto) -> bool:
        if tensor.data_type != TensorProto.FLOAT:
            return False
        values = numpy_helper.to_array(tensor)
        return not values.size or float(np.abs(values).max()) < LARGEST / 4


class _Writer:
    """Writes the nodes of the FP16 graph and the casts between both types."""

    def __init__(self, graph: _Graph, halves: set[int]) -> None:
        self.graph = graph
        self.halves = halves
        self.half = {
            name for n in graph.nodes if id(n) in halves for name in graph.floats(n.output)
        }
        self.made: set[str] = set()

    def nodes(self) -> Iterator[NodeProto]:
        for node in self.graph.nodes:
            written = NodeProto()
            written.CopyFrom(node)
            is_half = id(node) in self.halves
            inside_half = is_half and node.op_type not in NORMS
            data = set(self.graph.data(node))
            for i, name in enumerate(node.input):
                if name in data:
                    written.input[i] = yield from self._as(name, half=inside_half)
            if is_half and node.op_type in NORMS:
                written.output[0] += "_wide"
            yield written
            if is_half and node.op_type in NORMS:
                yield self._cast(written.output[0], node.output[0], TensorProto.FLOAT16)

    def _as(self, name: str, half: bool) -> Generator[NodeProto, None, str]:
        """The tensor's name in the requested type; yields its cast for the first user."""
        if half == (name in self.half):
            return name
        other = name + ("_half" if half else "_single")
        if name not in self.graph.constants and other not in self.made:
            self.made.add(other)
            yield self._cast(name, other, TensorProto.FLOAT16 if half else TensorProto.FLOAT)
        return other

    @staticmethod
    def _cast(name: str, to: str, kind: int) -> NodeProto:
        return helper.make_node("Cast", [name], [to], name=f"cast_{to}", to=kind)
