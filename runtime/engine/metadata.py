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

from st.runtime.engine.fields import Fields, Size, load_json
from st.runtime.errors import BadEngine, printable

FORMAT = 1
PROPERTY = "st"
MAX_BYTES = 64 * 1024
MAX_STYLES = 4096
MAX_CODE = 1 << 20
KINDS = ("stylizer", "texture", "colorizer", "style-encoder", "tiles")
PRECISIONS = ("fp32", "fp16", "int8")
INPUTS = (
    "content", "style", "weights", "code", "strength", "noise", "hints", "palette", "moments",
    "margins",
)  # fmt: skip
COLORIZER = {"content", "hints", "palette"}  # its inputs
MAX_SCALE = 16
MAX_NOISE = 64
MAX_MAPS = 1000  # feature maps of a tiles engine
MIN_RENDER, MAX_RENDER = 4, 64

BINS = 9  # of a palette's histogram, along Cb and along Cr
PALETTE = BINS * BINS + 1  # values: the share of each bin, and 1 if there is a palette


@dataclass(frozen=True)
class Segment:
    """A part of a tiles engine, which runs over all tiles before the next one does.

    halo: pixels around a tile that its results depend on. content: whether it reads the picture.
    reads, writes: numbers of the feature maps that it takes and makes.
    """

    halo: int
    content: bool = True
    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Metadata:
    """The description of an engine.

    Pictures are uint8, (N, H, W, 3), RGB, 0..255, as inputs (`content` or `style`) and output
    (`stylized`). The output of a colorizer is `chroma`, (N, 2, H, W), float32, -0.5..0.5: see
    st.runtime.painting.chroma.

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
    min_size: minimum height and width, in pixels.
    fixed_size: (height, width) of an engine that takes one size only.
    sizes: smallest and largest (height, width) of an engine that was built for a range of sizes.
    blends: whether the mean of style codes is a blend of the styles.
    scale: size of the output relative to the content. Above 1, a pixel depends only on `halo`
        pixels around it, not on the whole picture.
    noise: channels of the noise input; 0 without any.
    render_factor: of a colorizer: the default longer side of its input, in units of 16 pixels.
    halo: pixels around a tile that its result depends on.
    norms: channels of each normalization layer, in order of execution ("tiles" only).
    maps: (channels, stride) of each feature map that is kept between segments ("tiles" only):
        input `map_K` and output `new_map_K`, (1, channels, H / stride, W / stride) float32.
    segments: one for each norm, whose moments it measures, and the last, which paints ("tiles"
        only). Empty in engines of older versions: each pass computes all layers before its norm.
    fingerprint: SHA-256 of the weights. An engine, its style encoder and its tiles companion have
        the same one.
    max_error: largest difference from PyTorch that the exporter measured, in steps of 1/255; if
        `relative`, as a fraction of the largest value.
    precision: "fp32"; "fp16": weights and activations in FP16, statistics in FP32; or "int8": all
        convolutions but the first and the last in INT8, the rest in FP32.
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
    maps: tuple[tuple[int, int], ...] = ()
    segments: tuple[Segment, ...] = ()
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
        """Whether its errors are fractions of the largest value, as its output is not a picture."""
        return self.kind in ("style-encoder", "colorizer")

    @property
    def result(self) -> str:
        """The name of the output."""
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
        values = load_json(text)
    except (ValueError, RecursionError) as error:
        raise BadEngine(f"engine metadata is not valid JSON: {printable(error, 80)}") from None
    if not isinstance(values, dict):
        raise BadEngine("engine metadata is no JSON object")
    if values.pop("format", None) != FORMAT:
        raise BadEngine(f"engine metadata is not of format {FORMAT}: export it with this version")
    unknown = set(values) - {field.name for field in fields(Metadata)}
    if unknown:
        raise BadEngine(f"engine metadata has unknown entries: {printable(sorted(unknown), 80)}")
    return _checked(Fields(values, "engine metadata"))


def _checked(given: Fields) -> Metadata:
    metadata = Metadata(
        method=given.text("method"),
        kind=given.text("kind", "stylizer"),
        inputs=given.texts("inputs", ["content"], len(INPUTS) + MAX_MAPS),
        styles=given.texts("styles", [], MAX_STYLES),
        code_size=given.whole("code_size", 0, 0, MAX_CODE),
        multiple=given.whole("multiple", 1, 1, 256),
        min_size=given.whole("min_size", 1, 1, 4096),
        fixed_size=given.size("fixed_size"),
        sizes=_sizes(given),
        blends=given.flag("blends", True),
        scale=given.whole("scale", 1, 1, MAX_SCALE),
        noise=given.whole("noise", 0, 0, MAX_NOISE),
        render_factor=given.whole("render_factor", 0, 0, MAX_RENDER),
        halo=given.whole("halo", 0, 0, 4096),
        norms=given.wholes("norms", 1000, 1, 1 << 16),
        maps=_maps(given),
        segments=_segments(given),
        fingerprint=given.text("fingerprint", ""),
        max_error=given.error("max_error"),
        precision=given.text("precision", "fp32"),
        rounding_error=_rounding_error(given),
        card=_card(given),
    )
    if problem := _contradiction(metadata):
        raise given.wrong(problem)
    return metadata


def _contradiction(metadata: Metadata) -> str | None:
    """What contradicts itself in metadata whose entries are valid on their own; None: nothing."""
    inputs, kind = metadata.inputs, metadata.kind
    steps = [side % metadata.multiple for size in metadata.sizes or () for side in size]
    known = {*INPUTS, *(f"map_{k}" for k in range(len(metadata.maps)))}
    unknown = [name for name in inputs if name not in known]
    code = "code" in inputs or kind == "style-encoder"
    content_only = kind == "stylizer" and set(inputs) == {"content"}
    problems = {
        "fixed_size excludes sizes": bool(metadata.sizes and metadata.fixed_size),
        "sizes must be multiples of multiple": any(steps),
        f"kind {printable(kind, 40)!r} is not one of {KINDS}": kind not in KINDS,
        f"precision is not one of {PRECISIONS}": metadata.precision not in PRECISIONS,
        "rounding_error belongs to fp16 and int8": (
            metadata.rounding_error is not None and metadata.precision == "fp32"
        ),
        f"unknown input {printable(unknown[0] if unknown else None, 40)!r}": bool(unknown),
        f"there is no {metadata.picture_input!r} among the inputs": (
            metadata.picture_input not in inputs
        ),
        "an input is named twice": len(set(inputs)) != len(inputs),
        "a style is named twice": len(set(metadata.styles)) != len(metadata.styles),
        "weights and named styles go together": ("weights" in inputs) != bool(metadata.styles),
        "code and code_size go together": code != bool(metadata.code_size),
        "noise and its channels go together": ("noise" in inputs) != bool(metadata.noise),
        "an engine that enlarges takes content only": metadata.scale > 1 and not content_only,
        "render_factor belongs to colorizers": (kind == "colorizer")
        != bool(metadata.render_factor),
        "a colorizer takes content, hints and palette": (
            kind == "colorizer" and set(inputs) != COLORIZER
        ),
        "norms belong to tiles": (kind == "tiles") != bool(metadata.norms),
    }
    found = next((problem for problem, found in problems.items() if found), None)
    return found or _contradiction_of_segments(metadata)


def _contradiction_of_segments(metadata: Metadata) -> str | None:
    """As `_contradiction`: each segment reads only what earlier segments wrote."""
    if not metadata.segments and not metadata.maps:
        return None
    if len(metadata.segments) != len(metadata.norms) + 1:
        return "tiles have one segment for each norm and a last one"
    if any(metadata.multiple % stride for _, stride in metadata.maps):
        return "the strides of maps must divide multiple"
    written: list[int] = []
    for segment in metadata.segments:
        if not set(segment.reads) <= set(written):
            return "a segment reads a map before it is written"
        written += segment.writes
    if sorted(written) != list(range(len(metadata.maps))):
        return "each map must be written once"
    return None


def _maps(given: Fields) -> tuple[tuple[int, int], ...]:
    found = given.values.get("maps", [])
    if not isinstance(found, list) or len(found) > MAX_MAPS:
        raise given.wrong(f"maps must be a list of at most {MAX_MAPS} pairs")
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in found):
        raise given.wrong("each of maps must be [channels, stride]")
    numbers = [[given.as_whole(n, "maps", 1, 1 << 16) for n in pair] for pair in found]
    return tuple((channels, stride) for channels, stride in numbers)


def _segments(given: Fields) -> tuple[Segment, ...]:
    found, names = given.values.get("segments", []), {field.name for field in fields(Segment)}
    if not isinstance(found, list) or len(found) > MAX_MAPS + 1:
        raise given.wrong(f"segments must be a list of at most {MAX_MAPS + 1}")
    if not all(isinstance(entry, dict) and set(entry) == names for entry in found):
        raise given.wrong(f"each of segments must have {', '.join(sorted(names))}")
    entries = [Fields(entry, f"{given.label}: a segment") for entry in found]
    return tuple(
        Segment(
            halo=entry.whole("halo", None, 0, 4096),
            content=entry.flag("content"),
            reads=entry.wholes("reads", MAX_MAPS, 0, MAX_MAPS),
            writes=entry.wholes("writes", MAX_MAPS, 0, MAX_MAPS),
        )
        for entry in entries
    )


def _sizes(given: Fields) -> tuple[Size, Size] | None:
    if given.values.get("sizes") is None:
        return None
    smallest, largest = given.ascending_sizes("sizes", 2)
    return smallest, largest


def _rounding_error(given: Fields) -> tuple[float, float] | None:
    value = given.values.get("rounding_error")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise given.wrong("rounding_error must be [largest, mean]")
    largest, mean = (given.as_error(number, "rounding_error") for number in value)
    return largest, mean


def _card(given: Fields) -> tuple[tuple[str, str | float | int], ...]:
    value = given.values.get("card", {})
    plain = isinstance(value, dict) and all(
        isinstance(v, str) or (type(v) in (int, float) and math.isfinite(v)) for v in value.values()
    )
    if not plain:
        raise given.wrong("the card must hold texts and numbers")
    return tuple(sorted(value.items()))
