"""Output to a virtual camera, which other programs can select."""

from __future__ import annotations

import sys
from typing import Any

from st.runtime.errors import MissingExtra, Unavailable, printable
from st.video.live.compose import Picture

_HELP = {
    "linux": "load v4l2loopback: sudo modprobe v4l2loopback exclusive_caps=1",
    "win32": "install OBS, which brings one",
    "darwin": "install OBS, start it, and start its virtual camera once",
}


class VirtualCamera:
    """See st.video.live.outlet.Writer. Sends each picture at once, at no fixed rate."""

    def __init__(self, size: tuple[int, int], rate: float) -> None:
        """size: (height, width), both even.

        Raises:
            MissingExtra: pyvirtualcam is not installed.
            Unavailable: this machine has no virtual camera device.
        """
        try:
            import pyvirtualcam
        except ImportError:
            raise MissingExtra("a virtual camera", "live") from None
        try:
            self._camera: Any = pyvirtualcam.Camera(size[1], size[0], rate)
        except RuntimeError as error:
            help_here = _HELP.get(sys.platform, "install one that pyvirtualcam knows")
            why = printable(error, 120).partition(". ")[0]
            raise Unavailable(f"no virtual camera here, {help_here} ({why})") from None
        self.device = printable(self._camera.device)

    def write(self, picture: Picture, when: float) -> None:
        self._camera.send(picture)

    def close(self, when: float) -> None:
        self._camera.close()

    def abandon(self) -> None:
        self._camera.close()
