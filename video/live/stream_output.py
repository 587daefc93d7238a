"""What is shown, to a streaming server or program: RTMP, UDP, TCP, RTSP, SRT."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

from st.runtime.errors import BadInput, StError, Unavailable, printable
from st.video.live.compose import Picture
from st.video.live.stream_input import shown_url
from st.video.live.stream_sender import CONNECTED, FORMATS, STAMP

CLOSING = 5.0  # seconds that the sender gets to end


def check_url(url: str) -> None:
    """Raises BadInput unless st streams to such URLs."""
    if "://" not in url or url.partition("://")[0].lower() not in FORMATS:
        known = ", ".join(f"{scheme}://" for scheme in FORMATS)
        raise BadInput(f"-o {shown_url(url)}: st-webcam streams to {known}; films are --record")


class StreamOutput:
    """See st.video.live.outlet.Writer. A process of its own does the work: see stream_sender."""

    def __init__(
        self,
        url: str,
        size: tuple[int, int],
        rate: float,
        bitrate: int,
        patience: float = 10.0,
    ) -> None:
        """Connect. size: (width, height), both even. bitrate: the most to send, bits a second.
        patience: seconds that the server may keep us waiting.

        Raises Unavailable: nobody there.
        """
        self._name = shown_url(url)
        self._begin: float | None = None
        self._patience = patience
        self._sender = subprocess.Popen(
            [sys.executable, "-m", "st.video.live.stream_sender"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is for the show, which ends the sender.
            start_new_session=os.name == "posix",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        settings = {"url": url, "width": size[0], "height": size[1]}
        settings |= {"rate": rate, "bitrate": bitrate, "patience": patience}
        with contextlib.suppress(OSError):  # it says itself what is wrong
            self._put(json.dumps(settings).encode() + b"\n")
        line = self._said()
        if line != CONNECTED:
            self.abandon()
            raise Unavailable(f"{self._name}: {line}")

    def write(self, picture: Picture, when: float) -> None:
        """Raises StError: the connection is lost."""
        self._begin = when if self._begin is None else self._begin
        try:
            self._put(STAMP.pack(when - self._begin))
            self._put(picture.data)
        except OSError:
            raise StError(f"{self._name}: {self._said()}") from None

    def close(self, when: float) -> None:
        assert self._sender.stdin is not None
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._sender.stdin.close()
            self._sender.wait(CLOSING)
        self.abandon()

    def abandon(self) -> None:
        self._sender.kill()
        for pipe in (self._sender.stdin, self._sender.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._sender.wait()

    def _put(self, data: bytes | memoryview) -> None:
        assert self._sender.stdin is not None
        self._sender.stdin.write(data)
        self._sender.stdin.flush()

    def _said(self) -> str:
        """What the sender says next; its watch ends it when the server says nothing."""
        assert self._sender.stdout is not None
        line = self._sender.stdout.readline().decode(errors="replace").strip()
        return printable(line, 120) or f"no answer for {self._patience:g} s"
