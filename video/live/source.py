"""What the user named as a source: a camera, a URL or a film."""

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
    """A function that opens the source.

    source: a camera's number, device or name, a URL, or a film's file.
    size: to ask of a camera; a box that films and streams are scaled down into.
    fps, mjpg: to ask of a camera. loop: play a film again and again.

    Raises BadInput: choices that this kind of source does not have, or a file that is not there.
    """
    number = _camera_number(source)
    if number is None and (is_url(source) or _means_file(source)):
        if fps is not None:
            raise BadInput("--fps is for cameras: films and streams have their own rate")
        open_it: Callable[..., Playback | Stream] = (
            partial(Stream, source) if is_url(source) else partial(Playback, Path(source))
        )
        return lambda stop: open_it(stop, loop=loop, box=size)
    if loop:
        raise BadInput("--loop is for films")
    usual = CameraRequest()
    request = CameraRequest(size or usual.size, fps or usual.fps, mjpg)
    return CameraOpener(source if number is None else number, request)


def _camera_number(source: str) -> int | None:
    digits = source.removeprefix("/dev/video")
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 4 else None


def _means_file(source: str) -> bool:
    """Whether it is a file, or can be nothing else. Camera names have no suffix."""
    try:
        path = Path(source)
        if path.exists():
            return True
        if set(source) & set("/\\\0") or not (path.suffix[1:] or "0").isdecimal():
            raise BadInput(f"{printable(source)}: no such file")
    except (OSError, ValueError):  # a name too long, or with a NUL in it
        raise BadInput(f"{printable(source)}: no such file") from None
    return False
