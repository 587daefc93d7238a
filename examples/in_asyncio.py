"""Painting from asyncio: the event loop continues while a thread paints.

    python examples/in_asyncio.py photos/*.jpg --folder painted/ --style udnie

`asyncio.to_thread` is enough, since the engine releases the GIL while it computes. A semaphore
limits the number of pictures in memory. The handlers of a web server can do the same.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import numpy as np
from PIL import Image

from st.runtime import StError, Stylizer

AT_ONCE = 2  # pictures at a time; the engine uses all processors, so more would only take memory


def paint_file(paint: Stylizer, source: Path, target: Path) -> None:
    with Image.open(source) as picture:
        frame = np.asarray(picture.convert("RGB"))
    Image.fromarray(paint(frame)).save(target)


async def paint_all(paint: Stylizer, sources: list[Path], folder: Path) -> int:
    """Paint pictures into the folder; returns the number that could be painted."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(source: Path) -> bool:
        async with slots:
            try:
                await asyncio.to_thread(paint_file, paint, source, folder / f"{source.stem}.png")
            except (StError, OSError) as error:
                print(f"{source}: {error}")
                return False
        return True

    return sum(await asyncio.gather(*(one(source) for source in sources)))


async def heartbeat() -> None:
    """Other work of the loop, which painting never blocks."""
    beats = 0
    try:
        while True:
            await asyncio.sleep(0.05)
            beats += 1
    finally:
        print(f"the loop beat {beats} times meanwhile")


async def run(paint: Stylizer, sources: list[Path], folder: Path) -> None:
    beating = asyncio.create_task(heartbeat())
    painted = await paint_all(paint, sources, folder)
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    print(f"{painted} of {len(sources)} pictures painted")


def main() -> None:
    parser = argparse.ArgumentParser(description="Paint pictures from asyncio.")
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--style", default="wave")
    given = parser.parse_args()

    given.folder.mkdir(parents=True, exist_ok=True)
    with Stylizer("paintings").set_style(given.style) as paint:
        asyncio.run(run(paint, given.pictures, given.folder))


if __name__ == "__main__":
    main()
