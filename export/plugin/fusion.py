"""Pattern matching: replaces statistics in an ONNX graph with calls of the plugin operators."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from st.export.plugin.functions import DOMAIN, add_functions

PLANES = 128  # minimum number of channels at which one program per channel fills a GPU
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
SIZES = {"Cast", "Mul", "Squeeze", "Unsqueeze", "Shape", "Gather", "Reshape", "Constant", "Slice"}
SIZES |= {"ReduceProd", "Concat"}


def fused(model: ModelProto) -> ModelProto:
    """A copy whose statistics are calls of `st::AdaIN`, `st::Covariance` and `st::WhitenColor`.

    The copy computes the same results. It includes the functions, so it runs wherever the original
    does. Where a cast to float32 serves only the statistics, the call reads the float16 map
    directly, since the kernels sum in float32. Instance norms with fewer than `PLANES` channels
    are kept.
    """
    graph = _Graph(model)
    for node in list(graph.nodes):
        if node.op_type == "InstanceNormalization":
            graph.fuse_norm(node)
        elif node.op_type == "MatMul":
            graph.fuse_covariance(node)
        elif node.op_type == "Add":
            graph.fuse_whitening(node)
    made = ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:], made.graph.value_info[:]
    made.graph.node.extend(graph.alive())
    made.graph.initializer.extend(graph.constants_made)
    used = {name for node in made.graph.node for name in node.input} | graph.outputs
    for tensor in [t for t in made.graph.initializer if t.name not in used]:
        made.graph.initializer.remove(tensor)
    add_functions(made)
    return made


@dataclass
class _Graph:
    model: ModelProto
    nodes: list[NodeProto] = field(default_factory=list)
    constants_made: list[TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        inferred = shape_inference.infer_shapes(self.model, data_prop=True).graph
        self.nodes = list(self.model.graph.node)
        self.outputs = {value.name for value in self.model.graph.output}
        known = (*inferred.input, *inferred.value_info, *inferred.output)
        tensors = {value.name: value.type.tensor_type for value in known}
        self.types = {name: tensor.elem_type for name, tensor in tensors.items()}
        self.shapes = {n: [d.dim_value for d in t.shape.dim] for n, t in tensors.items()}
        self.constants = {
            t.name: numpy_helper.to_array(t)
            for t in self.model.graph.initializer
            if t.data_type == TensorProto.INT64
        }
        self._index()

    def _index(self) -> None:
        self.makers = {name: node for node in self.nodes for name in node.output}
        self.users: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.users.setdefault(name, []).append(node)

    def fuse_norm(self, norm: NodeProto) -> None:
        shape = self.shapes.get(norm.input[0], [])
        if len(shape) != 4 or shape[1] < PLANES:
            return
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        if not np.isclose(epsilon, 1e-5):
            return
        self._call("AdaIN", norm, [*norm.input], [norm.output[0]], maps=0)

    def fuse_covariance(self, product: NodeProto) -> None:
        """(x − mean)(x − mean)ᵀ / pixels."""
        apart, turned = (self.makers.get(name) for name in product.input)
        if not (_is(apart, "Sub") and _is(turned, "Transpose") and apart and turned):
            return
        mean, users = self.makers.get(apart.input[1]), self.users.get(product.output[0], [])
        if not (_is(mean, "ReduceMean") and mean and len(users) == 1 and users[0].op_type == "Div"):
            return
        flat, share = apart.input[0], users[0]
        if (
            len(self.shapes.get(flat, [])) != 3
            or mean.input[0] != flat
            or list(self.constants.get(mean.input[1], [])) not in ([2], [-1])
            or self.shapes.get(mean.output[0], [0])[-1] != 1
            or turned.input[0] != apart.output[0]
            or list(turned.attribute[0].ints) != [0, 2, 1]
            or share.input[0] != product.output[0]
            or not self._is_a_size(share.input[1])
        ):
            return
        narrow, axis = mean.output[0] + "_flat", self._last_axis()
        self._call("Covariance", mean, [flat], [narrow, share.output[0]])
        at = self._place(mean)  # for other users of the mean, in its original shape
        self.nodes.insert(at, helper.make_node("Unsqueeze", [narrow, axis], [mean.output[0]]))
        self._remove(mean, share)

    def fuse_whitening(self, moved: NodeProto) -> None:
        """matrix (x − mean) + shift."""
        turned, after = (self.makers.get(name) for name in moved.input)
        if not (_is(turned, "MatMul") and _is(after, "Unsqueeze") and turned and after):
            return
        apart = self.makers.get(turned.input[1])
        before = self.makers.get(apart.input[1]) if _is(apart, "Sub") and apart else None
        if not (_is(before, "Unsqueeze") and apart and before):
            return
        flat, matrix = apart.input[0], turned.input[0]
        shapes = [self.shapes.get(name, []) for name in (flat, matrix)]
        axes = [list(self.constants.get(node.input[1], [])) for node in (before, after)]
        if [len(shape) for shape in shapes] != [3, 3] or shapes[1][1] != shapes[0][1]:
            return
        if any(axis not in ([2], [-1]) for axis in axes):
            return
        inputs = [flat, matrix, before.input[0], after.input[0]]
        self._call("WhitenColor", moved, inputs, [moved.output[0]], maps=0)

    def _call(
        self,
        name: str,
        place: NodeProto,
        inputs: list[str],
        outputs: list[str],
        maps: int | None = None,
    ) -> None:
        """Insert a call before `place`, and remove `place` if the call replaces all its outputs.

        maps: index of the output with the type of the first input, if there is one.
        """
        at = self._place(place)
        source = self._unwidened(inputs[0], at)
        at = self._place(place)
        made = [*outputs]
        after: list[NodeProto] = []
        if source != inputs[0] and maps is not None:
            users = self.users.get(outputs[maps], [])
            if len(users) == 1 and _casts(users[0], HALF) and outputs[maps] not in self.outputs:
                made[maps] = users[0].output[0]
                self._remove(users[0])
                at = self._place(place)
            else:
                made[maps] = outputs[maps] + "_half"
                after = [helper.make_node("Cast", [made[maps]], [outputs[maps]], to=FLOAT)]
        label = f"{name}_{outputs[0]}"
        call = helper.make_node(name, [source, *inputs[1:]], made, name=label, domain=DOMAIN)
        self.nodes[at:at] = [call, *after]
        if set(place.output) <= {*outputs}:
            self._remove(place)
        self._index()

    def _unwidened(self, name: str, at: int) -> str:
        """The float16 map that was cast to float32 (and reshaped) to make this one, or itself."""
        maker = self.makers.get(name)
        if maker and _casts(maker, FLOAT) and self.types.get(maker.input[0]) == HALF:
            return maker.input[0]
        if not (_is(maker, "Reshape") and maker):
            return name
        source = self._unwidened(maker.input[0], at)
        if source == maker.input[0]:
            return name
        made = name + "_unwidened"
        if made not in self.makers:
            reshape = helper.make_node("Reshape", [source, maker.input[1]], [made])
            reshape.attribute.extend(maker.attribute)
            self.nodes.insert(self._place(maker), reshape)
            self._index()
        return made

    def _is_a_size(self, name: str) -> bool:
        """Whether a value is computed from a shape only."""
        pending, shape_seen = [name], False
        while pending:
            maker = self.makers.get(pending.pop())
            if maker is None:
                continue
            if maker.op_type not in SIZES:
                return False
            shape_seen |= maker.op_type == "Shape"
            pending += [] if maker.op_type == "Shape" else maker.input
        return shape_seen

    def _last_axis(self) -> str:
        name = "st_last_axis"
        if all(tensor.name != name for tensor in self.constants_made):
            self.constants_made.append(numpy_helper.from_array(np.array([2]), name))
        return name

    def _place(self, node: NodeProto) -> int:
        return next(i for i, other in enumerate(self.nodes) if other is node)

    def _remove(self, *gone: NodeProto) -> None:
        self.nodes = [node for node in self.nodes if all(node is not other for other in gone)]
        self._index()

    def alive(self) -> list[NodeProto]:
        """The nodes that an output depends on."""
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                needed |= set(node.input)
                kept.append(node)
        return kept[::-1]


def _is(node: NodeProto | None, kind: str) -> bool:
    return node is not None and node.op_type == kind and not node.domain


def _casts(node: NodeProto, to: int) -> bool:
    return _is(node, "Cast") and node.attribute[0].i == to
