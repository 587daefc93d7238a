"""From calls of the ONNX functions to the nodes that TensorRT's parser takes for plugins."""

from __future__ import annotations

from onnx import ModelProto, NodeProto, helper

from st.export.plugin.functions import DOMAIN

VERSION = "1"  # that tensorrt.plugin gives its plugins


def lowered(model: ModelProto) -> ModelProto:
    """A copy without the functions, so that the parser looks for plugins; only TensorRT runs it.

    A plugin is one kernel, and a covariance needs two: parts, then their merging.
    """
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.domain != DOMAIN:
            nodes.append(node)
        elif node.op_type == "Covariance":
            x, (mean, covariance) = node.input[0], node.output
            parts = [f"{covariance}_means", f"{covariance}_moments"]
            nodes.append(_plugin("CovarianceParts", [x], parts))
            nodes.append(_plugin("CovarianceMerge", [x, *parts], [mean, covariance]))
        else:
            nodes.append(_plugin(node.op_type, [*node.input], [*node.output]))
    made = ModelProto()
    made.CopyFrom(model)
    del made.functions[:], made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def _plugin(name: str, inputs: list[str], outputs: list[str]) -> NodeProto:
    attributes = {"plugin_namespace": DOMAIN, "plugin_version": VERSION}
    label = f"{name}_{outputs[0]}"
    return helper.make_node(name, inputs, outputs, name=label, domain=DOMAIN, **attributes)
