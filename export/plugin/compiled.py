"""The kernels compiled ahead of time, with no GPU: PTX to embed in an engine, cubin to count.

Triton gives every kernel two more pointers than it was written with, for scratch memory that these
do not use. Whoever launches the PTX without Triton, as TensorRT does, does not know of them:
`trimmed` takes them out.
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
PTX_VERSION = 88  # of CUDA 12.9: the first to know all of these; any driver for CUDA 13 reads it
POINTERS: dict[str, tuple[str, ...]] = {  # of maps; the others point to float32
    "adain": ("x", "y"),
    "covariance_parts": ("x",),
    "covariance_merge": ("x",),
    "whiten_color": ("x", "y"),
}
NUMBERS = ("channels", "pixels", "codes", "parts")  # whole numbers of 32 bits


@dataclass(frozen=True)
class Compiled:
    """A kernel for one compute capability.

    shared: bytes of shared memory a program. registers: a thread. spilled: bytes a thread writes
    to local memory for want of registers.
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
    """Compile a kernel of `st.export.plugin.kernels` for maps of half or float32.

    Raises StError when the assembler refuses it.
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
        "num_stages": 1,  # more would copy maps to shared memory ahead, and spill registers
        "enable_fp_fusion": True,
        "ptx_version": PTX_VERSION,
    }
    with knobs.compilation.scope():
        knobs.compilation.disable_line_info = True  # no paths of this machine in an engine
        made = triton.compile(source, target=target, options=options)
    ptx = trimmed(made.asm["ptx"], sum(kind != "constexpr" for kind in signature.values()))
    cubin, registers, spilled = assemble(ptx, capability)
    metadata: Any = made.metadata
    return Compiled(
        metadata.name, capability, ptx, cubin, tiles.warps, metadata.shared, registers, spilled
    )


def trimmed(ptx: str, count: int) -> str:
    """PTX whose one entry takes its first `count` parameters only.

    Raises StError when a later one is used.
    """
    entry = re.search(r"\.entry\s+(\w+)\(\n(.*?)\n\)", ptx, re.DOTALL)
    if entry is None:
        raise StError("this PTX has no entry: Triton writes it in another way now")
    parameters = entry[2].split(",\n")
    for gone in range(count, len(parameters)):
        if re.search(rf"\[{entry[1]}_param_{gone}\b", ptx):
            raise StError(f"{entry[1]} uses scratch memory, which TensorRT does not give it")
    return ptx[: entry.start(2)] + ",\n".join(parameters[:count]) + ptx[entry.end(2) :]


def assemble(ptx: str, capability: int) -> tuple[bytes, int, int]:
    """(cubin, registers a thread, bytes spilled a thread), by NVIDIA's assembler in Triton's wheel.

    Raises StError with what it says when it refuses.
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
            raise StError(f"ptxas refuses a kernel for {name}: {done.stderr.strip()[:300]}")
        spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill stores", done.stderr))
        return made.read_bytes(), int(registers[1]), spilled
