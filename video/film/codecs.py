"""The video codecs and containers that st writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2

from st.runtime.errors import BadInput, printable
from st.runtime.system.cpus import usable_cpus

CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".ts": "mpegts",
}


ANIMATIONS = (".gif", ".apng", ".png", ".avif", ".webp")  # videos without sound


@dataclass(frozen=True)
class Codec:
    """A video encoder with its pixel formats and options.

    even, odd: 8-bit pixel formats for even and for odd sizes (4:2:0 in H.264 and HEVC requires even
        sizes; 4:4:4 allows any).
    deep, alpha: pixel formats for sources with more than 8 bits and with transparency; "" is none.
    quality: the encoder's option for constant quality, 0..worst; lower is better.
    presets: the encoder's own names, from fast to slow.
    default_preset: used if the user names none, together with `default_options`.
    carries_aspect: whether the coded stream itself stores the pixel aspect ratio.
    """

    encoder: str
    even: str
    odd: str
    deep: str = ""
    alpha: str = ""
    quality: str = ""
    worst: int = 0
    default_quality: int | None = None
    preset_option: str = "preset"
    presets: tuple[str, ...] = ()
    default_preset: str = ""
    default_options: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    carries_aspect: bool = False

    def pixel_format(self, height: int, width: int, bits: int, alpha: bool) -> str:
        if alpha and self.alpha:
            return self.alpha
        if (height | width) & 1:
            return self.odd
        return self.deep if bits > 8 and self.deep else self.even

    def encoder_options(
        self, pixels: str, quality: int | None, preset: str | None
    ) -> dict[str, str]:
        """The encoder's options. Raises BadInput: this codec has no such quality or preset."""
        options = dict(self.options)
        if quality is not None and not self.quality:
            raise BadInput(f"quality {quality}: this codec is lossless and has no quality setting")
        if quality is not None and not 0 <= quality <= self.worst:
            raise BadInput(f"quality {quality}: this codec takes 0 (best) to {self.worst}")
        if preset is not None and preset not in self.presets:
            offered = f"takes {', '.join(self.presets)}" if self.presets else "has no presets"
            raise BadInput(f"preset {printable(preset)!r}: this codec {offered}")
        quality = self.default_quality if quality is None else quality
        if quality is not None:
            options[self.quality] = str(quality)
        if self.encoder == "prores_ks" and "444" in pixels:
            preset = "4444"  # the only profile for these pixel formats
        if preset is None:
            options |= self.default_options
        if chosen := preset or self.default_preset:
            options[self.preset_option] = chosen
        return options


# The output of x264's AVX-512 macroblock-tree code varies from run to run (at 320×240, 5 of 8 runs
# differed). Its AVX2 code is deterministic, as a resumed video requires.
_AVX_512F = 13  # OpenCV's number of the feature
_EXACT_X264 = {"x264-params": "asm=avx2"} if cv2.checkHardwareSupport(_AVX_512F) else {}
_X26X = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower")

CODECS = {
    "h264": Codec(
        "libx264",
        even="yuv420p",
        odd="yuv444p",
        quality="crf",
        worst=51,
        default_quality=20,
        presets=_X26X,
        # Macroblock-tree rate control over ten frames brings `superfast` to the quality of
        # `veryfast` at about 60 % of its processor time, which painting on the same processors
        # needs. Files become 8 % larger (docs/benchmarks.md).
        default_preset="superfast",
        default_options={"mbtree": "1", "rc-lookahead": "10"},
        options=_EXACT_X264,
        carries_aspect=True,
    ),
    "hevc": Codec(
        "libx265",
        even="yuv420p",
        odd="yuv444p",
        deep="yuv420p10le",
        quality="crf",
        worst=51,
        default_quality=22,
        presets=_X26X,
        default_preset="veryfast",
        options={"x265-params": "log-level=none"},
        carries_aspect=True,
    ),
    "vp9": Codec(
        "libvpx-vp9",
        even="yuv420p",
        odd="yuv420p",
        alpha="yuva420p",
        quality="crf",
        worst=63,
        default_quality=28,
        preset_option="cpu-used",
        presets=("8", "7", "6", "5", "4", "3", "2", "1", "0"),
        default_preset="6",
        options={"b": "0", "deadline": "realtime", "row-mt": "1", "auto-alt-ref": "0"},
    ),
    "prores": Codec(
        "prores_ks",
        even="yuv422p10le",
        odd="yuv444p10le",
        deep="yuv422p10le",
        alpha="yuva444p10le",
        quality="global_quality",
        worst=32,
        preset_option="profile",
        presets=("proxy", "lt", "standard", "hq"),
        default_preset="hq",
        options={"vendor": "apl0"},
    ),
    # Stores the painted pixels bit for bit.
    "lossless": Codec(
        "ffv1",
        even="bgr0",
        odd="bgr0",
        alpha="bgra",
        options={"level": "3", "slicecrc": "1", "slices": "4"},
    ),
}
# MP4 cannot hold FFV1.
LOSSLESS_MP4 = Codec(
    "libx264rgb",
    even="rgb24",
    odd="rgb24",
    presets=_X26X,
    default_preset="veryfast",
    options={"qp": "0"},
    carries_aspect=True,
)
_SUFFIX = {"prores": ".mov", "lossless": ".mkv"}
_WITH_ALPHA = {"mov": "prores", "matroska": "lossless", "webm": "vp9"}


def output_suffix(source: Path, codec: str | None, alpha: bool) -> str:
    """The default suffix of the video made from `source`: the source's own if st writes it, else
    that of a container that holds all its streams."""
    if codec in _SUFFIX:
        return _SUFFIX[codec]
    suffix = source.suffix.lower()
    if suffix in CONTAINERS:
        return suffix
    return ".mp4" if suffix in ANIMATIONS and not alpha else ".mkv"


def container_of(path: Path) -> str:
    """FFmpeg's name of the container with this suffix. Raises BadInput."""
    try:
        return CONTAINERS[path.suffix.lower()]
    except KeyError:
        known = " ".join(CONTAINERS)
        raise BadInput(
            f"{printable(path)}: unknown video suffix; give {known}, or frames/%05d.png"
        ) from None


def codec_for(container: str, name: str | None, alpha: bool) -> Codec:
    """The codec of that name, or the container's default, with an alpha channel if possible."""
    if name is None:
        if alpha and container in _WITH_ALPHA:
            name = _WITH_ALPHA[container]
        else:
            name = "vp9" if container == "webm" else "h264"
    if name == "lossless" and container in ("mp4", "mpegts"):
        return LOSSLESS_MP4
    return CODECS[name]


def encoder_threads() -> int:
    """Threads for the encoder: at most eight, since more gain little and cost memory."""
    return min(8, usable_cpus())
