"""Fused statistics for AdaIN and WCT: Triton kernels, TensorRT plugins and ONNX functions.

kernels.py       Triton kernels, the source of everything below
tiles.py         tile sizes for launching and compiling them
cuda.py          the kernels in PyTorch on CUDA
compiled.py      ahead-of-time compilation to PTX and cubin; registers and spills
functions.py     the operators as ONNX functions of standard operators, domain `st`
fusion.py        replaces subgraphs of an exported model with calls of these functions
lowering.py      replaces the calls with TensorRT plugin nodes
registration.py  TensorRT quickly deployable plugins that embed the compiled kernels

Importing this package imports none of its modules, since each needs a different library.
"""

from __future__ import annotations


def register(capability: int | None = None) -> None:
    """Register the plugins with TensorRT in this process; a second call does nothing.

    capability: compute capability of the GPUs to build for, 89 for 8.9. None: that of
        this machine.
    Raises MissingExtra: Triton or TensorRT is not installed. Unavailable: no GPU.
    """
    from st.runtime.errors import MissingExtra

    try:
        from st.export.plugin import registration
    except ModuleNotFoundError:
        raise MissingExtra("the plugin", "triton,tensorrt") from None
    registration.register(capability)


def prepare(data: bytes) -> bytes:
    """Insert plugin nodes into an FP32 or FP16 ONNX model; only TensorRT can run the result."""
    import onnx

    from st.export.plugin.fusion import fused
    from st.export.plugin.lowering import lowered

    return lowered(fused(onnx.load_from_string(data))).SerializeToString()


def has_nodes(data: bytes) -> bool:
    """Whether a model returned by `prepare` uses a plugin."""
    import onnx

    from st.export.plugin.functions import DOMAIN

    return any(node.domain == DOMAIN for node in onnx.load_from_string(data).graph.node)
