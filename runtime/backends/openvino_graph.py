"""Rewrite a graph into an equivalent one that OpenVINO's CPU plugin runs faster.

Engine files are the same for all backends, so graphs are rewritten when OpenVINO opens them. Each
rewrite matches one pattern of nodes and changes nothing else.

upsampling  A 3×3 convolution before a pixel shuffle by 2 with five zero taps of nine in each phase
            becomes a 4×4 transposed convolution of stride 2, without the zeros and the shuffle.
first       The pixel unshuffle of the input works on bytes, and the division by 255 moves into the
            weights: bytes are exact in bfloat16, and their quotients are not.
layouts     The plugin keeps feature maps channels-last for convolutions. The planar scale and shift
            of a norm forced a layout change of the whole map. A 1×1 convolution with ones makes
            scale and shift channels-last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_CHANNELS = 8  # output channels; with fewer, the plugin's blocks are mostly empty and slower
SCALED = 255.0
UNSHUFFLING = [
    *["Reshape", "Transpose"] * 2,
    "Reshape",
]  # see st.train.networks.transform.unshuffled
# The transpositions of the unshuffle: of colors, rows and columns.
TURNS = [[0, 3, 1, 2], [0, 1, 3, 2, 4], [0, 1, 4, 2, 3]]
# For each of the 4 taps along one side of the 4×4 kernel: the phase, and the tap of its 3×3 kernel.
TAPS = ((1, 2), (0, 1), (1, 1), (0, 0))


def optimize_graph(ov: Any, model: Any) -> None:
    """Rewrite a model in place; its inputs and outputs do not change. ov: the openvino module."""
    for change in (_upsampling, _first):
        change(ov.opset13, model)
        model.validate_nodes_and_infer_types()


def keep_channels_last(ov: Any, model: Any) -> None:
    """Apply the rewrite "layouts", for a model that computes scales and shifts at run time."""
    op = ov.opset13
    for product in _all(model, "Multiply"):
        total = _only_user(product)
        if _kind(_source(product)) != "MVN" or total is None or _kind(total) != "Add":
            continue
        for node in (product, total):
            given = _source(node, 1)
            shape = given.output(0).get_partial_shape()
            sides = [] if shape.is_dynamic else list(shape.to_shape())
            if _kind(given) == "Constant" or sides[2:] != [1, 1]:
                continue
            ones = op.constant(np.ones((sides[1], 1, 1, 1, 1), np.float32))
            passed = op.group_convolution(given, ones, *_valid())
            node.input(1).replace_source_output(passed.output(0))
    model.validate_nodes_and_infer_types()


def _upsampling(op: Any, model: Any) -> None:
    for shuffle in _shuffles(model):
        found = _convolved(shuffle)
        if found is None:
            continue
        conv, weights, bias = found
        outputs = len(weights) // 4
        if outputs < MIN_CHANNELS:
            continue
        phases = weights.reshape(outputs, 2, 2, -1, 3, 3)
        zeros = [phases[:, 0, ..., 2, :], phases[:, 1, ..., 0, :]]
        zeros += [phases[:, :, 0, ..., 2], phases[:, :, 1, ..., 0]]
        biases = bias.reshape(outputs, 4)
        if any(z.any() for z in zeros) or (biases != biases[:, :1]).any():
            continue
        kernel = np.empty((weights.shape[1], outputs, 4, 4), np.float32)
        for row, (dy, y) in enumerate(TAPS):
            for column, (dx, x) in enumerate(TAPS):
                kernel[:, :, row, column] = phases[:, dy, dx, :, y, x].T
        made = op.convolution_backprop_data(
            _source(conv),
            op.constant(kernel),
            [2, 2],
            pads_begin=[3, 3],
            pads_end=[3, 3],
            dilations=[1, 1],
        )
        _replace(shuffle, op.add(made, op.constant(biases[:, :1].reshape(1, -1, 1, 1).copy())))


def _first(op: Any, model: Any) -> None:
    for picture in model.get_parameters():
        chain = _following(picture, ("Convert", "Transpose", "Divide", "Reshape"))
        pad = _only_user(chain[-1] if chain else picture)
        conv = None if pad is None else _only_user(pad)
        weights = None if conv is None else _plain_weights(conv)
        named = [_kind(node) for node in chain]
        if (
            weights is None
            or sorted(named[:2]) != ["Convert", "Transpose"]
            or named[2:] != ["Divide", *UNSHUFFLING]
            or [_order(node) for node in chain if _kind(node) == "Transpose"] != TURNS
            or _scalar(_source(chain[2], 1)) != SCALED
            or not _reflects_one(pad)
        ):
            continue
        count, height, width, colors = _sizes(op, picture)
        two, channels = _number(op, 2), _number(op, weights.shape[1])
        height, width = op.divide(height, two), op.divide(width, two)
        x = op.reshape(picture, op.concat([count, height, two, width, two, colors], 0), False)
        x = op.transpose(x, op.constant([0, 5, 2, 4, 1, 3]))
        x = op.reshape(x, op.concat([count, channels, height, width], 0), False)
        around = op.constant(np.array([0, 0, 1, 1], np.int64))
        x = op.convert(op.pad(x, around, around, "reflect"), "f32")
        scaled = op.constant((weights / SCALED).astype(np.float32))
        _replace(conv, op.convolution(x, scaled, *_valid()))


def _all(model: Any, kind: str) -> Iterator[Any]:
    return (node for node in model.get_ordered_ops() if _kind(node) == kind)


def _following(node: Any, kinds: Sequence[str]) -> list[Any]:
    """The chain of nodes of these kinds after `node`, each the only user of the one before."""
    chain: list[Any] = []
    while (user := _only_user(chain[-1] if chain else node)) is not None and _kind(user) in kinds:
        chain.append(user)
    return chain


def _shuffles(model: Any) -> Iterator[Any]:
    """Pixel shuffles by 2."""
    for node in _all(model, "DepthToSpace"):
        settings = node.get_attributes()
        if settings["block_size"] == 2 and settings["mode"] == "depth_first":
            yield node


def _convolved(shuffle: Any) -> tuple[Any, NDArray[Any], NDArray[Any]] | None:
    """The 3×3 convolution before a shuffle, its weights (4 · o, i, 3, 3), and its bias (4 · o,)."""
    total = _source(shuffle)
    if _kind(total) != "Add" or _only_user(total) is None:
        return None
    conv, bias = _source(total), _constant(_source(total, 1))
    weights = _plain_weights(conv)
    if weights is None or bias is None or bias.size != len(weights) or _only_user(conv) is None:
        return None
    return conv, weights, bias.ravel()


def _plain_weights(conv: Any) -> NDArray[Any] | None:
    """The weights (o, i, 3, 3) of a 3×3 convolution of stride 1 without padding, else None."""
    if _kind(conv) != "Convolution":
        return None
    settings, weights = conv.get_attributes(), _constant(_source(conv, 1))
    own = tuple(list(settings[k]) for k in ("strides", "pads_begin", "pads_end", "dilations"))
    fits = own == _valid() and settings["auto_pad"] in ("explicit", "notset", "valid")
    return weights if fits and weights is not None and weights.shape[2:] == (3, 3) else None


def _valid() -> tuple[list[int], ...]:
    """Strides, pads and dilations of a convolution of stride 1 without padding."""
    return [1, 1], [0, 0], [0, 0], [1, 1]


def _kind(node: Any) -> str:
    return node.get_type_name()


def _source(node: Any, number: int = 0) -> Any:
    return node.input_value(number).get_node()


def _only_user(node: Any) -> Any | None:
    """The only node that uses this one's output, not counting ShapeOf; None if there are more."""
    users = [port.get_node() for port in node.output(0).get_target_inputs()]
    users = [user for user in users if _kind(user) != "ShapeOf"]
    return users[0] if len(users) == 1 else None


