"""The first directory of a TIFF file: read its tags, or append a changed one that replaces it.

TIFF 6.0, section 2, and BigTIFF. Entries that are not changed are copied as they are stored: what
they point to stays where it is, because new bytes are only appended.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # type of an entry -> format of its integers
LONG = 4
MAX_ENTRIES = 4096
MAX_VALUES = 1 << 22  # of one tag: a strip for every row of a large picture


@dataclass(frozen=True)
class Entry:
    """A tag as stored. value: its bytes where they fit (4, BigTIFF 8), else their offset."""

    kind: int
    count: int
    value: bytes


@dataclass(frozen=True)
class Directory:
    """order: "<" or ">", the byte order. big: BigTIFF. entries: by tag."""

    order: str
    big: bool
    entries: Mapping[int, Entry]

    @property
    def _formats(self) -> tuple[str, str, int]:
        """Formats of the number of entries and of an offset, and bytes of a value."""
        return ("Q", "Q", 8) if self.big else ("H", "I", 4)

    def integers(self, file: BinaryIO, tag: int, default: Sequence[int] = ()) -> tuple[int, ...]:
        """The integers of a tag. Raises ValueError: other values, or too many of them."""
        entry = self.entries.get(tag)
        if entry is None:
            return tuple(default)
        form = FORMATS.get(entry.kind)
        if form is None or not 0 < entry.count <= MAX_VALUES:
            raise ValueError(f"tag {tag} is damaged")
        data, size = entry.value, struct.calcsize(form) * entry.count
        if size > self._formats[2]:
            file.seek(struct.unpack(self.order + self._formats[1], data)[0])
            data = file.read(size)
        if len(data) < size:
            raise ValueError("cut short")
        return struct.unpack(f"{self.order}{entry.count}{form}", data[:size])


def read_directory(file: BinaryIO) -> Directory | None:
    """The first directory of a file that starts at position 0; None where it is no TIFF.

    The file's position is kept. Raises ValueError: a TIFF that is damaged.
    """
    place = file.tell()
    try:
        file.seek(0)
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 16:
            return None
        (magic,) = struct.unpack(f"{order}H", head[2:4])
        if magic not in (42, 43):
            return None
        empty = Directory(order, magic == 43, {})
        count_format, offset_format, size = empty._formats
        file.seek(struct.unpack(order + offset_format, head[8:16] if empty.big else head[4:8])[0])
        count_bytes = file.read(struct.calcsize(count_format))
        (count,) = struct.unpack(order + count_format, count_bytes)
        if count > MAX_ENTRIES:
            raise ValueError("too many tags")
        entries = {}
        for _ in range(count):
            layout = f"{order}HH{offset_format}{size}s"
            tag, *entry = struct.unpack(layout, file.read(struct.calcsize(layout)))
            entries.setdefault(tag, Entry(*entry))
        return Directory(order, empty.big, entries)
    except (struct.error, OverflowError) as error:
        raise ValueError("cut short") from error
    finally:
        file.seek(place)


def with_directory(
    data: bytes, directory: Directory, changes: Mapping[int, Sequence[int] | None]
) -> bytes:
    """The file with a changed directory appended, as its only one.

    changes: the integers of new or changed tags; None leaves a tag out.
    """
    order = directory.order
    count_format, offset_format, size = directory._formats
    entries = {k: v for k, v in directory.entries.items() if changes.get(k, v) is not None}
    parts = [data, bytes(-len(data) % 8)]
    end = sum(len(part) for part in parts)
    for tag, values in changes.items():
        if values is None:
            continue
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(packed) > size:
            parts.append(packed + bytes(-len(packed) % 8))
            packed, end = struct.pack(order + offset_format, end), end + len(parts[-1])
        entries[tag] = Entry(LONG, len(values), packed.ljust(size, b"\0"))
    listed = b"".join(
        struct.pack(f"{order}HH{offset_format}{size}s", tag, entry.kind, entry.count, entry.value)
        for tag, entry in sorted(entries.items())
    )
    place = struct.pack(order + offset_format, end)
    head = data[:8] + place if directory.big else data[:4] + place
    parts[0] = head + data[len(head) :]
    last = struct.pack(order + offset_format, 0)
    return b"".join((*parts, struct.pack(order + count_format, len(entries)), listed, last))
