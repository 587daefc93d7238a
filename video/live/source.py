"""Interprets the source argument: a camera, a URL or a video."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from st.runtime.errors import BadInput, printable
from st.video.live.camera import CameraOpener, CameraRequest
from st.video.live.capture import Opener
from st.video.live.playback import Playback
from st.video.live.stream_input import Stream, is_url


def opener_of(
    source: str, size: tuple[int, int] | None, fps: float | None, mjpg: bool, loop: bool
) -> Opener:
    """Return a function that opens the source.

    source: camera number, device or name, URL, or path of a video.
    size: (height, width) to request from a camera; the maximum size for videos and streams.
    fps, mjpg: frame rate and format requested from a camera. loop: repeat a video.

    Raises BadInput: an option does not apply to this kind of source, or the file is missing.
    """
    number = _camera_number(source)
    if number is None and (is_url(source) or _means_file(source)):
        if fps is not None:
            raise BadInput(
                f"{printable(source)}: videos and streams have their own frame rate; only a "
                "camera accepts one"
            )
        open_it: Callable[..., Playback | Stream] = (
            partial(Stream, source) if is_url(source) else partial(Playback, Path(source))
        )
        return lambda stop: open_it(stop, loop=loop, box=size)
    if loop:
        raise BadInput(f"{printable(source)}: only a video can be repeated, and this is a camera")
    usual = CameraRequest()
    request = CameraRequest(size or usual.size, fps or usual.fps, mjpg)
    return CameraOpener(source if number is None else number, request)


def _camera_number(source: str) -> int | None:
    digits = source.removeprefix("/dev/video")
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 4 else None


def _means_file(source: str) -> bool:
    """Whether `source` is an existing file.

    Raises BadInput: it looks like a path (separators or a suffix) but does not exist.
    """
    try:
        path = Path(source)
        if path.exists():
            return True
        if set(source) & set("/\\\0") or not (path.suffix[1:] or "0").isdecimal():
            raise BadInput(f"{printable(source)}: no such file")
    except (OSError, ValueError):  # the name is too long or contains a NUL
        raise BadInput(f"{printable(source)}: no such file") from None
    return False
