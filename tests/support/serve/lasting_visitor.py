"""A visitor in a separate process that stays until it is killed: lasting_visitor.py URL."""

import asyncio
import sys

import aiohttp
import numpy as np

from tests.support.serve.visiting import SIZE, Camera, Served, Visitor


async def stay(url: str) -> None:
    async with aiohttp.ClientSession() as http:
        one = Visitor(Camera([np.full((*SIZE, 3), 60, np.uint8)]))
        assert await one.connect(Served(url, http)) == 200
        await one.wait(1)
        print("painted", flush=True)
        await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(stay(sys.argv[1]))
