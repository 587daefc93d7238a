"""Videos from pipes. An MP4 with its index at the end must be read completely first."""

from __future__ import annotations

import shutil
import struct
import tempfile
from typing import Any, BinaryIO

_SMALL = 1 << 20  # bytes; larger boxes are not skipped to find the index
_BOXES = (b"ftyp", b"free", b"skip", b"wide", b"uuid", b"pnot", b"styp", b"mdat", b"moov")


class Pipe:
    """A pipe. Unlike Python's file objects it has no seek(), so FFmpeg does not try to seek.

    head: bytes that have already been read from it.
    """

    def __init__(self, stream: Any, head: bytes = b"") -> None:
        self._stream, self._head = stream, head
        if stream.writable():
            self.write = stream.write
        else:
            self.read = self._read

    def _read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._stream.read(size)
        end = len(self._head) if size < 0 else size
        piece, self._head = self._head[:end], self._head[end:]
        return piece


def open_pipe(stream: BinaryIO) -> Pipe | Any:
    """A source for the bytes of a pipe: a temporary file for an MP4 or MOV whose index is at its
    end, removed when it is closed; a `Pipe` for anything else.

    Raises OSError: the disk is full.
    """
    head, ends = _read_boxes(stream)
    if not ends:
        return Pipe(stream, head)
    file = tempfile.NamedTemporaryFile(prefix="st-", suffix=".mp4")  # noqa: SIM115 - the caller's
    try:
        file.write(head)
        shutil.copyfileobj(stream, file, 1 << 20)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def _read_boxes(stream: BinaryIO) -> tuple[bytes, bool]:
    """The bytes up to the index or the media data, and whether the media data come first."""
    head = b""
    while True:
        head += (header := stream.read(8))
        if len(header) < 8 or header[4:] not in _BOXES:
            return head, False
        size, kind = struct.unpack(">I4s", header)
        if kind in (b"mdat", b"moov"):
            return head, kind == b"mdat"
        if not 8 <= size <= _SMALL:
            return head, True
        head += stream.read(size - 8)
