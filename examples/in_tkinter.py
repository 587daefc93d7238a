"""A tkinter window: open a picture, choose a style and a strength, see it painted.

    python examples/in_tkinter.py photo.jpg

A thread paints, and `after` looks for its result, because only the main thread may use tkinter.
"""

from __future__ import annotations

import argparse
import queue
import sys
import threading
import tkinter as tk

from PIL import Image, ImageTk

from st.runtime import StError, Stylizer


class App(tk.Tk):
    def __init__(self, picture: str, save: str | None) -> None:
        super().__init__()
        self.title("st")
        self.paint = Stylizer("paintings")
        self.source = Image.open(picture).convert("RGB")
        self.source.thumbnail((960, 720))
        self.save = save  # write the first painting there and close, for scripts
        self.done: queue.Queue[Image.Image] = queue.Queue()
        self.label = tk.Label(self)
        self.label.pack()
        self.style = tk.StringVar(self, self.paint.styles[0])
        tk.OptionMenu(self, self.style, *self.paint.styles, command=self.begin).pack()
        self.strength = tk.Scale(self, from_=0, to=100, orient="horizontal", command=self.begin)
        self.strength.set(100)
        self.strength.pack(fill="x")
        self.begin()
        self.poll()

    def begin(self, _: object = None) -> None:
        choice = self.style.get(), self.strength.get() / 100
        threading.Thread(target=lambda: self.done.put(self.paint(self.source, *choice))).start()

    def poll(self) -> None:
        while not self.done.empty():
            painting = self.done.get()
            self.photo = ImageTk.PhotoImage(painting)  # tkinter keeps no reference of its own
            self.label.configure(image=self.photo)
            if self.save:
                painting.save(self.save)
                self.after_idle(self.destroy)
                return
        self.after(50, self.poll)


def main() -> None:
    parser = argparse.ArgumentParser(description="A window that paints a picture.")
    parser.add_argument("picture")
    parser.add_argument("--save", help="file to save the first painting as, and close")
    given = parser.parse_args()
    try:
        App(given.picture, given.save).mainloop()
    except (StError, OSError, tk.TclError) as error:
        sys.exit(f"{given.picture}: {error}")


if __name__ == "__main__":
    main()
