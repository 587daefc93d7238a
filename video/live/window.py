"""An SDL window: shows a picture with lines of text over it, and reports pressed keys."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from st.runtime.errors import MissingExtra, Unavailable, printable
from st.video.live.compose import Picture, scaled

QUIT = "quit"  # reported by `pressed` when the window was closed
MIN_WIDTH = 960  # pixels of a new window: text on a smaller one cannot be read
MAX_SIZE = (900, 1600)  # (height, width) of a new window
SCREEN_FRACTION = 0.9  # of the screen's height and width, the maximum for a new window
TEXT, SHADE, OPAQUE = (255, 255, 255), (0, 0, 0, 150), (16, 20, 24, 255)
MARGIN = 8  # pixels around text
MIN_TEXT, MAX_TEXT = 16, 48  # pixels
MODIFIERS = ("shift", "ctrl", "alt", "meta", "super", "lock", "mode", "compose")

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")  # Ctrl-C and SIGTERM are ours


class Window:
    """A window. Use it from the main thread only."""

    def __init__(self, title: str, size: tuple[int, int], full_screen: bool = False) -> None:
        """size: (height, width) of the pictures.

        Raises:
            MissingExtra: pygame is not installed. Unavailable: there is no screen.
        """
        try:
            import pygame
        except ImportError:
            raise MissingExtra("a window", "live") from None
        self._pygame = pygame
        try:
            if _no_display():  # SDL would discard the drawing without an error
                raise pygame.error("no display")
            with _quiet_stderr():
                pygame.display.init()
                pygame.font.init()
                width, height = pygame.display.get_desktop_sizes()[0]
                self._windowed = first_size(size, (height, width))
                self.full_screen, self._title = full_screen, title
                self._screen = self._opened()
        except pygame.error as error:
            pygame.quit()
            raise _no_screen(error) from None
        self._fonts: dict[int, Any] = {}
        self._picture: Picture | None = None
        self._text: object = None  # the text on the screen; None forces a redraw

    def _opened(self) -> Any:
        pygame = self._pygame
        if self.full_screen:
            screen = pygame.display.set_mode((0, 0), pygame.FULLSCREEN)
        else:
            screen = pygame.display.set_mode(self._windowed[::-1], pygame.RESIZABLE)
        pygame.display.set_caption(self._title)
        pygame.mouse.set_visible(not self.full_screen)
        pygame.key.set_repeat(400, 80)
        with contextlib.suppress(pygame.error):  # no window manager sets the focus
            pygame.Window.from_display_module().focus()
        return screen

    def pressed(self) -> list[str]:
        """Names of the keys that were pressed since the last call: a character, or
        pygame's name ("left", "escape", "f11"); QUIT if the window was closed."""
        pressed = []
        for event in self._pygame.event.get():
            if event.type == self._pygame.QUIT:
                pressed.append(QUIT)
            elif event.type == self._pygame.VIDEORESIZE and not self.full_screen:
                self._windowed = event.h, event.w
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
        # Open a new window: a resized one may keep its position.
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

        help: (keys, effect) rows, shown in a box in the middle. Draws only if something changed.
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
        """Draw the whole picture, centered."""
        width, height = self._screen.get_size()
        scale = min(height / picture.shape[0], width / picture.shape[1])
        inner = max(1, round(picture.shape[0] * scale)), max(1, round(picture.shape[1] * scale))
        surface = self._pygame.image.frombuffer(scaled(picture, inner).data, inner[::-1], "RGB")
        self._screen.blit(surface, ((width - inner[1]) // 2, (height - inner[0]) // 2))

    def _panel(self, rows: Sequence[tuple[str, ...]], ground: tuple[int, ...] = SHADE) -> Any:
        """A panel of text in columns; the font size depends on the window's size."""
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
    """(height, width) of a new window for pictures of `size` on a screen, both (height, width)."""
    most = [min(m, SCREEN_FRACTION * side) for m, side in zip(MAX_SIZE, screen, strict=True)]
    scale = max(1.0, MIN_WIDTH / size[1])
    scale = min(scale, most[0] / size[0], most[1] / size[1])
    width = min(round(most[1]), MIN_WIDTH)  # a tall picture gets bars at its sides
    return max(120, round(size[0] * scale)), max(width, round(size[1] * scale))


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hide messages of SDL's libraries on standard error, such as a missing XDG_RUNTIME_DIR."""
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
    return Unavailable(f"cannot open a window ({why}); play without one")
