"""Several processes, each with its own engine, and what happens to an engine at a fork.

    python examples/in_processes.py photos/*.jpg --folder painted/ --workers 2

An engine's threads do not survive a fork. A Stylizer opened before one raises a clear StError in
the child; so open it there: in a pool's initializer, a web server's post_fork hook, a data loader's
worker_init_fn. Any start method will do; "spawn" is the one that works on every system.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from st.runtime import StError, Stylizer

paint: Stylizer  # each worker's own


def open_engine(style: str, threads: int) -> None:
    """Runs once in each new process."""
    global paint
    paint = Stylizer("paintings", threads=threads).set_style(style)


def paint_file(source: Path, target: Path) -> str:
    with Image.open(source) as picture:
        frame = np.asarray(picture.convert("RGB"))
    Image.fromarray(paint(frame)).save(target)
    return f"{source.name} painted by a process of its own, {os.getpid()}"


def show_what_a_fork_does(opened: Stylizer) -> None:
    """In the child process, the inherited engine raises an error, and a new one works."""
    frame = np.zeros((32, 32, 3), np.uint8)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        opened(frame)
    except StError as error:
        print(f"after a fork: {error}", flush=True)
    with Stylizer("paintings") as new:
        print(f"and then: a new one paints {new(frame).shape}", flush=True)
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Paint pictures in many processes.")
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--style", default="wave")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()

    given.folder.mkdir(parents=True, exist_ok=True)
    threads = max(
        1, (os.cpu_count() or 1) // given.workers
    )  # divide the threads among the processes
    work = [(source, given.folder / f"{source.stem}.png") for source in given.pictures]
    context = multiprocessing.get_context("spawn")
    with context.Pool(given.workers, open_engine, (given.style, threads)) as pool:
        for line in pool.starmap(paint_file, work):
            print(line)
    if hasattr(os, "fork"):
        show_what_a_fork_does(Stylizer("paintings"))


if __name__ == "__main__":
    try:
        main()
    except (StError, OSError, ValueError) as error:  # the video or picture cannot be read
        sys.exit(f"Error: {error}")