def _constant(node: Any) -> NDArray[Any] | None:
    """The float32 values of a constant, looking through Convert and Reshape, else None."""
    while _kind(node) in ("Convert", "Reshape"):
        node = _source(node)
    return np.asarray(node.data, np.float32) if _kind(node) == "Constant" else None


def _scalar(node: Any) -> float | None:
    numbers = _constant(node)
    return float(numbers.ravel()[0]) if numbers is not None and numbers.size == 1 else None


def _order(transpose: Any) -> list[int] | None:
    order = _constant(_source(transpose, 1))
    return None if order is None else [int(axis) for axis in order]


def _reflects_one(pad: Any) -> bool:
    if _kind(pad) != "Pad" or pad.get_attributes()["pad_mode"] != "reflect":
        return False
    around = (_constant(_source(pad, i)) for i in (1, 2))
    return all(a is not None and a.tolist() == [0, 0, 1, 1] for a in around)


def _sizes(op: Any, node: Any) -> list[Any]:
    """The four dimensions of a node's output, each a tensor of shape (1,)."""
    size = op.shape_of(node)
    return [op.gather(size, _number(op, i), op.constant(0)) for i in range(4)]


def _number(op: Any, value: int) -> Any:
    return op.constant(np.array([value], np.int64))


def _replace(node: Any, new: Any) -> None:
    """Replace a node's output with that of `new` in all its users, under the same name."""
    new.output(0).get_tensor().set_names(node.output(0).get_names())
    for port in list(node.output(0).get_target_inputs()):
        port.replace_source_output(new.output(0))
