"""Bounded queues: the slot for the newest frame, and the limit on aiortc's decoder queue."""

from __future__ import annotations

import asyncio
import threading

import pytest

pytest.importorskip("aiortc")

from aiortc import RTCPeerConnection

from st.video.live.latest import ClosedError, LatestSlot
from st.video.serve.backlog import WAITING, Backlog, bound_backlog


def test_a_newer_frame_replaces_a_waiting_one() -> None:
    async def run() -> None:
        place: LatestSlot[int] = LatestSlot()
        for number in range(5):
            place.put(number)
        assert await place.get() == 4
        assert place.replaced == 4
        waiting = asyncio.create_task(place.get())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        place.put(7)
        assert await waiting == 7

    asyncio.run(run())


def test_closing_the_slot_ends_the_waiting() -> None:
    async def run() -> None:
        place: LatestSlot[int] = LatestSlot()
        waiting = asyncio.create_task(place.get())
        await asyncio.sleep(0.01)
        place.close()
        with pytest.raises(ClosedError):
            await waiting
        place.put(1)
        with pytest.raises(ClosedError):
            await place.get()

    asyncio.run(run())


def test_undecoded_frames_are_dropped_together_and_a_keyframe_is_requested() -> None:
    damaged = threading.Event()
    frames = Backlog(damaged, most=4)
    for number in range(4):
        frames.put(number)
    assert not damaged.is_set()
    frames.put(4)
    assert damaged.is_set()
    assert frames.get_nowait() == 4
    assert frames.dropped == 4
    for number in range(4):
        frames.put(number)
    frames.put(None)  # the end marker is never dropped and drops no frames
    assert [frames.get_nowait() for _ in range(5)] == [0, 1, 2, 3, None]


def test_aiortc_accepts_the_bounded_queue() -> None:
    """aiortc has no setting for this: the test fails if a release renames the private queue."""

    async def run() -> None:
        peer = RTCPeerConnection()
        receiver = peer.addTransceiver("video").receiver
        bound_backlog(receiver)
        replaced = vars(receiver)["_RTCRtpReceiver__decoder_queue"]
        assert isinstance(replaced, Backlog)
        error = vars(receiver)["_RTCRtpReceiver__decoder_error"]
        for number in range(WAITING + 1):
            replaced.put(number)
        assert error.is_set()
        await peer.close()

    asyncio.run(run())
