"""TensorRT quickly deployable plugins, one kernel each. The engine embeds the kernel's PTX.

`autotune` returns the supported types and tactics (tile sizes). TensorRT times them and stores what
`launch` returns for the fastest: the PTX, the grid as shape expressions, and the kernel's integer
arguments. Running the engine needs neither Python nor Triton.

TensorRT reads the annotations of these functions, so they must be types, not strings.
"""

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

# TensorRT is installed only on machines with a GPU, so pyright cannot resolve it.
import tensorrt.plugin as trtp  # pyright: ignore[reportMissingImports]
from tensorrt.plugin import (  # pyright: ignore[reportMissingImports]
    AutoTuneCombination,
    KernelLaunchParams,
    SymIntExprs,
    TensorDesc,
)

from st.export.plugin.compiled import Compiled, compiled
from st.export.plugin.functions import DOMAIN
from st.export.plugin.tiles import Tiles, every, parts_for

trt: Any = import_module("tensorrt")  # by name: type checkers resolve it to st.export.tensorrt
Expression = Any  # tensorrt.plugin.ShapeExpr, a constant or symbolic dimension
Launch = tuple[str, str, KernelLaunchParams, SymIntExprs]  # what an aot_impl returns

_registered: set[int | None] = set()


def register(capability: int | None = None) -> None:
    """See `st.export.plugin.register`."""
    if _registered:
        return
    choices = functools.partial(_choices, capability)
    _register_adain(choices)
    _register_covariance_parts(choices)
    _register_covariance_merge(choices)
    _register_whiten_color(choices)
    _registered.add(capability)


Choices = Callable[[str, TensorDesc], tuple[int, tuple[Tiles, ...]]]


def _choices(capability: int | None, kernel: str, x: TensorDesc) -> tuple[int, tuple[Tiles, ...]]:
    """(compute capability, candidate tiles) for feature maps of x's type."""
    known: int = _of_this_machine() if capability is None else capability
    return known, every(_half(x), known)[kernel]


@functools.lru_cache(maxsize=1)
def _of_this_machine() -> int:
    from st.runtime.backends.gpu import find_gpu

    return find_gpu().capability


def _register_adain(choices: Choices) -> None:
    @trtp.register(f"{DOMAIN}::AdaIN")
    def describe(x: TensorDesc, scale: TensorDesc, shift: TensorDesc) -> TensorDesc:
        return x.like()

    @trtp.autotune(f"{DOMAIN}::AdaIN")
    def autotune(
        x: TensorDesc, scale: TensorDesc, shift: TensorDesc, outputs: tuple[TensorDesc]
    ) -> list[AutoTuneCombination]:
        tactics = _tactics(choices("adain", x)[1])
        return [AutoTuneCombination("FP32|FP16, FP32, FP32, FP32|FP16", "LINEAR", tactics)]

    @trtp.aot_impl(f"{DOMAIN}::AdaIN")
    def launch(
        x: TensorDesc,
        scale: TensorDesc,
        shift: TensorDesc,
        outputs: tuple[TensorDesc],
        tactic: int,
    ) -> tuple[str | bytes, str | bytes, KernelLaunchParams, SymIntExprs]:
        kernel, _ = _kernel("adain", x, choices, tactic)
        images, channels, pixels = _sizes(x)
        codes = scale.shape_expr.numel()
        return _launch(kernel, (images * channels,), (pixels, codes))


def _register_covariance_parts(choices: Choices) -> None:
    @trtp.register(f"{DOMAIN}::CovarianceParts")
    def describe(x: TensorDesc) -> tuple[TensorDesc, TensorDesc]:
        images, channels, _ = _sizes(x)
        parts = _parts(channels)
        means = trtp.from_shape_expr((images, parts, channels), trt.float32)
        moments = trtp.from_shape_expr((images, parts, channels, channels), trt.float32)
        return means, moments

    @trtp.autotune(f"{DOMAIN}::CovarianceParts")
    def autotune(
        x: TensorDesc, outputs: tuple[TensorDesc, TensorDesc]
    ) -> list[AutoTuneCombination]:
        tactics = _tactics(choices("covariance_parts", x)[1])
        return [AutoTuneCombination("FP32*FP16, FP32, FP32", "LINEAR", tactics)]

    @trtp.aot_impl(f"{DOMAIN}::CovarianceParts")
    def launch(
        x: TensorDesc, outputs: tuple[TensorDesc, TensorDesc], tactic: int
    ) -> tuple[str | bytes, str | bytes, KernelLaunchParams, SymIntExprs]:
        kernel, tiles = _kernel("covariance_parts", x, choices, tactic)
        images, channels, pixels = _sizes(x)
        parts = _parts(channels)
        blocks = trtp.cdiv(channels, tiles["ROWS"])
        return _launch(kernel, (blocks, blocks, images * parts), (channels, pixels, parts))


