"""Engine metadata: the schema, its strict parser and its writer.

The metadata is one JSON object. An `.onnx` file holds it as the metadata property `st`; a `.trt`
has it in `NAME.trt.json`, as the entry `engine`. The keys are `format` (1) and the fields of
`Metadata`, with their defaults; tuples are lists, sizes are [height, width]. Unknown keys, wrong
types, values out of range and contradictions are refused, so that an untrusted engine is rejected
before it runs. At most 64 KiB are read.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from st.runtime.errors import BadEngine, printable

FORMAT = 1
PROPERTY = "st"
MAX_BYTES = 64 * 1024
MAX_STYLES = 4096
MAX_CODE = 1 << 20
KINDS = ("stylizer", "texture", "colorizer", "style-encoder", "tiles")
Size = tuple[int, int]  # (height, width)
PRECISIONS = ("fp32", "fp16", "int8")
INPUTS = (
    "content", "style", "weights", "code", "strength", "noise", "hints", "palette", "moments",
    "margins",
)  # fmt: skip
COLORIZER = {"content", "hints", "palette"}  # its inputs
MAX_SCALE = 16
MAX_NOISE = 64
MIN_RENDER, MAX_RENDER = 4, 64

BINS = 9  # of a palette, along Cb and along Cr
PALETTE = BINS * BINS + 1  # numbers of a palette: a share a bin, and whether there is one


@dataclass(frozen=True)
class Metadata:
    """An engine's description.

    Pictures are uint8, (N, H, W, 3), RGB, 0..255, in (`content` or `style`) and out (`stylized`);
    a colorizer gives (N, 2, H, W) float32, -0.5..0.5 (`chroma`, see st.runtime.painting.chroma).

    kind:
        "stylizer"       content [+ weights | code] [+ strength] [+ noise] -> stylized
        "texture"        noise [+ weights] -> stylized, a picture of the noise's size
        "colorizer"      content + hints + palette -> chroma
        "style-encoder"  style -> code, (1, code_size) float32
        "tiles"          a stylizer's twin for one tile of a large picture: it takes the whole
                         picture's moments and also returns the tile's own (see
                         st.runtime.painting.tiling)
    method: the training method, for example "cin".
    inputs: names of the graph's inputs, out of `INPUTS`.
        weights   (1, len(styles)) float32, convex weights over the named styles
        code      (1, code_size) float32, a style code
        strength  (1,) float32, 0..1
        noise     (1, noise, H, W) float32, uniform in 0..1, of the picture's size
        hints     (1, 3, H, W) float32: Cb, Cr, and a mask that is 1 where a hint is given
        palette   (1, PALETTE) float32: see st.runtime.painting.chroma.palette_of
    styles: names of the styles; `weights` has one entry for each.
    code_size: length of a style code; 0 without any.
    multiple: height and width must be multiples of it, 1..256.
    min_size: least height and width, pixels.
    fixed_size: (height, width) of an engine that takes one size only.
    sizes: least and largest (height, width) of an engine that was built for a range of sizes.
    blends: whether the mean of style codes is a style between them.
    scale: ratio of the sizes of stylized and content. Above 1, a pixel depends on `halo` pixels
        around it only, not on the whole picture.
    noise: channels of the noise input; 0 without any.
    render_factor: of a colorizer: by default it sees pictures with a longer side of 16 times that,
        in pixels.
    halo: pixels around a tile that its result depends on.
    norms: channels of each normalization layer, in order of execution ("tiles" only).
    fingerprint: SHA-256 of the weights. An engine, its style encoder and its tiles companion have
        the same one.
    max_error: largest difference from PyTorch that the exporter measured. In steps of 1/255, or a
        share of the largest entry where `relative` is true.
    precision: "fp32"; or "fp16": convolutions and what follows them in FP16, statistics in FP32; or
        "int8": convolutions between the first and the last of 8-bit integers, all else in FP32.
    rounding_error: of fp16 and int8: (largest, mean) difference from the FP32 engine on ONNX
        Runtime, in the same unit.
    card: how the engine was trained, as (name, text or number) pairs; nothing depends on it.
    """

    method: str
    kind: str = "stylizer"
    inputs: tuple[str, ...] = ("content",)
    styles: tuple[str, ...] = ()
    code_size: int = 0
    multiple: int = 1
    min_size: int = 1
    fixed_size: Size | None = None
    sizes: tuple[Size, Size] | None = None
    blends: bool = True
    scale: int = 1
    noise: int = 0
    render_factor: int = 0
    halo: int = 0
    norms: tuple[int, ...] = ()
    fingerprint: str = ""
    max_error: float | None = None
    precision: str = "fp32"
    rounding_error: tuple[float, float] | None = None
    card: tuple[tuple[str, str | float | int], ...] = ()

    @property
    def picture_input(self) -> str:
        return {"style-encoder": "style", "texture": "noise"}.get(self.kind, "content")

    @property
    def relative(self) -> bool:
        """Whether its errors are relative to the largest entry of its result, which is no picture,
        and not in steps of 1/255."""
        return self.kind in ("style-encoder", "colorizer")

    @property
    def result(self) -> str:
        """The output that is played."""
        return {"style-encoder": "code", "colorizer": "chroma"}.get(self.kind, "stylized")

    def dump(self) -> str:
        """This metadata as JSON. Raises BadEngine if `parse` would not return it unchanged."""
        values = {"format": FORMAT} | asdict(self) | {"card": dict(self.card)}
        text = json.dumps(values, ensure_ascii=True, sort_keys=True)
        if parse(text) != self:
            raise BadEngine("metadata does not survive its own JSON")
        return text


def parse(text: str) -> Metadata:
    """Parse and validate metadata. Raises BadEngine; the message names the wrong entry."""
    if len(text) > MAX_BYTES:
        raise BadEngine(f"engine metadata of {len(text)} bytes, at most {MAX_BYTES} are read")
    try:
        values = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadEngine(f"engine metadata is no JSON: {printable(error, 80)}") from None
    if not isinstance(values, dict):
        raise BadEngine("engine metadata is no JSON object")
    if values.pop("format", None) != FORMAT:
        raise BadEngine(f"engine metadata is not of format {FORMAT}: export it with this version")
    unknown = set(values) - {field.name for field in fields(Metadata)}
    if unknown:
        raise BadEngine(f"engine metadata has unknown entries: {printable(sorted(unknown), 80)}")
    return _checked(values)


def _checked(values: dict[str, Any]) -> Metadata:
    metadata = Metadata(
        method=_text(values, "method"),
        kind=_text(values, "kind", "stylizer"),
        inputs=tuple(_texts(values, "inputs", ["content"], len(INPUTS))),
        styles=tuple(_texts(values, "styles", [], MAX_STYLES)),
        code_size=_count(values, "code_size", 0, 0, MAX_CODE),
        multiple=_count(values, "multiple", 1, 1, 256),
        min_size=_count(values, "min_size", 1, 1, 4096),
        fixed_size=_size(values.get("fixed_size"), "fixed_size"),
        sizes=_sizes(values.get("sizes")),
        blends=_flag(values, "blends", True),
        scale=_count(values, "scale", 1, 1, MAX_SCALE),
        noise=_count(values, "noise", 0, 0, MAX_NOISE),
        render_factor=_count(values, "render_factor", 0, 0, MAX_RENDER),
        halo=_count(values, "halo", 0, 0, 4096),
        norms=tuple(_counts(values, "norms")),
        fingerprint=_text(values, "fingerprint", ""),
        max_error=_error(values.get("max_error"), "max_error"),
        precision=_text(values, "precision", "fp32"),
        rounding_error=_pair(values.get("rounding_error")),
        card=_card(values.get("card", {})),
    )
    if metadata.sizes and metadata.fixed_size:
        raise BadEngine("engine metadata: a fixed_size leaves no range of sizes")
    steps = [side % metadata.multiple for size in metadata.sizes or () for side in size]
    if any(steps):
        raise BadEngine("engine metadata: sizes must be multiples of multiple")
    if metadata.kind not in KINDS:
        raise BadEngine(
            f"engine metadata: kind {printable(metadata.kind, 40)!r} is not one of {KINDS}"
        )
    if metadata.precision not in PRECISIONS:
        raise BadEngine(f"engine metadata: precision is not one of {PRECISIONS}")
    if metadata.rounding_error is not None and metadata.precision == "fp32":
        raise BadEngine("engine metadata: rounding_error belongs to fp16 and int8")
    if strange := [name for name in metadata.inputs if name not in INPUTS]:
        raise BadEngine(f"engine metadata: unknown input {printable(strange[0], 40)!r}")
    if metadata.picture_input not in metadata.inputs:
        raise BadEngine(f"engine metadata: no {metadata.picture_input!r} among the inputs")
    if len(set(metadata.inputs)) != len(metadata.inputs):
        raise BadEngine("engine metadata names an input twice")
    if len(set(metadata.styles)) != len(metadata.styles):
        raise BadEngine("engine metadata names a style twice")
    if ("weights" in metadata.inputs) != bool(metadata.styles):
        raise BadEngine("engine metadata: weights and named styles go together")
    if ("code" in metadata.inputs or metadata.kind == "style-encoder") != bool(metadata.code_size):
        raise BadEngine("engine metadata: code and code_size go together")
    if ("noise" in metadata.inputs) != bool(metadata.noise):
        raise BadEngine("engine metadata: noise and its channels go together")
    if metadata.scale > 1 and (metadata.kind != "stylizer" or set(metadata.inputs) != {"content"}):
        raise BadEngine("engine metadata: what enlarges pictures takes nothing but them")
    if (metadata.kind == "colorizer") != bool(metadata.render_factor):
        raise BadEngine("engine metadata: render_factor belongs to colorizers")
    if metadata.kind == "colorizer" and set(metadata.inputs) != COLORIZER:
        raise BadEngine("engine metadata: a colorizer takes content, hints and palette")
    if (metadata.kind == "tiles") != bool(metadata.norms):
        raise BadEngine("engine metadata: norms belong to tiles")
    return metadata


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _text(values: dict[str, Any], key: str, default: str | None = None) -> str:
    value = values.get(key, default)
    if not isinstance(value, str) or len(value) > 200 or "\0" in value:
        raise BadEngine(f"engine metadata: {key} must be a text of up to 200 characters")
    return value


def _texts(values: dict[str, Any], key: str, default: list[str], most: int) -> list[str]:
    value = values.get(key, default)
    if not isinstance(value, list) or len(value) > most:
        raise BadEngine(f"engine metadata: {key} must be a list of at most {most} texts")
    if not all(isinstance(v, str) and 0 < len(v) <= 200 and v.isprintable() for v in value):
        raise BadEngine(f"engine metadata: {key} must hold printable texts of up to 200 characters")
    return value


def _count(values: dict[str, Any], key: str, default: int, least: int, most: int) -> int:
    value = values.get(key, default)
    if type(value) is not int or not least <= value <= most:
        raise BadEngine(f"engine metadata: {key} must be a whole number from {least} to {most}")
    return value


def _flag(values: dict[str, Any], key: str, default: bool) -> bool:
    value = values.get(key, default)
    if type(value) is not bool:
        raise BadEngine(f"engine metadata: {key} must be true or false")
    return value


def _counts(values: dict[str, Any], key: str) -> list[int]:
    value = values.get(key, [])
    if not isinstance(value, list) or len(value) > 1000:
        raise BadEngine(f"engine metadata: {key} must be a list of at most 1000 numbers")
    return [_count({key: v}, key, 0, 1, 1 << 16) for v in value]


def _size(value: Any, key: str) -> Size | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise BadEngine(f"engine metadata: {key} must be [height, width]")
    height, width = (_count({key: v}, key, 0, 1, 1 << 15) for v in value)
    return height, width


def _sizes(value: Any) -> tuple[Size, Size] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise BadEngine("engine metadata: sizes must be [least, largest]")
    least, most = (_size(v, "sizes") for v in value)
    if least is None or most is None or least[0] > most[0] or least[1] > most[1]:
        raise BadEngine("engine metadata: sizes must grow from the least to the largest")
    return least, most


def _error(value: Any, key: str) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise BadEngine(f"engine metadata: {key} must be a number, 0 or more")
    return float(value)


def _pair(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise BadEngine("engine metadata: rounding_error must be [largest, mean]")
    largest, mean = (_error(v, "rounding_error") for v in value)
    if largest is None or mean is None:
        raise BadEngine("engine metadata: rounding_error must be [largest, mean]")
    return largest, mean


def _card(value: Any) -> tuple[tuple[str, str | float | int], ...]:
    plain = isinstance(value, dict) and all(
        isinstance(v, str) or (type(v) in (int, float) and math.isfinite(v)) for v in value.values()
    )
    if not plain:
        raise BadEngine("engine metadata: the card must hold texts and numbers")
    return tuple(sorted(value.items()))
