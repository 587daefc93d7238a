"""The keys of the live window."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from st.runtime.errors import StError, printable
from st.runtime.pictures.io import Picture as PictureFile
from st.runtime.pictures.io import write_picture
from st.runtime.system.file_names import free_name
from st.video.live.compose import COMPARES
from st.video.live.loop import Live, Meter, Shown
from st.video.live.recordings import Recordings, stamp
from st.video.live.style_state import LiveStyle
from st.video.live.window import QUIT, Window

MESSAGE_SECONDS = 3.0  # how long a message is shown
ONE_STYLE = "there is only one style"
STEP = 0.1  # change of strength or blend by one key press

HELP = (
    ("right, n / left, p", "next, previous style"),
    ("1 … 9", "style by number"),
    ("up / down", "increase, decrease the strength"),
    ("b", "blend with the next style"),
    (". / ,", "blend toward the second, the first style"),
    ("m", "mirror"),
    ("c", "compare: split picture, side by side, off"),
    ("s", "save a picture"),
    ("r", "start, stop recording"),
    ("i", "show, hide the status line"),
    ("f", "full screen"),
    ("h", "help"),
    ("q, escape", "quit; in full screen, escape leaves full screen first"),
)
_NAMES = {
    "n": "right",
    "p": "left",
    "+": "up",
    "-": "down",
    "]": ".",
    "[": ",",
    "?": "h",
    "f1": "h",
    "f11": "f",
    QUIT: "q",
}


class LiveController:
    """Connects the window to the live loop: shows pictures with text, and handles keys."""

    def __init__(
        self,
        window: Window,
        live: Live,
        style: LiveStyle,
        meter: Meter,
        recordings: Recordings,
        folder: Path,
    ) -> None:
        """folder: where pictures are saved."""
        self._window, self._live, self._style, self._meter = window, live, style, meter
        self._recordings, self._folder = recordings, folder
        self._figures, self._help = True, False
        self._said, self._until = "press h for the keys", time.monotonic() + MESSAGE_SECONDS
        self._last: Shown | None = None
        self._quit = False
        self._keys: dict[str, Callable[[], None]] = {
            "right": lambda: self._step(1),
            "left": lambda: self._step(-1),
            "up": lambda: style.set_strength(style.strength + STEP),
            "down": lambda: style.set_strength(style.strength - STEP),
            "b": lambda: self._blend(style.next_second),
            ".": lambda: self._blend(lambda: style.set_blend(style.blend + STEP)),
            ",": lambda: self._blend(lambda: style.set_blend(style.blend - STEP)),
            "m": self._mirror,
            "c": self._compare,
            "s": self._snapshot,
            "r": self._record,
            "i": self._switch_figures,
            "f": window.switch_full_screen,
            "h": self._switch_help,
            "escape": self._escape,
            "q": self._leave,
        }

    def show(self, shown: Shown | None) -> bool:
        """Draw and handle keys. Returns False to end. See `st.video.live.loop.follow`."""
        for key in self._window.pressed():
            self.press(key)
        self._last = shown or self._last
        self._window.show(
            shown.picture if shown else None, self.lines(), HELP if self._help else ()
        )
        return not self._quit

    def press(self, key: str) -> None:
        """Handle a key, by its name as `Window.pressed` returns it."""
        if key in "123456789":
            count = len(self._style.choices)
            if int(key) <= count:
                self._style.choose(int(key) - 1)
            else:
                self.say(f"there is no style {key}, only {count}" if count else ONE_STYLE)
        elif action := self._keys.get(_NAMES.get(key, key)):
            action()
        else:
            self.say(f"the key {printable(key, 20)} does nothing: press h for the keys")

    def lines(self) -> list[str]:
        """The text over the picture."""
        lines = []
        if time.monotonic() < self._until:
            lines.append(self._said)
        if trouble := self._live.trouble:
            lines.append(trouble)
        lines += [outlet.trouble for outlet in self._live.outlets if outlet.trouble]
        if self._figures:
            height, width = self._live.painter.size
            delay = 1000 * self._meter.delay(last=30)
            recording = "REC   " if self._recordings.running else ""
            lines.append(f"{recording}{self._style.label}")
            lines.append(
                f"{self._meter.rate:.1f} frames/s   delay {delay:.0f} ms   "
                f"painted at {width}×{height}"
            )
        return lines

    def say(self, line: str) -> None:
        self._said, self._until = line, time.monotonic() + MESSAGE_SECONDS

    def _step(self, by: int) -> None:
        if len(self._style.choices) < 2:
            self.say(ONE_STYLE)
        self._style.step(by)

    def _blend(self, change: Callable[[], None]) -> None:
        if not self._style.blends:
            self.say("the styles of this engine cannot be blended")
        elif len(self._style.choices) < 2:
            self.say("there is only one style: nothing to blend it with")
        change()

    def _mirror(self) -> None:
        self._live.mirror = not self._live.mirror

    def _compare(self) -> None:
        self._live.compare = COMPARES[(COMPARES.index(self._live.compare) + 1) % len(COMPARES)]

    def _switch_figures(self) -> None:
        self._figures = not self._figures

    def _switch_help(self) -> None:
        self._help = not self._help

    def _escape(self) -> None:
        if self._window.full_screen:
            self._window.switch_full_screen()
        else:
            self._leave()

    def _leave(self) -> None:
        self._quit = True

    def _snapshot(self) -> None:
        if self._last is None:
            return
        picture = self._last.picture
        path = free_name(self._folder / f"{stamp()}.png", Path.exists)

        def write() -> None:
            try:
                write_picture(PictureFile(picture), path)
                self.say(f"saved {printable(path)}")
            except StError as error:
                self.say(str(error))

        threading.Thread(target=write, name="snapshot").start()

    def _record(self) -> None:
        try:
            recordings = self._recordings
            self.say(recordings.stop() if recordings.running else recordings.start())
        except (StError, OSError) as error:
            self.say(str(error))
