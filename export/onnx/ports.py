"""Names and doc strings in an exported graph, for users without st."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from st.runtime.engine.metadata import PALETTE, Metadata

PICTURES = ("content", "style", "stylized")  # uint8, (N, H, W, 3)
MAPS = ("noise", "hints", "chroma")  # float32, (N, C, H, W)


def describe_ports(graph: onnx.GraphProto, metadata: Metadata) -> None:
    """Name the dimensions batch, height and width, and give each input and output a doc string.

    Nodes that split a side into blocks are named after their requirement, since runtimes print
    the name of the node that fails.
    """
    del graph.value_info[:]  # it contains the tracer's names of the dimensions
    for value in (*graph.input, *graph.output):
        value.doc_string = port_text(value.name, metadata)
        dims = value.type.tensor_type.shape.dim
        if value.name in PICTURES:
            names = ("batch", *_sides(value.name, metadata), "")
        elif value.name in MAPS:
            names = ("batch", "", *_sides(value.name, metadata))
        else:
            continue
        for dim, name in zip(dims, names, strict=True):
            if dim.HasField("dim_param") and name:
                dim.dim_param = name
    if metadata.multiple > 1:
        for i, node in enumerate(_picture_reshapes(graph)):
            node.name = f"height_and_width_must_be_multiples_of_{metadata.multiple}_{i}"


def _picture_reshapes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The Reshape nodes between the picture input and the first convolutions."""
    reached = {graph.input[0].name}
    for node in graph.node:
        if reached & set(node.input) and node.op_type not in ("Conv", "Shape"):
            reached.update(node.output)
            if node.op_type == "Reshape":
                yield node


def _sides(name: str, metadata: Metadata) -> tuple[str, str]:
    scale = f"{metadata.scale}*" if name == "stylized" and metadata.scale > 1 else ""
    return f"{scale}height", f"{scale}width"


def port_text(name: str, metadata: Metadata) -> str:
    """The description of an input or output: type, layout, range."""
    sides = f"height and width are multiples of {metadata.multiple}, {metadata.min_size} or more"
    if metadata.fixed_size:
        sides = "height and width are fixed"
    styles = ", ".join(metadata.styles)
    texts = {
        "content": f"pictures, uint8 RGB, (batch, height, width, 3), 0..255; {sides}",
        "style": f"style picture, uint8 RGB, (1, height, width, 3), 0..255; {sides}",
        "weights": f"float32 (1, {len(metadata.styles)}), 0 or more, sum 1: share of {styles}",
        "code": f"float32 (1, {metadata.code_size}): style code, from the style encoder",
        "strength": "float32 (1,), 0..1: 1 paints in full",
        "noise": f"float32 (1, {metadata.noise}, height, width), uniform in 0..1; {sides}",
        "hints": "float32 (1, 3, height, width): Cb and Cr times coverage, and coverage 0..1",
        "palette": f"float32 (1, {PALETTE}): histogram of Cb and Cr, and 1 where it counts",
        "moments": "float32 (2, channels of all norms): the whole picture's means and variances",
        "margins": "int64 (4,): pixels at top, bottom, left, right that are not the tile's own",
        "stylized": "pictures, uint8 RGB, (batch, height, width, 3), 0..255",
        "chroma": "float32 (batch, 2, height, width), -0.5..0.5: Cb and Cr of BT.709",
    }
    if name.startswith("map_"):
        return "float32 (1, channels, height, width): features that an earlier segment made"
    if name.startswith("new_map_"):
        return "float32 (1, channels, height, width): features for later segments"
    return texts.get(name, "float32 (2, channels): means and variances of the tile at one norm")
