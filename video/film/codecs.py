"""The codecs that st-video writes, and the containers that hold them."""

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


ANIMATIONS = (".gif", ".apng", ".png", ".avif", ".webp")  # of films without sound


@dataclass(frozen=True)
class Codec:
    """One way to store the picture.

    even, odd: pixel formats for 8 bits, of even and of odd sizes (4:2:0 in H.264 and HEVC holds
        even sizes only; 4:4:4 holds any).
    deep, alpha: pixel formats for sources of more than 8 bits and with transparency; "" is none.
    quality: the encoder's own option for constant quality, lower is better: 0..worst.
    presets: from fast to slow; the encoder's own names.
    carries_aspect: whether the coded stream itself says the pixels' aspect.
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
    options: dict[str, str] = field(default_factory=dict)
    carries_aspect: bool = False

    def pixel_format(self, width: int, height: int, bits: int, alpha: bool) -> str:
        if alpha and self.alpha:
            return self.alpha
        if (width | height) & 1:
            return self.odd
        return self.deep if bits > 8 and self.deep else self.even

    def encoder_options(
        self, pixels: str, quality: int | None, preset: str | None
    ) -> dict[str, str]:
        """Raises BadInput when this codec has no such quality or preset."""
        options = dict(self.options)
        if quality is not None and not self.quality:
            raise BadInput("--quality: this codec is lossless, leave it out")
        if quality is not None and not 0 <= quality <= self.worst:
            raise BadInput(f"--quality of this codec goes from 0 (best) to {self.worst}")
        if preset is not None and preset not in self.presets:
            offered = ", ".join(self.presets) or "none"
            raise BadInput(f"--preset {printable(preset)!r}: this codec has {offered}")
        quality = self.default_quality if quality is None else quality
        if quality is not None:
            options[self.quality] = str(quality)
        if self.encoder == "prores_ks" and "444" in pixels:
            preset = "4444"  # the only profile for them
        if chosen := preset or self.default_preset:
            options[self.preset_option] = chosen
        return options


# x264's AVX-512 code for macroblock trees codes the same frames now one way, now another (found at
# 320×240: 5 of 8 runs differed); its AVX2 code does not, and a resumed film must be the same one.
_AVX_512F = 13  # OpenCV's number
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
        default_preset="veryfast",
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
    # What the engine painted, bit for bit.
    "lossless": Codec(
        "ffv1",
        even="bgr0",
        odd="bgr0",
        alpha="bgra",
        options={"level": "3", "slicecrc": "1", "slices": "4"},
    ),
}
# MP4 holds no FFV1.
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
    """Suffix of the film made from `source` when the user named none: the source's where st writes
    such films, else a container that holds what is to be kept."""
    if codec in _SUFFIX:
        return _SUFFIX[codec]
    suffix = source.suffix.lower()
    if suffix in CONTAINERS:
        return suffix
    return ".mp4" if suffix in ANIMATIONS and not alpha else ".mkv"


def container_of(path: Path) -> str:
    """FFmpeg's name of the container for the suffix. Raises BadInput."""
    try:
        return CONTAINERS[path.suffix.lower()]
    except KeyError:
        known = " ".join(CONTAINERS)
        raise BadInput(
            f"{printable(path)}: st-video writes {known}, or pictures: frames/%05d.png"
        ) from None


def codec_for(container: str, name: str | None, alpha: bool) -> Codec:
    """The codec of that name, or the container's usual one; one that holds `alpha` if any does."""
    if name is None:
        if alpha and container in _WITH_ALPHA:
            name = _WITH_ALPHA[container]
        else:
            name = "vp9" if container == "webm" else "h264"
    if name == "lossless" and container in ("mp4", "mpegts"):
        return LOSSLESS_MP4
    return CODECS[name]


def encoder_threads() -> int:
    """Threads for the encoder: more than eight gain little and cost memory."""
    return min(8, usable_cpus())
