"""Sends the displayed pictures to a streaming server or program: RTMP, UDP, TCP, RTSP, SRT."""

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

CLOSING = 5.0  # seconds that the sender has to exit


def check_url(url: str) -> None:
    """Raises BadInput if the URL's scheme is not supported."""
    if "://" not in url or url.partition("://")[0].lower() not in FORMATS:
        known = ", ".join(f"{scheme}://" for scheme in FORMATS)
        raise BadInput(f"{shown_url(url)}: not a stream address; use {known}")


class StreamOutput:
    """See st.video.live.outlet.Writer. A child process encodes and sends: see stream_sender."""

    def __init__(
        self,
        url: str,
        size: tuple[int, int],
        rate: float,
        bitrate: int,
        patience: float = 10.0,
    ) -> None:
        """Connect. size: (height, width), both even. bitrate: maximum, in bits per second.
        patience: timeout for each operation of the server, in seconds.

        Raises Unavailable: the connection failed.
        """
        self._name = shown_url(url)
        self._begin: float | None = None
        self._patience = patience
        self._sender = subprocess.Popen(
            [sys.executable, "-m", "st.video.live.stream_sender"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C goes to the main process only, which then stops the sender.
            start_new_session=os.name == "posix",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        settings = {"url": url, "height": size[0], "width": size[1]}
        settings |= {"rate": rate, "bitrate": bitrate, "patience": patience}
        with contextlib.suppress(OSError):  # the sender reports its own error
            self._put(json.dumps(settings).encode() + b"\n")
        line = self._said()
        if line != CONNECTED:
            self.abandon()
            raise Unavailable(f"{self._name}: {line}")

    def write(self, picture: Picture, when: float) -> None:
        """Raises StError: the connection was lost."""
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
        """The sender's next line. Never hangs: the sender exits if the server does not respond."""
        assert self._sender.stdout is not None
        line = self._sender.stdout.readline().decode(errors="replace").strip()
        return printable(line, 120) or f"no answer for {self._patience:g} s"
