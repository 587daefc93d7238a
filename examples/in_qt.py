"""A Qt window that plays a painted video, with a list of styles and a strength slider.

    pip install PySide6-Essentials
    python examples/in_qt.py film.mp4

A thread of Qt's decodes and paints; its signal carries each painting to the window, which draws it
in the loop's own thread. --frames and --save end it by itself, for scripts.
"""

from __future__ import annotations

import argparse
import sys

import av
import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt, QThread, Signal
from PySide6.QtGui import QImage, QPixmap
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QSlider, QVBoxLayout, QWidget

from st.runtime import StError, Stylizer


class PaintingThread(QThread):
    painted = Signal(np.ndarray)

    def __init__(self, film: str, paint: Stylizer) -> None:
        super().__init__()
        self._film = film
        self._paint = paint

    def run(self) -> None:
        while not self.isInterruptionRequested():  # repeat the video
            with av.open(self._film) as film:
                for frame in film.decode(video=0):
                    if self.isInterruptionRequested():
                        return
                    self.painted.emit(self._paint(frame.to_ndarray(format="rgb24")))


class Window(QWidget):
    def __init__(self, film: str, paint: Stylizer, frames: int | None) -> None:
        super().__init__()
        self.setWindowTitle("st")
        self._frames = frames  # to show before it closes automatically
        self.shown = 0
        self.picture = QLabel()
        styles = QComboBox()
        styles.addItems(paint.styles)
        strength = QSlider(Qt.Orientation.Horizontal)
        strength.setRange(0, 100)
        strength.setValue(100)
        layout = QVBoxLayout(self)
        for widget in (self.picture, styles, strength):
            layout.addWidget(widget)
        # Applies from the next frame; set_style may be called from any thread.
        styles.currentTextChanged.connect(lambda style: paint.set_style(style))
        strength.valueChanged.connect(lambda value: paint.set_style(strength=value / 100))
        self._thread = PaintingThread(film, paint)
        self._thread.painted.connect(self.show_painting)
        self._thread.start()

    def show_painting(self, painting: NDArray[np.uint8]) -> None:
        if self.shown == self._frames:  # it was pending when the window closed
            return
        height, width = painting.shape[:2]
        image = QImage(painting.data, width, height, 3 * width, QImage.Format.Format_RGB888)
        self.picture.setPixmap(QPixmap.fromImage(image))  # copies the array
        self.shown += 1
        if self.shown == self._frames:
            self.close()

    def closeEvent(self, event: object) -> None:  # noqa: N802 - Qt's name
        self._thread.requestInterruption()
        self._thread.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A Qt window that plays a video painted.")
    parser.add_argument("film")
    parser.add_argument("--frames", type=int, help="close after that many")
    parser.add_argument("--save", help="picture to save the window as, at the end")
    given = parser.parse_args()

    app = QApplication([])
    window = Window(given.film, Stylizer("paintings"), given.frames)
    window.show()
    app.exec()
    if given.save:
        window.grab().save(given.save)
    print(f"{window.shown} paintings shown")


if __name__ == "__main__":
    try:
        main()
    except (StError, OSError, ValueError) as error:  # the video or picture cannot be read
        sys.exit(f"Error: {error}")