def _register_covariance_merge(choices: Choices) -> None:
    @trtp.register(f"{DOMAIN}::CovarianceMerge")
    def describe(
        x: TensorDesc, means: TensorDesc, moments: TensorDesc
    ) -> tuple[TensorDesc, TensorDesc]:
        images, channels, _ = _sizes(x)
        mean = trtp.from_shape_expr((images, channels), trt.float32)
        return mean, trtp.from_shape_expr((images, channels, channels), trt.float32)

    @trtp.autotune(f"{DOMAIN}::CovarianceMerge")
    def autotune(
        x: TensorDesc,
        means: TensorDesc,
        moments: TensorDesc,
        outputs: tuple[TensorDesc, TensorDesc],
    ) -> list[AutoTuneCombination]:
        tactics = _tactics(choices("covariance_merge", x)[1])
        return [AutoTuneCombination("FP32*FP16, FP32, FP32, FP32, FP32", "LINEAR", tactics)]

    @trtp.aot_impl(f"{DOMAIN}::CovarianceMerge")
    def launch(
        x: TensorDesc,
        means: TensorDesc,
        moments: TensorDesc,
        outputs: tuple[TensorDesc, TensorDesc],
        tactic: int,
    ) -> tuple[str | bytes, str | bytes, KernelLaunchParams, SymIntExprs]:
        kernel, tiles = _kernel("covariance_merge", x, choices, tactic)
        images, channels, pixels = _sizes(x)
        blocks = trtp.cdiv(channels, tiles["ROWS"])
        return _launch(kernel, (blocks, blocks, images), (channels, pixels, _parts(channels)))


def _register_whiten_color(choices: Choices) -> None:
    @trtp.register(f"{DOMAIN}::WhitenColor")
    def describe(
        x: TensorDesc, matrix: TensorDesc, mean: TensorDesc, shift: TensorDesc
    ) -> TensorDesc:
        return x.like()

    @trtp.autotune(f"{DOMAIN}::WhitenColor")
    def autotune(
        x: TensorDesc,
        matrix: TensorDesc,
        mean: TensorDesc,
        shift: TensorDesc,
        outputs: tuple[TensorDesc],
    ) -> list[AutoTuneCombination]:
        tactics = _tactics(choices("whiten_color", x)[1])
        types = "FP32|FP16, FP32, FP32, FP32, FP32|FP16"
        return [AutoTuneCombination(types, "LINEAR", tactics)]

    @trtp.aot_impl(f"{DOMAIN}::WhitenColor")
    def launch(
        x: TensorDesc,
        matrix: TensorDesc,
        mean: TensorDesc,
        shift: TensorDesc,
        outputs: tuple[TensorDesc],
        tactic: int,
    ) -> tuple[str | bytes, str | bytes, KernelLaunchParams, SymIntExprs]:
        kernel, tiles = _kernel("whiten_color", x, choices, tactic)
        images, channels, pixels = _sizes(x)
        grid = (trtp.cdiv(pixels, tiles["COLUMNS"]), trtp.cdiv(channels, tiles["ROWS"]), images)
        return _launch(kernel, grid, (channels, pixels, matrix.shape_expr[0]))


def _half(x: TensorDesc) -> bool:
    return x.dtype == trt.float16


def _tactics(tiles: tuple[Tiles, ...]) -> list[int]:
    return list(range(1, len(tiles) + 1))  # TensorRT reserves 0 for the default tactic


def _kernel(kernel: str, x: TensorDesc, choices: Choices, tactic: int) -> tuple[Compiled, Tiles]:
    capability, tiles = choices(kernel, x)
    chosen = tiles[max(tactic, 1) - 1]
    return compiled(kernel, _half(x), chosen, capability), chosen


def _sizes(x: TensorDesc) -> tuple[Expression, Expression, Expression]:
    """(N, C, pixels) of feature maps (N, C, H, W) or (N, C, pixels)."""
    images, channels, *sides = x.shape_expr
    return images, channels, functools.reduce(lambda a, b: a * b, sides)


def _parts(channels: Expression) -> int:
    """The number of parts. The channels are constant except while TensorRT traces shapes."""
    if channels.is_fake or not channels.is_constant:
        return 1
    return parts_for(channels.constant_value())


def _launch(
    kernel: Compiled, grid: tuple[Expression, ...], numbers: tuple[Expression | int, ...]
) -> Launch:
    launch = KernelLaunchParams()
    for axis, size in zip("xyz", grid, strict=False):
        setattr(launch, f"grid_{axis}", size)
    launch.block_x = 32 * kernel.warps
    launch.shared_mem = kernel.shared
    extra = SymIntExprs(len(numbers))
    for i, number in enumerate(numbers):
        extra[i] = trtp.SymInt32(number)
    return kernel.name, kernel.ptx, launch, extra
