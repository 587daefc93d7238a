"""Fused statistics for AdaIN and WCT: Triton kernels, TensorRT plugins and ONNX functions.

kernels.py       the kernels, one source for all that follows
tiles.py         the tile sizes that they are launched and compiled with
cuda.py          PyTorch on CUDA
compiled.py      PTX and cubin ahead of time, with registers and spills
functions.py     the ONNX functions of standard operators, domain `st`
fusion.py        puts calls of them into an exported graph
lowering.py      and these are the plugins' nodes
registration.py  TensorRT's quickly deployable plugins with the compiled kernels inside

Importing this package imports none of them: each needs another library.
"""

from __future__ import annotations


def register(capability: int | None = None) -> None:
    """Make TensorRT know the plugins, in this process; a second call does nothing.

    capability: compute capability of the GPUs to build for, 89 for 8.9; None is this machine's.
    Raises MissingExtra: no Triton, or no TensorRT. Unavailable: no GPU to ask.
    """
    from st.runtime.errors import MissingExtra

    try:
        from st.export.plugin import registration
    except ModuleNotFoundError:
        raise MissingExtra("the plugin", "triton,tensorrt") from None
    registration.register(capability)


def prepare(data: bytes) -> bytes:
    """An ONNX model, FP32 or FP16, with the plugins' nodes in it: only TensorRT can run it."""
    import onnx

    from st.export.plugin.fusion import fused
    from st.export.plugin.lowering import lowered

    return lowered(fused(onnx.load_from_string(data))).SerializeToString()


def has_nodes(data: bytes) -> bool:
    """Whether a model that `prepare` made uses a plugin."""
    import onnx

    from st.export.plugin.functions import DOMAIN

    return any(node.domain == DOMAIN for node in onnx.load_from_string(data).graph.node)
