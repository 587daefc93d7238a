"""The tiles companion: an engine's graph, cut into segments at its instance norms.

A norm needs the mean and variance of its input over the whole picture, so a picture that is painted
in tiles takes one pass over all tiles for each norm. Segment i computes the input of norm i, whose
moments the runtime merges over the tiles; the last segment paints. Features that a later segment
needs are kept as feature maps of the whole picture, unless that takes much memory and saves little
time. So almost every layer runs once per tile.

All segments are one ONNX graph and share its weights. A map that a segment makes is the output
`new_map_K`; the segments that read it take it as the input `map_K`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from st.export.onnx.ports import describe_ports
from st.runtime.backends.onnxruntime_library import ort
from st.runtime.engine.metadata import PROPERTY, Metadata, Segment
from st.runtime.errors import BadEngine

KEPT = 3  # maximum values per pixel of the picture in a kept map; the coarsest may be larger
COSTLY = 256  # multiply-adds per value of a map from which it may be twice as large
NORM = "InstanceNormalization"
POOLS = {"MaxPool", "AveragePool"}
ENLARGE = {"Resize", "DepthToSpace"}
POINTWISE = {NORM, "Relu", "LeakyRelu", "Clip", "Sigmoid", "Add", "Sub", "Mul", "Div"}


def tiles_model(data: bytes, metadata: Metadata) -> tuple[bytes, Metadata]:
    """The tiles companion of an engine (kind "stylizer") that st exported, and its metadata.

    Raises BadEngine: it has no instance norms, or some that are not in a sequence.
    """
    graph = _Graph(onnx.load_from_string(data), metadata)
    parts = _parts(graph)
    maps = {name: k for k, name in enumerate(sorted({n for p in parts for n in p.writes}))}
    shapes = [graph.sizes[name] for name in maps]
    segments = tuple(part.segment(graph, maps) for part in parts)
    made = replace(
        metadata,
        kind="tiles",
        inputs=(*metadata.inputs, "moments", "margins", *(f"map_{k}" for k in maps.values())),
        halo=max(segment.halo for segment in segments),
        norms=tuple(graph.channels),
        maps=tuple(shapes),
        segments=segments,
        max_error=None,
    )
    model = _Writer(graph, parts, maps).model()
    model.metadata_props.add(key=PROPERTY, value=made.dump())
    describe_ports(model.graph, made)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(), made


class _Graph:
    """The engine's graph. A tensor is local if it depends on the picture, else a control.

    level: for each local tensor, the number of norms whose moments it depends on.
    """

    def __init__(self, model: onnx.ModelProto, metadata: Metadata) -> None:
        self.model, self.multiple = model, metadata.multiple
        self.nodes = list(model.graph.node)
        self.makers = {name: node for node in self.nodes for name in node.output}
        self.norms = [node for node in self.nodes if node.op_type == NORM]
        if not self.norms:
            raise BadEngine("an engine without instance norms cannot be cut into tiles")
        self.levels: dict[str, int] = {"content": 0}
        self.kernels = {t.name: tuple(t.dims) for t in model.graph.initializer}
        self.heavy: set[str] = set()  # depends on a convolution of the picture
        for node in self.nodes:
            inputs = [self.levels[name] for name in node.input if name in self.levels]
            if not inputs:
                continue
            level = max(inputs)
            if node.op_type == NORM:
                level = max(level, self.norms.index(node)) + 1
            self.levels |= dict.fromkeys(node.output, level)
            if node.op_type == "Conv" or self.heavy & set(node.input):
                self.heavy |= set(node.output)
        side = -(-max(metadata.min_size, 4 * self.multiple) // self.multiple) * self.multiple
        self.sizes = self._measured(side)
        measured = [self.sizes[norm.input[0]] for norm in self.norms]
        self.channels, self.strides = ([size[i] for size in measured] for i in range(2))

    @cached_property
    def targets(self) -> list[str]:
        """The result of each segment: the input of a norm, or the painting."""
        return [*(norm.input[0] for norm in self.norms), "stylized"]

    def is_kept(self, name: str) -> bool:
        """Whether a map that a later segment needs is kept instead of computed again."""
        if name not in self.heavy or name not in self.sizes or self._repeats(name):
            return False
        channels, stride = self.sizes[name]
        coarsest = max(self.strides)
        deep = max(c for c, s in zip(self.channels, self.strides, strict=True) if s == coarsest)
        if stride == coarsest:
            return channels <= deep
        costly = name in self.targets and self._cost(name) >= COSTLY
        return channels <= (2 * KEPT if costly else KEPT) * stride**2

    def _repeats(self, name: str) -> bool:
        """Whether a map follows from one kept map, pixel by pixel, so that it is not kept too."""
        if name in self.targets:
            return False
        while name not in self.targets:
            node = self.makers[name]
            sources = [source for source in node.input if source in self.levels]
            if node.op_type not in POINTWISE or len(sources) != 1 or sources[0] == "content":
                return False
            name = sources[0]
        return self.is_kept(name)

    def _cost(self, name: str) -> int:
        """Multiply-adds of the convolution that computes a map, per value; 0 if none does."""
        node = self.makers.get(name)
        while node is not None and node.op_type in ENLARGE:
            node = self.makers.get(node.input[0])
        if node is None or node.op_type != "Conv":
            return 0
        return int(np.prod(self.kernels[node.input[1]][1:])) if node.input[1] in self.kernels else 0

    def _measured(self, side: int) -> dict[str, tuple[int, int]]:
        """(channels, stride) of all local maps (1, C, H, W), from a run on a picture of that side.

        stride: pixels of the picture per step.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        names = [name for name in self.levels if name in self.makers]
        del model.graph.output[:]
        model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        inputs = {"content": np.zeros((1, side, side, 3), np.uint8)}
        for port in session.get_inputs():
            if port.name != "content":
                inputs[port.name] = np.zeros(port.shape, np.float32)
        values = zip(names, session.run(names, inputs), strict=True)
        shapes = {name: np.asarray(value).shape for name, value in values}
        return {
            name: (shape[1], side // shape[2])
            for name, shape in shapes.items()
            if len(shape) == 4 and shape[2] == shape[3] and side % shape[2] == 0
        }


@dataclass
class _Part:
    """One segment of the graph, by the names of the engine's graph.

    target: what it computes. nodes: its local nodes, by id. reads, writes: maps that it takes from
    earlier segments, and that it makes for later ones. content: whether it reads the picture.
    """

    target: str
    nodes: set[int] = field(default_factory=set)
    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    content: bool = False

    def segment(self, graph: _Graph, maps: dict[str, int]) -> Segment:
        return Segment(
            halo=self._halo(graph),
            content=self.content,
            reads=tuple(sorted(maps[name] for name in self.reads)),
            writes=tuple(sorted(maps[name] for name in self.writes)),
        )

    def _halo(self, graph: _Graph) -> int:
        """The halo of a tile in pixels, rounded up to a multiple."""
        reach = dict.fromkeys({"content", *self.reads}, 0)
        for node in (node for node in graph.nodes if id(node) in self.nodes):
            inputs = [name for name in node.input if name in reach]
            if not inputs:
                continue
            near = (inputs[0], node.output[0])  # the size of a padded map is not known
            own = _reach(node, graph.kernels) * max(
                graph.sizes.get(name, (0, 1))[1] for name in near
            )
            reach |= dict.fromkeys(node.output, own + max(reach[name] for name in inputs))
        most = max(reach[name] for name in {self.target, *self.writes})
        return -(-most // graph.multiple) * graph.multiple


def _reach(node: NodeProto, kernels: Mapping[str, tuple[int, ...]]) -> int:
    """How far an output of a node depends on its input, in steps of the input; an upper bound.

    kernels: shapes of the constants, since a convolution may lack the attribute `kernel_shape`.
    """
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type in POOLS:
        return max(attributes["kernel_shape"])
    if node.op_type == "Conv":
        sides = attributes.get("kernel_shape") or kernels[node.input[1]][2:]
        return max(sides) // 2 * max(attributes.get("dilations") or [1])
    if node.op_type == "Resize" and attributes.get("mode") != b"nearest":
        return 2  # cubic
    return 0


def _parts(graph: _Graph) -> list[_Part]:
    """The segments. A map belongs to the first segment that can compute it."""
    parts = [_Part(target) for target in graph.targets]
    for index in reversed(range(len(parts))):
        part = parts[index]
        pending = [part.target, *part.writes]
        own = set(pending)
        while pending:
            name = pending.pop()
            if name == "content":
                part.content = True
            elif name not in graph.levels:
                continue
            elif name not in own and graph.levels[name] < index and graph.is_kept(name):
                part.reads.add(name)
                parts[graph.levels[name]].writes.add(name)
            elif id(graph.makers[name]) not in part.nodes:
                part.nodes.add(id(graph.makers[name]))
                pending += graph.makers[name].input
    return parts


class _Writer:
    """Write the segments as one graph."""

    def __init__(self, graph: _Graph, parts: Sequence[_Part], maps: dict[str, int]) -> None:
        self.graph, self.parts, self.maps = graph, parts, maps
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def model(self) -> onnx.ModelProto:
        graph = self.graph
        self.nodes += [n for n in graph.nodes if not set(n.output) & set(graph.levels)]
        self._node("Split", ["moments", self._ints("all_norms", graph.channels)], self._given(), 1)
        for stride in sorted(set(graph.strides)):
            self._margins(stride)
        for index, norm in enumerate(graph.norms):
            if not self._is_local(norm):
                self._affine(index)
        for index, part in enumerate(self.parts):
            self._segment(index, part)
            if index < len(graph.norms):
                self._moments(index, graph.strides[index])
        model = onnx.ModelProto()
        model.CopyFrom(graph.model)
        del model.graph.node[:], model.graph.value_info[:], model.metadata_props[:]
        model.graph.node.extend(self.nodes)
        model.graph.initializer.extend(self.constants.values())
        used = {name for node in self.nodes for name in node.input}
        for tensor in [t for t in model.graph.initializer if t.name not in used]:
            model.graph.initializer.remove(tensor)
        self._ports(model.graph)
        return model

    def _ports(self, graph: onnx.GraphProto) -> None:
        value = helper.make_tensor_value_info
        for port in (*graph.input, *graph.output):
            if port.name in ("content", "stylized"):
                port.type.tensor_type.shape.dim[0].dim_value = 1
        norms = self.graph.channels
        graph.input.append(value("moments", TensorProto.FLOAT, (2, sum(norms))))
        graph.input.append(value("margins", TensorProto.INT64, (4,)))
        shapes = {k: self.graph.sizes[name] for name, k in self.maps.items()}
        for k, (channels, stride) in shapes.items():
            shape = (1, channels, f"height/{stride}_{k}", f"width/{stride}_{k}")
            graph.input.append(value(f"map_{k}", TensorProto.FLOAT, shape))
            shape = (1, channels, f"new_height/{stride}_{k}", f"new_width/{stride}_{k}")
            graph.output.append(value(f"new_map_{k}", TensorProto.FLOAT, shape))
        for index, count in enumerate(norms):
            graph.output.append(value(f"moments_{index}", TensorProto.FLOAT, (2, count)))

    def _given(self) -> list[str]:
        return [f"given_{index}" for index in range(len(self.graph.norms))]

    def _is_local(self, norm: NodeProto) -> bool:
        """Whether a norm's scale or shift depends on the picture, for example on its size."""
        return bool({*norm.input[1:3]} & set(self.graph.levels))

    def _affine(self, index: int, own: Callable[[str], str] = str, segment: str = "") -> None:
        """Norm i as x * factor_i + shift_i, with the moments of the whole picture.

        own, segment: the names of local tensors in a segment, and the prefix of its new names.
        """
        norm, name = self.graph.norms[index], f"{segment}norm_{index}"
        scale, shift = (own(port) for port in norm.input[1:3])
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        self._node("Split", [f"given_{index}", self._ints("one_each", [1, 1])],
                   [f"{name}.mean", f"{name}.variance"], 0)  # fmt: skip
        plane = self._ints("plane_axes", [2, 3])
        self._node("Add", [f"{name}.variance", self._float(f"{name}.epsilon", epsilon)],
                   [f"{name}.above"])  # fmt: skip
        self._node("Sqrt", [f"{name}.above"], [f"{name}.deviation"])
        self._node("Div", [scale, f"{name}.deviation"], [f"{name}.row"])
        self._node("Unsqueeze", [f"{name}.row", plane], [f"{segment}factor_{index}"])
        self._node("Mul", [f"{name}.mean", f"{name}.row"], [f"{name}.moved"])
        self._node("Sub", [shift, f"{name}.moved"], [f"{name}.shift"])
        self._node("Unsqueeze", [f"{name}.shift", plane], [f"{segment}shift_{index}"])

    def _margins(self, stride: int) -> None:
        """The margins in steps of this stride: top, bottom, left, right, each (1,)."""
        sides = [f"{side}_{stride}" for side in ("top", "bottom", "left", "right")]
        steps = self._ints(f"stride_{stride}", [stride])
        self._node("Div", ["margins", steps], [f"margins_{stride}"])
        self._node("Split", [f"margins_{stride}", self._ints("four_ones", [1] * 4)], sides, 0)

    def _segment(self, index: int, part: _Part) -> None:
        graph = self.graph

        def own(name: str) -> str:
            if name in part.writes:
                return f"new_map_{self.maps[name]}"
            if name in part.reads:
                return f"map_{self.maps[name]}"
            return f"{index}.{name}" if name in graph.levels and name in graph.makers else name

        for node in (node for node in graph.nodes if id(node) in part.nodes):
            if node.op_type == NORM:
                number, out = graph.norms.index(node), own(node.output[0])
                prefix = f"{index}." if self._is_local(node) else ""
                if prefix:
                    self._affine(number, own, prefix)
                factor, shift = (f"{prefix}{part}_{number}" for part in ("factor", "shift"))
                self._node("Mul", [own(node.input[0]), factor], [f"{out}.scaled"])
                self._node("Add", [f"{out}.scaled", shift], [out])
                continue
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{index}.{node.name}"
            del copy.input[:], copy.output[:]
            copy.input.extend(own(name) for name in node.input)
            copy.output.extend("stylized" if n == "stylized" else own(n) for n in node.output)
            self.nodes.append(copy)
        target = graph.targets[index]
        self.measured = own(target)

    def _moments(self, index: int, stride: int) -> None:
        """Mean and biased variance of each channel over the tile without its margins: (2, C).

        The sums are matrix products with vectors of 0 and 1, which need no copy of the map.
        """
        x, name = self.measured, f"own_{index}"
        rows = self._inside(name, x, 2, f"top_{stride}", f"bottom_{stride}")
        columns = self._inside(name, x, 3, f"left_{stride}", f"right_{stride}")
        self._node("ReduceSum", [rows], [f"{name}.height"], keepdims=0)
        self._node("ReduceSum", [columns], [f"{name}.width"], keepdims=0)
        self._node("Mul", [f"{name}.height", f"{name}.width"], [f"{name}.count"])
        self._mean(x, rows, columns, name, f"{name}.mean")
        self._node("Sub", [x, f"{name}.mean"], [f"{name}.off"])
        self._node("Mul", [f"{name}.off", f"{name}.off"], [f"{name}.squares"])
        self._mean(f"{name}.squares", rows, columns, name, f"{name}.variance")
        self._node("Concat", [f"{name}.mean", f"{name}.variance"], [f"{name}.both"], 0)
        self._node("Squeeze", [f"{name}.both", self._ints("plane_axes", [2, 3])],
                   [f"moments_{index}"])  # fmt: skip

    def _mean(self, x: str, rows: str, columns: str, name: str, out: str) -> None:
        """The mean over the tile without its margins: (1, C, H, W) -> (1, C, 1, 1)."""
        self._node("MatMul", [x, columns], [f"{out}.lines"])
        self._node("MatMul", [rows, f"{out}.lines"], [f"{out}.sum"])
        self._node("Div", [f"{out}.sum", f"{name}.count"], [out])

    def _inside(self, name: str, x: str, axis: int, before: str, after: str) -> str:
        """1 for rows and columns of x inside the tile, else 0: rows (1, H), columns (W, 1)."""
        side = f"{name}.{'rows' if axis == 2 else 'columns'}"
        self._node("Shape", [x], [f"{side}.shape"], start=axis, end=axis + 1)
        scalar = self._ints("no_axis", [0])
        self._node("Squeeze", [f"{side}.shape", scalar], [f"{side}.length"])
        zero, one = self._int("zero", 0), self._int("one", 1)
        self._node("Range", [zero, f"{side}.length", one], [f"{side}.places"])
        self._node("GreaterOrEqual", [f"{side}.places", before], [f"{side}.from"])
        self._node("Sub", [f"{side}.shape", after], [f"{side}.end"])
        self._node("Less", [f"{side}.places", f"{side}.end"], [f"{side}.to"])
        self._node("And", [f"{side}.from", f"{side}.to"], [f"{side}.own"])
        self._node("Cast", [f"{side}.own"], [f"{side}.flat"], to=TensorProto.FLOAT)
        axes = self._ints("row_axis" if axis == 2 else "column_axis", [0 if axis == 2 else 1])
        self._node("Unsqueeze", [f"{side}.flat", axes], [side])
        return side

    def _node(
        self,
        kind: str,
        inputs: list[str],
        outputs: list[str],
        axis: int | None = None,
        **attributes: int,
    ) -> None:
        node = helper.make_node(kind, inputs, outputs, name=f"{kind}_{outputs[0]}")
        named = attributes | ({} if axis is None else {"axis": axis})
        node.attribute.extend(helper.make_attribute(key, value) for key, value in named.items())
        self.nodes.append(node)

    def _ints(self, name: str, values: Sequence[int]) -> str:
        return self._constant(name, np.array(values, np.int64))

    def _int(self, name: str, value: int) -> str:
        return self._constant(name, np.array(value, np.int64))

    def _float(self, name: str, value: float) -> str:
        return self._constant(name, np.array(value, np.float32))

    def _constant(self, name: str, values: np.ndarray) -> str:
        name = f"tiles.{name}"
        self.constants[name] = numpy_helper.from_array(values, name)
        return name
