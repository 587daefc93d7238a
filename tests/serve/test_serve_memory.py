"""A hundred visitors, one after the other, leave nothing behind."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("aiortc")
pytest.importorskip("aiohttp")

import aiohttp
from visiting import Camera, Served, visitor

import toys

MOST = 50 << 20
PICTURE = np.full((120, 160, 3), 60, np.uint8)


def resident(pid: int) -> int:
    """Bytes of memory that a process has now."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return 1024 * int(found[1])


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc")
def test_a_hundred_visits_keep_the_memory(tmp_path: Path) -> None:
    engine = toys.tint_engine(tmp_path / "tint.onnx")

    async def visit(server: Served, times: int) -> None:
        for _ in range(times):
            async with visitor(Camera([PICTURE])) as one:
                assert await one.connect(server) == 200
                await one.wait(2)
            await server.emptied(15)

    async def run() -> None:
        code = "from st.video.webcam_command import main; main()"
        arguments = ["--serve", ":0", "--engine", str(engine), "--threads", "1"]
        program = [sys.executable, "-c", code, *arguments]
        process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        try:
            url = (await process.stdout.readline()).decode().strip().rstrip("/")
            async with aiohttp.ClientSession() as http:
                server = Served(url, http)
                await visit(server, 5)
                before, before_threads = resident(process.pid), threads(process.pid)
                await visit(server, 100)
                grown = resident(process.pid) - before
                print(f"{before >> 20} MB, and {grown / 2**20:+.1f} MB after 100 visits")
                assert grown <= MOST
                assert threads(process.pid) <= before_threads + 8  # of pools that fill slowly
        finally:
            process.terminate()
            await process.wait()

    asyncio.run(run())
