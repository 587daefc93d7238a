"""Register the plugins in TensorRT's bindings, and make the calls that TensorRT would make.

    python registering.py FOLDER_FOR_LIBRARIES

Registering a plugin needs no TensorRT libraries, which machines without a GPU do not have: the
bindings load with those of TensorRT-RTX, under the names that they look for. No engine is built.
Prints one JSON object; exits with 77 and the reason if the wheels are not installed.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

STUB = "int initLibNvInferPlugins(void* logger, const char* name) { return 1; }"


def skip(reason: str) -> None:
    print(reason)
    raise SystemExit(77)


def link_libraries(folder: Path) -> None:
    """Link TensorRT-RTX's libraries under TensorRT's names, and an empty plugin library."""
    spec = find_spec("onnxruntime_ep_nv_tensorrt_rtx")
    if spec is None or not spec.submodule_search_locations:
        skip("no TensorRT-RTX libraries here (extra tensorrt-rtx)")
        return
    home = Path(spec.submodule_search_locations[0])
    for name, pattern in {
        "libnvinfer.so.11": "libtensorrt_rtx.so.*.*",
        "libnvonnxparser.so.11": "libtensorrt_onnxparser_rtx.so.*.*",
        "libtensorrt_rtx.so.1": "libtensorrt_rtx.so.*.*",
        "libcudart.so.13": "libcudart.so.*.*",
    }.items():
        (folder / name).symlink_to(max(home.glob(pattern)))
    source = folder / "stub.c"
    source.write_text(STUB)
    made = folder / "libnvinfer_plugin.so.11"
    done = subprocess.run(["cc", "-shared", "-fPIC", "-o", made, source], check=False)
    if done.returncode:
        skip("no C compiler here")


class Dimension:
    """A stand-in for IDimensionExpr: a plain integer."""

    def __init__(self, value: int) -> None:
        self.value = value

    def is_constant(self) -> bool:
        return True

    def get_constant_value(self) -> int:
        return self.value


class Builder:
    """A stand-in for IExprBuilder."""

    def __init__(self, operations: Any) -> None:
        self.operations = {
            operations.SUM: lambda a, b: a + b,
            operations.PROD: lambda a, b: a * b,
            operations.CEIL_DIV: lambda a, b: -(-a // b),
        }

    def constant(self, value: int) -> Dimension:
        return Dimension(value)

    def operation(self, operation: Any, first: Dimension, second: Dimension) -> Dimension:
        return Dimension(self.operations[operation](first.value, second.value))


SHAPES = {  # inputs of each plugin
    "AdaIN": [(2, 130, 9, 7), (130,), (130,)],
    "CovarianceParts": [(1, 130, 63)],
    "CovarianceMerge": [(1, 130, 63), (1, 56, 130), (1, 56, 130, 130)],
    "WhitenColor": [(1, 130, 63), (1, 130, 130), (1, 130), (1, 130)],
}


def described(kernel: str, ptx: Any, launch: Any, extra: Any, int32: type) -> dict[str, Any]:
    """A kernel launch as plain numbers and texts."""
    return {
        "kernel": kernel,
        "ptx": ptx,
        "grid": [getattr(launch, f"grid_{axis}")._expr.value for axis in "xyz"],
        "block": launch.block_x._expr.value,
        "shared": launch.shared_mem._expr.value,
        "extra": [number._expr.value for number in extra],
        "int32": all(isinstance(number, int32) for number in extra),
    }


def main(folder: Path) -> None:
    if find_spec("tensorrt_bindings") is None:
        skip("TensorRT's bindings are not installed: pip install --no-deps tensorrt-cu13-bindings")
    if "st_registering" not in os.environ:
        link_libraries(folder)
        os.environ |= {"LD_LIBRARY_PATH": str(folder), "st_registering": "1"}
        os.execv(sys.executable, [sys.executable, *sys.argv])
    trt = sys.modules["tensorrt"] = importlib.import_module("tensorrt_bindings")
    trtp = importlib.import_module("tensorrt.plugin")
    from st.export.plugin import register

    register(89)
    register(89)  # a second call does nothing
    library = importlib.import_module("tensorrt.plugin._lib")
    tensors = importlib.import_module("tensorrt.plugin._tensor")
    tensors.trt.IDimensionExpr = Dimension
    expressions = tensors.SymIntExpr
    told: dict[str, Any] = {"version": trt.__version__}
    for name, shapes in SHAPES.items():
        creator = trt.get_plugin_registry().get_creator(name, "1", "st")
        request = trt.QuickPluginCreationRequest.STRICT_AOT
        none = trt.PluginFieldCollection([])
        plugin = library._TemplatePluginCreator(name, "st", {}).create_plugin(
            name, "st", none, trt.TensorRTPhase.BUILD, request
        )
        types = [trt.float16] + [trt.float32] * (len(shapes) - 1)
        output_types = plugin.get_output_data_types(types, [len(shape) for shape in shapes])
        expressions._exprBuilder = Builder(trt.DimensionOperation)
        inputs = [
            trtp.from_shape_expr(tuple(trtp.ShapeExpr(Dimension(n)) for n in shape), dtype)
            for shape, dtype in zip(shapes, types, strict=True)
        ]
        definition = library.QDP_REGISTRY[f"st::{name}"]
        outputs = definition.register_func(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        (combination,) = definition.autotune_func(*inputs, outputs)
        launches = [
            described(*definition.aot_impl_func(*inputs, outputs, tactic), trtp.SymInt32)
            for tactic in combination._tactics
        ]
        told[name] = {
            "registered": creator is not None and creator.name == name,
            "types": [str(t) for t in output_types],
            "shapes": [[n._expr.value for n in output.shape_expr] for output in outputs],
            "combinations": [
                [str(t) for t in found.types] for found in combination._get_combinations()
            ],
            "launches": launches,
        }
        expressions._exprBuilder = None
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
