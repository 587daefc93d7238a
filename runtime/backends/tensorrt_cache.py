"""The runtime cache of TensorRT-RTX: kernels that it compiles when an engine first runs."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from pathlib import Path
from typing import Any

from st.runtime.engine.trt_file import Build
from st.runtime.errors import StError
from st.runtime.system.atomic_files import atomic_write, cache_folder

MAX_FILE = 1 << 30  # bytes


class RuntimeCache:
    """The compiled kernels of one engine, in memory and in a file in the cache folder.

    A file that TensorRT-RTX rejects (another GPU, driver or library) is replaced. Without a
    writable folder no file is written, and the first frame is slow at every start.
    """

    def __init__(self, config: Any, build: Build) -> None:
        """config: the IRuntimeConfig to attach the cache to."""
        self._cache = config.create_runtime_cache()
        self._lock = threading.Lock()
        self._written = ""
        self._file: Path | None = None
        with contextlib.suppress(OSError):
            self._file = cache_file(build)
        self._load()
        config.set_runtime_cache(self._cache)

    def _load(self) -> None:
        with contextlib.suppress(OSError):
            if self._file is not None and self._file.stat().st_size <= MAX_FILE:
                data = self._file.read_bytes()
                if data and self._cache.deserialize(data):
                    self._written = hashlib.sha256(data).hexdigest()

    def save(self) -> None:
        """Write the cache file if kernels have been compiled since the last write."""
        with self._lock:
            serialized = self._cache.serialize() if self._file is not None else None
            data = bytes(serialized) if serialized is not None else b""
            digest = hashlib.sha256(data).hexdigest()
            if not data or digest == self._written or self._file is None:
                return
            with contextlib.suppress(OSError, StError):
                with atomic_write(self._file) as part:
                    part.write_bytes(data)
                self._written = digest


def cache_file(build: Build) -> Path:
    """The path of the cache file, named by the engine's hash and the library's version."""
    return cache_folder() / f"{build.sha256[:32]}-{build.version}.rtx-cache"
