"""Messages between st-export and the build process."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from st.runtime.engine.trt_file import Flavor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Settings:
    """Build settings.

    capabilities: of the GPUs to build for, TensorRT-RTX only; empty: 8.0 and later.
    level: of optimization, 0 to 5; None for the library's default.
    any_gpu: TensorRT only: for every GPU from 8.0 on, not just for the one that builds.
    plugin: TensorRT only: st's own kernels for statistics.
    """

    flavor: Flavor
    capabilities: tuple[int, ...] = ()
    level: int | None = None
    any_gpu: bool = False
    plugin: bool = False


@dataclass(frozen=True)
class Job:
    """One engine to build. model: an ONNX file from `for_tensorrt`. engine: the file to write.

    shapes: minimum, optimum and maximum shape of each input of varying size.
    timing_cache: a file that is read and updated, or None.
    """

    model: Path
    engine: Path
    shapes: dict[str, tuple[Shape, Shape, Shape]]
    settings: Settings
    timing_cache: Path | None = None

    def dump(self) -> str:
        return json.dumps(asdict(self), default=str)

    @staticmethod
    def parse(text: str) -> Job:
        values: dict[str, Any] = json.loads(text)
        shapes = {name: tuple(map(tuple, three)) for name, three in values["shapes"].items()}
        settings = values["settings"]
        settings["capabilities"] = tuple(settings["capabilities"])
        cache = values["timing_cache"]
        return Job(
            Path(values["model"]),
            Path(values["engine"]),
            cast(dict[str, tuple[Shape, Shape, Shape]], shapes),
            Settings(**settings),
            cache and Path(cache),
        )


@dataclass(frozen=True)
class Built:
    """The build process's result. version: of the library."""

    version: str
    capabilities: tuple[int, ...]
    later: bool
    device: str
    layers: int
