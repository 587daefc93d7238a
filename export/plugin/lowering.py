"""Replaces calls of the ONNX functions with nodes that TensorRT's parser maps to plugins."""

from __future__ import annotations

from onnx import ModelProto, NodeProto, helper

from st.export.plugin.functions import DOMAIN

VERSION = "1"  # the version that tensorrt.plugin assigns


def lowered(model: ModelProto) -> ModelProto:
    """A copy without the functions, so that the parser looks for plugins. Only TensorRT runs it.

    Each plugin is one kernel. A covariance needs two: one for the parts, one to merge them.
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
