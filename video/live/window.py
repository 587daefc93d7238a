"""A window through SDL: the picture, lines of text over it, and the keys that were pressed."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from st.runtime.errors import MissingExtra, Unavailable, printable
from st.video.live.compose import Picture, scaled

QUIT = "quit"  # what `keys` gives for a window that was closed
MIN_WIDTH = 960  # pixels, at the start: text on a smaller window cannot be read
MAX_SIZE = (1600, 900)  # at the start
PART = 0.9  # of the screen that a window takes at most, at the start
TEXT, SHADE, OPAQUE = (255, 255, 255), (0, 0, 0, 150), (16, 20, 24, 255)
MARGIN = 8  # pixels around text
MIN_TEXT, MAX_TEXT = 16, 48  # pixels
MODIFIERS = ("shift", "ctrl", "alt", "meta", "super", "lock", "mode", "compose")

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")  # Ctrl-C and SIGTERM are ours


class Window:
    """One window, for the main thread."""

    def __init__(self, title: str, size: tuple[int, int], full_screen: bool = False) -> None:
        """size: (width, height) of the pictures to come.

        Raises:
            MissingExtra: pygame is not installed. Unavailable: there is no screen.
        """
        try:
            import pygame
        except ImportError:
            raise MissingExtra("a window", "live") from None
        self._pygame = pygame
        try:
            if _no_display():  # SDL would quietly draw to nowhere
                raise pygame.error("no display")
            with _quiet_stderr():
                pygame.display.init()
                pygame.font.init()
                self._windowed = first_size(size, pygame.display.get_desktop_sizes()[0])
                self.full_screen, self._title = full_screen, title
                self._screen = self._opened()
        except pygame.error as error:
            pygame.quit()
            raise _no_screen(error) from None
        self._fonts: dict[int, Any] = {}
        self._picture: Picture | None = None
        self._text: object = None  # what is written; None to draw anew

    def _opened(self) -> Any:
        pygame = self._pygame
        if self.full_screen:
            screen = pygame.display.set_mode((0, 0), pygame.FULLSCREEN)
        else:
            screen = pygame.display.set_mode(self._windowed, pygame.RESIZABLE)
        pygame.display.set_caption(self._title)
        pygame.mouse.set_visible(not self.full_screen)
        pygame.key.set_repeat(400, 80)
        with contextlib.suppress(pygame.error):  # without a window manager nobody else gives it
            pygame.Window.from_display_module().focus()
        return screen

    def pressed(self) -> list[str]:
        """Names of the keys that were pressed since the last call: a character, or what pygame
        calls it ("left", "escape", "f11"); QUIT when the window was closed."""
        pressed = []
        for event in self._pygame.event.get():
            if event.type == self._pygame.QUIT:
                pressed.append(QUIT)
            elif event.type == self._pygame.VIDEORESIZE and not self.full_screen:
                self._windowed = event.w, event.h
                self._text = None
            elif event.type == self._pygame.VIDEOEXPOSE:
                self._text = None
            elif event.type == self._pygame.KEYDOWN:
                typed = event.unicode
                shown = typed and typed.isprintable() and not typed.isspace()
                name = typed if shown else self._pygame.key.name(event.key)
                if name and not any(word in name for word in MODIFIERS if not shown):
                    pressed.append(name)
        return pressed

    def switch_full_screen(self) -> None:
        self._text = None
        self.full_screen = not self.full_screen
        # A new window, since one that only grows may keep its place.
        with _quiet_stderr():
            self._pygame.display.quit()
            self._pygame.display.init()
            self._screen = self._opened()

    def show(
        self,
        picture: Picture | None,
        lines: Sequence[str],
        help: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Draw a picture, or the last one again, with lines of text at the bottom.

        help: (keys, what they do), in a box in the middle. Without a change nothing is drawn.
        """
        text = (tuple(lines), tuple(help))
        if picture is None and text == self._text:
            return
        self._text = text
        self._picture = self._picture if picture is None else picture
        self._screen.fill((0, 0, 0))
        if self._picture is not None:
            self._draw(self._picture)
        width, height = self._screen.get_size()
        if lines:
            panel = self._panel([(line,) for line in lines])
            self._screen.blit(panel, (MARGIN, height - panel.get_height() - MARGIN))
        if help:
            panel = self._panel(help, OPAQUE)
            left, top = (width - panel.get_width()) // 2, (height - panel.get_height()) // 2
            self._screen.blit(panel, (left, top))
        self._pygame.display.flip()

    def close(self) -> None:
        self._pygame.quit()

    def _draw(self, picture: Picture) -> None:
        """The whole picture, in the middle."""
        width, height = self._screen.get_size()
        of = picture.shape[1], picture.shape[0]
        scale = min(width / of[0], height / of[1])
        inner = max(1, round(of[0] * scale)), max(1, round(of[1] * scale))
        surface = self._pygame.image.frombuffer(scaled(picture, inner).data, inner, "RGB")
        self._screen.blit(surface, ((width - inner[0]) // 2, (height - inner[1]) // 2))

    def _panel(self, rows: Sequence[tuple[str, ...]], ground: tuple[int, ...] = SHADE) -> Any:
        """Text in columns; its size follows the window's."""
        width, height = self._screen.get_size()
        size = max(MIN_TEXT, min(MAX_TEXT, height // 28))
        size = max(10, min(size, height // (len(rows) + 2)))
        while True:
            font = self._font(size)
            cells = [[font.render(printable(t, 160), True, TEXT) for t in row] for row in rows]
            widths = [max(c.get_width() for c in column) for column in zip(*cells, strict=True)]
            gap, line = font.get_linesize() // 2, font.get_linesize()
            box = sum(widths) + gap * (len(widths) + 1), len(rows) * line + gap
            if box[0] <= width - 2 * MARGIN or size <= 10:
                break
            size -= 1
        panel = self._pygame.Surface(box, self._pygame.SRCALPHA)
        panel.fill(ground)
        for number, row in enumerate(cells):
            left = gap
            for text, column in zip(row, widths, strict=True):
                panel.blit(text, (left, gap // 2 + number * line))
                left += column + gap
        return panel

    def _font(self, size: int) -> Any:
        if size not in self._fonts:
            self._fonts[size] = self._pygame.font.Font(None, round(size * 1.3))
        return self._fonts[size]


def first_size(size: tuple[int, int], screen: tuple[int, int]) -> tuple[int, int]:
    """(width, height) to open a window with, for pictures and a screen of these sizes."""
    most = [min(limit, PART * side) for limit, side in zip(MAX_SIZE, screen, strict=True)]
    scale = max(1.0, MIN_WIDTH / size[0])
    scale = min(scale, most[0] / size[0], most[1] / size[1])
    width = min(round(most[0]), MIN_WIDTH)  # a tall picture gets bars at its sides
    return max(width, round(size[0] * scale)), max(120, round(size[1] * scale))


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hide what SDL's libraries write to standard error, such as on a missing XDG_RUNTIME_DIR."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _no_display() -> bool:
    named = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    return sys.platform.startswith("linux") and not any(os.environ.get(name) for name in named)


def _no_screen(error: Exception) -> Unavailable:
    why = "DISPLAY is not set" if _no_display() else printable(error, 80)
    return Unavailable(f"no window can be opened here ({why}): play without one")
