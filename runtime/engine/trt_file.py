"""TensorRT engine files: the engine in `NAME.trt` and its description in `NAME.trt.json`.

The engine is stored as TensorRT serialized it, so that `trtexec` and DeepStream read the same file.
The JSON holds the engine's metadata (`engine`, see `st.runtime.engine.metadata`) and its build
(`build`, see `Build`), with the SHA-256 of the engine file.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from st.runtime.engine.fields import Fields, Size, load_json
from st.runtime.engine.metadata import MAX_BYTES, Metadata, parse
from st.runtime.engine.onnx_file import engine_bytes
from st.runtime.errors import BadEngine, BadInput, printable
from st.runtime.system.atomic_files import atomic_write

SUFFIX = ".trt"
FORMAT = 1
MAX_FILE = 1 << 30  # bytes
Flavor = Literal["tensorrt", "tensorrt-rtx"]


@dataclass(frozen=True)
class Build:
    """How a TensorRT engine was built, which decides where it runs.

    flavor: the library that built it; only this library can load it.
    version: of the library, such as "11.4.0.106". Engines load in the same release only.
    capabilities: compute capabilities of the GPUs that it was built for; 89 means 8.9.
    later: it runs on every capability from the smallest of `capabilities` up.
    platform: its operating system and processor, such as "linux-x86_64", or "any".
    profile: the smallest, the optimal and the largest (height, width) of its picture input.
    plugin: it contains st's own kernels.
    device: name of the GPU that built it, for display; empty if none was needed.
    size, sha256: of the engine file; the size in bytes.
    """

    flavor: Flavor
    version: str
    capabilities: tuple[int, ...]
    later: bool
    platform: str
    profile: tuple[Size, Size, Size]
    size: int
    sha256: str
    plugin: bool = False
    device: str = ""

    def runs_on(self, capability: int) -> bool:
        """Whether the engine was built for a GPU of this compute capability (89 means 8.9)."""
        return capability in self.capabilities or (
            self.later and capability >= min(self.capabilities)
        )


def json_beside(engine: Path) -> Path:
    return engine.with_name(engine.name + ".json")


def onnx_source(engine: Path) -> Path:
    """The ONNX engine that st-export builds a TensorRT engine of this name from."""
    name = engine.name.removesuffix(SUFFIX).removesuffix(".rtx")
    return engine.with_name(f"{name}.onnx")


def write_trt(path: Path, data: bytes, metadata: Metadata, build: Build) -> None:
    """Write an engine and its JSON. An interrupted write leaves no pair that passes the checks."""
    text = json.dumps(
        {"format": FORMAT, "engine": json.loads(metadata.dump()), "build": asdict(build)},
        indent=1,
        sort_keys=True,
    )
    if parse_trt(text) != (metadata, build):
        raise BadEngine("metadata does not survive its own JSON")
    with atomic_write(path) as part, atomic_write(json_beside(path)) as part_json:
        part.write_bytes(data)
        part_json.write_text(text + "\n")


def describe_trt(path: Path) -> tuple[Metadata, Build]:
    """Read the JSON of an engine, but not the engine itself.

    Raises BadInput: no such engine. BadEngine: its JSON is missing or invalid.
    """
    if not path.exists():
        raise BadInput(f"{printable(path)}: no such engine file")
    beside = json_beside(path)
    if not beside.exists():
        raise BadEngine(
            f"{printable(path)}: {printable(beside.name)}, its description, is not beside it: "
            "copy both files, or create them with st-export"
        )
    text = engine_bytes(beside, "a .trt.json file", MAX_BYTES).decode("utf-8", "replace")
    try:
        return parse_trt(text)
    except BadEngine as error:
        raise BadEngine(f"{printable(beside)}: {error}") from None


def read_trt(path: Path) -> tuple[bytes, Metadata, Build]:
    """Read an engine and its JSON, and check its size and hash. Raises as `describe_trt` does."""
    metadata, build = describe_trt(path)
    data = engine_bytes(path, "an engine (.trt)", MAX_FILE)
    if len(data) != build.size:
        raise BadEngine(
            f"{printable(path)}: {len(data)} bytes, {build.size} expected: it is cut short, or "
            f"{printable(json_beside(path).name)} belongs to another engine"
        )
    if hashlib.sha256(data).hexdigest() != build.sha256:
        raise BadEngine(
            f"{printable(path)}: damaged, or {printable(json_beside(path).name)} belongs to "
            "another engine: export it again"
        )
    return data, metadata, build


def parse_trt(text: str) -> tuple[Metadata, Build]:
    """Parse the text of a `.trt.json` file. Raises BadEngine: invalid; the message says why."""
    try:
        values = load_json(text)
    except (ValueError, RecursionError) as error:
        raise BadEngine(f"not valid JSON: {printable(error, 80)}") from None
    if not isinstance(values, dict) or set(values) != {"format", "engine", "build"}:
        raise BadEngine("not an engine's description written by st-export")
    if values["format"] != FORMAT:
        raise BadEngine(f"its format is not {FORMAT}: export the engine with this version")
    return parse(json.dumps(values["engine"])), _build(values["build"])


def _build(values: Any) -> Build:
    if not isinstance(values, dict) or set(values) - {f.name for f in fields(Build)}:
        raise BadEngine("build must be an object of known entries")
    given = Fields(values, "build")
    flavor = values.get("flavor")
    if flavor not in get_args(Flavor):
        raise given.wrong(f"flavor must be one of {', '.join(get_args(Flavor))}")
    sha256 = given.text("sha256")
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise given.wrong("sha256 must be 64 hexadecimal digits")
    capabilities = given.wholes("capabilities", 64, 10, 9999)
    if not capabilities:
        raise given.wrong("capabilities must be a list such as [75, 89]")
    return Build(
        flavor=cast(Flavor, flavor),
        version=given.text("version", ""),
        capabilities=capabilities,
        later=given.flag("later"),
        platform=given.text("platform", ""),
        profile=cast(tuple[Size, Size, Size], given.ascending_sizes("profile", 3)),
        size=given.whole("size", None, 1, MAX_FILE),
        sha256=sha256,
        plugin=given.flag("plugin"),
        device=given.text("device", ""),
    )


def title(flavor: Flavor) -> str:
    return {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}[flavor]
