"""The plugin operators as ONNX functions of standard operators, for runtimes without the plugin.

The domain is `st`. Feature maps x are (N, C, H, W) or (N, C, pixels), float32 or float16, and y is
like x. All other tensors and all sums are float32.

    st::AdaIN(x, scale (C), shift (C)) -> y
    st::Covariance(x) -> mean (N, C), covariance (N, C, C), divided by the number of pixels
    st::WhitenColor(x, matrix (N or 1, C, C), mean (N, C), shift (N or 1, C)) -> y
"""

from __future__ import annotations

import onnx
from onnx import FunctionProto, ModelProto, helper, parser

from st.export.plugin.tiles import EPS

DOMAIN = "st"
TEXTS = {
    "AdaIN": f"""
        <domain: "st", opset_import: ["" : 20]>
        AdaIN (x, scale, shift) => (y) {{
            wide = Cast <to = 1> (x)
            styled = InstanceNormalization <epsilon = {EPS:.9f}> (wide, scale, shift)
            y = CastLike (styled, x)
        }}
    """,
    "Covariance": """
        <domain: "st", opset_import: ["" : 20]>
        Covariance (x) => (mean, covariance) {
            wide = Cast <to = 1> (x)
            rows = Constant <value_ints = [0, 0, -1]> ()
            flat = Reshape (wide, rows)
            last = Constant <value_ints = [2]> ()
            middle = ReduceMean <keepdims = 1> (flat, last)
            apart = Sub (flat, middle)
            turned = Transpose <perm = [0, 2, 1]> (apart)
            products = MatMul (apart, turned)
            size = Shape <start = 2> (flat)
            pixels = Cast <to = 1> (size)
            covariance = Div (products, pixels)
            mean = Squeeze (middle, last)
        }
    """,
    "WhitenColor": """
        <domain: "st", opset_import: ["" : 20]>
        WhitenColor (x, matrix, mean, shift) => (y) {
            wide = Cast <to = 1> (x)
            rows = Constant <value_ints = [0, 0, -1]> ()
            flat = Reshape (wide, rows)
            last = Constant <value_ints = [2]> ()
            before = Unsqueeze (mean, last)
            after = Unsqueeze (shift, last)
            apart = Sub (flat, before)
            turned = MatMul (matrix, apart)
            moved = Add (turned, after)
            shape = Shape (x)
            whole = Reshape (moved, shape)
            y = CastLike (whole, x)
        }
    """,
}


def function(name: str) -> FunctionProto:
    return parser.parse_function(TEXTS[name])


def add_functions(model: ModelProto) -> None:
    """Add the functions that the nodes of a model call, and check the model."""
    del model.functions[:]
    names = sorted({node.op_type for node in model.graph.node if node.domain == DOMAIN})
    model.functions.extend(function(name) for name in names)
    if names and all(opset.domain != DOMAIN for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    onnx.checker.check_model(model, full_check=True)
