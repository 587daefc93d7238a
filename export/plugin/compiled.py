"""Ahead-of-time compilation, without a GPU: PTX for engines, cubin for register counts.

Triton adds two pointer parameters to every kernel, for scratch memory. These kernels use none, and
a launcher other than Triton, such as TensorRT, does not pass them. `trimmed` removes them.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from st.export.plugin import kernels
from st.export.plugin.tiles import Tiles
from st.runtime.errors import StError

CAPABILITIES = (75, 80, 86, 89, 90, 100, 120)
PTX_VERSION = 88  # CUDA 12.9, the first with all of these targets; any CUDA 13 driver reads it
POINTERS: dict[str, tuple[str, ...]] = {  # pointers to feature maps; all others are to float32
    "adain": ("x", "y"),
    "covariance_parts": ("x",),
    "covariance_merge": ("x",),
    "whiten_color": ("x", "y"),
}
NUMBERS = ("channels", "pixels", "codes", "parts")  # 32-bit integer parameters


@dataclass(frozen=True)
class Compiled:
    """A kernel compiled for one compute capability.

    shared: shared memory per program, in bytes. registers: registers per thread.
    spilled: bytes per thread spilled to local memory.
    """

    name: str
    capability: int
    ptx: str
    cubin: bytes
    warps: int
    shared: int
    registers: int
    spilled: int


@lru_cache(maxsize=256)
def compiled(kernel: str, half: bool, tiles: Tiles, capability: int) -> Compiled:
    """Compile a kernel of `st.export.plugin.kernels` for float16 or float32 feature maps.

    Raises StError: the assembler rejects it.
    """
    function: Any = getattr(kernels, kernel)
    constants = dict(tiles.constants)
    maps = "*fp16" if half else "*fp32"
    signature = {
        name: "constexpr"
        if name in constants
        else "i32"
        if name in NUMBERS
        else maps
        if name in POINTERS[kernel]
        else "*fp32"
        for name in function.arg_names
    }
    source = ASTSource(fn=function, signature=signature, constexprs=constants)
    target = GPUTarget("cuda", capability, 32)
    options = {
        "num_warps": tiles.warps,
        "num_stages": 1,  # more stages prefetch into shared memory and spill registers
        "enable_fp_fusion": True,
        "ptx_version": PTX_VERSION,
    }
    with knobs.compilation.scope():
        knobs.compilation.disable_line_info = True  # keeps local paths out of engines
        made = triton.compile(source, target=target, options=options)
    ptx = trimmed(made.asm["ptx"], sum(kind != "constexpr" for kind in signature.values()))
    cubin, registers, spilled = assemble(ptx, capability)
    metadata: Any = made.metadata
    return Compiled(
        metadata.name, capability, ptx, cubin, tiles.warps, metadata.shared, registers, spilled
    )


def trimmed(ptx: str, count: int) -> str:
    """PTX whose entry point takes only its first `count` parameters.

    Raises StError: the code uses a later parameter, or there is no entry point.
    """
    entry = re.search(r"\.entry\s+(\w+)\(\n(.*?)\n\)", ptx, re.DOTALL)
    if entry is None:
        raise StError("no entry point in the PTX: this Triton version writes it differently")
    parameters = entry[2].split(",\n")
    for gone in range(count, len(parameters)):
        if re.search(rf"\[{entry[1]}_param_{gone}\b", ptx):
            raise StError(f"{entry[1]} uses scratch memory, which TensorRT does not provide")
    return ptx[: entry.start(2)] + ",\n".join(parameters[:count]) + ptx[entry.end(2) :]


def assemble(ptx: str, capability: int) -> tuple[bytes, int, int]:
    """(cubin, registers per thread, bytes spilled per thread), from the ptxas in Triton's wheel.

    Raises StError: ptxas rejects the code; the message quotes it.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        target = re.search(r"^\.target (sm_\w+)", ptx, re.MULTILINE)
        name = target[1] if target else f"sm_{capability}"
        done = subprocess.run(
            [get_ptxas(capability).path, "-v", f"--gpu-name={name}", source, "-o", made],
            capture_output=True,
            text=True,
        )
        registers = re.search(r"Used (\d+) registers", done.stderr)
        if done.returncode or registers is None:
            raise StError(f"ptxas rejects a kernel for {name}: {done.stderr.strip()[:300]}")
        spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill stores", done.stderr))
        return made.read_bytes(), int(registers[1]), spilled
