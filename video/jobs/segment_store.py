"""Stores the finished segments of a video, so that an interrupted job can resume.

They are kept in a hidden folder beside the video until it is complete. A segment holds the encoded
packets of consecutive frames. It is written atomically.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from av.packet import Packet, PacketSideData, packet_sidedata_type_from_literal

from st.runtime.errors import BadInput, printable
from st.runtime.system.atomic_files import atomic_write
from st.runtime.system.file_names import MAX_NAME, shortened

FORMAT = 1
PLAN = "plan.json"
NONE = np.iinfo(np.int64).min  # a missing timestamp
STATE = "state "  # prefix of the array names of a segment's state
ALPHA = "matroska_block_additional"  # side data that holds the transparency of VP9


@dataclass(frozen=True)
class StoredSegment:
    """A segment on disk. last: whether it is the last one."""

    path: Path
    frames: int
    last: bool


class SegmentStore:
    """The segments of one video with one set of settings.

    done: the finished segments, in order, from the beginning of the video without a gap.
    discarded: the number of segments of another plan that `begin` removed.
    """

    def __init__(self, target: Path) -> None:
        """Create or find the folder of the segments.

        Raises BadInput: another process writes this video, or the folder of `target` is missing.
        """
        if not target.parent.is_dir():
            raise BadInput(f"{printable(target.parent)}: no such folder")
        self.folder = _folder(target)
        self.folder.mkdir(exist_ok=True)
        self._lock = _lock(self.folder, target)
        self.done: list[StoredSegment] = []
        self.discarded = 0

    def begin(self, plan: dict[str, Any], resume: bool = True) -> None:
        """Find finished segments, or start over.

        plan: everything that the coded picture depends on. Segments of another plan are removed;
            with `resume` False, all are.
        """
        wanted = json.dumps({"format": FORMAT, **plan}, sort_keys=True)
        plan_file = self.folder / PLAN
        if not (resume and plan_file.is_file() and plan_file.read_text() == wanted):
            for file in self.folder.glob("*.npz"):
                file.unlink()
                self.discarded += 1
            with atomic_write(plan_file) as part:
                part.write_text(wanted)
        self.done = list(self._found())

    @property
    def frames(self) -> int:
        return sum(segment.frames for segment in self.done)

    @property
    def whole(self) -> bool:
        """Whether all frames of the video are stored."""
        return bool(self.done) and self.done[-1].last

    def add(
        self, packets: Sequence[Packet[Any]], frames: int, last: bool, state: dict[str, Any]
    ) -> None:
        """Store a finished segment. state: arrays that the next frame depends on."""
        arrays = packets_to_arrays(packets) | {STATE + name: value for name, value in state.items()}
        self.add_arrays(arrays, frames, last)

    def add_arrays(self, arrays: dict[str, Any], frames: int, last: bool) -> None:
        """Store a segment from another process: `packets_to_arrays` of its packets."""
        path = self._path(len(self.done))
        with atomic_write(path) as beside, beside.open("wb") as file:
            np.savez(file, allow_pickle=False, frames=[frames, last], **arrays)
        self.done.append(StoredSegment(path, frames, last))

    def state(self) -> dict[str, Any]:
        """The state that `add` received with the last finished segment."""
        if not self.done:
            return {}
        with np.load(self.done[-1].path, allow_pickle=False) as file:
            return {n.removeprefix(STATE): file[n] for n in file.files if n.startswith(STATE)}

    def discard(self) -> None:
        """Remove all segments, after the video is complete."""
        self.done = []

    def close(self) -> None:
        """Release the folder, and remove it unless it holds finished segments."""
        if not self.done:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"

    def _found(self) -> Iterator[StoredSegment]:
        """Yield segments up to the first that cannot be read; the rest is removed."""
        names = sorted(self.folder.glob("[0-9]*.npz"))
        for number, path in enumerate(names):
            segment = _opened(path) if path == self._path(number) else None
            if segment is None:
                for stale in names[number:]:
                    stale.unlink(missing_ok=True)
                return
            yield segment


def stored_plan(target: Path) -> str:
    """The plan of an unfinished video as text, or "" if there is none."""
    try:
        return (_folder(target) / PLAN).read_text()
    except (OSError, ValueError):
        return ""


def _folder(target: Path) -> Path:
    return target.with_name(folder_name(target.name))


def folder_name(name: str) -> str:
    """The name of a video's folder; long names are shortened and get a digest."""
    ending = ".st-parts"
    if len(os.fsencode(name)) + len(ending) < MAX_NAME:
        return f".{name}{ending}"
    ending = f"-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}{ending}"
    return "." + shortened(name, MAX_NAME - 1 - len(ending)) + ending


def read_packets(segment: StoredSegment) -> Iterator[Packet[Any]]:
    """The packets of a segment; times in ticks of the encoder, without a time base."""
    with np.load(segment.path, allow_pickle=False) as opened:
        file: Any = opened
        data, extra = file["data"].tobytes(), file["extra"].tobytes()
        at = beside = 0
        rows = zip(file["times"], file["sizes"], file["extras"], file["keys"], strict=True)
        for (pts, dts, duration), size, more, key in rows:
            packet: Packet[Any] = Packet(data[at : at + size])
            packet.pts = None if pts == NONE else int(pts)
            packet.dts = None if dts == NONE else int(dts)
            packet.duration = int(duration)
            packet.is_keyframe = bool(key)
            if more:
                kind: Any = PacketSideData  # its stub has no arguments
                side = kind(packet_sidedata_type_from_literal(ALPHA), more)
                side.update(extra[beside : beside + more])
                packet.set_sidedata(side)
            at, beside = at + size, beside + more
            yield packet


def packets_to_arrays(packets: Sequence[Packet[Any]]) -> dict[str, Any]:
    """Packets as arrays, to be stored or sent; see `SegmentStore.add_arrays`."""
    extras = [bytes(p.get_sidedata(ALPHA)) if p.has_sidedata(ALPHA) else b"" for p in packets]
    times = [
        (NONE if p.pts is None else p.pts, NONE if p.dts is None else p.dts, p.duration or 0)
        for p in packets
    ]
    return {
        "times": np.array(times, np.int64).reshape(-1, 3),
        "sizes": np.array([p.size for p in packets], np.int64),
        "extras": np.array([len(extra) for extra in extras], np.int64),
        "keys": np.array([p.is_keyframe for p in packets], bool),
        "data": np.frombuffer(b"".join(bytes(p) for p in packets), np.uint8),
        "extra": np.frombuffer(b"".join(extras), np.uint8),
    }


def _opened(path: Path) -> StoredSegment | None:
    """None if the file is damaged, for example by a crash."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return None
        with np.load(path, allow_pickle=False) as file:
            frames, last = file["frames"]
            return StoredSegment(path, int(frames), bool(last))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
        return None


def _lock(folder: Path, target: Path) -> Any:
    """A locked file. The system releases the lock however the process ends."""
    file = (folder / "lock").open("w")
    with contextlib.suppress(ImportError):  # Windows: no lock
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise BadInput(f"{printable(target)}: another st-video is writing it") from None
    file.write(str(os.getpid()))
    file.flush()
    return file
