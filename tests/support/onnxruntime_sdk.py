"""ONNX Runtime's C++ headers and Java classes, for the programs of docs/engine-format.md.

PyPI's wheels have the library alone. The headers are those of the system, where it has them, else
of an npm package of ONNX Runtime for Unity, which has the official files of all platforms.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from st.export.web.npm_package import fetch
from st.runtime.system.atomic_files import cache_folder

PACKAGE, VERSION = "com.github.asus4.onnxruntime", "0.4.9"
SHA256 = "e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d"
HEADERS = "/ios-arm64/onnxruntime.framework/Headers/"
ANDROID = "package/Plugins/Android/onnxruntime.aar"
SYSTEM = Path("/usr/include/onnxruntime")


class Sdk(NamedTuple):
    """include: the folder of onnxruntime_cxx_api.h. classes: the jar with ai.onnxruntime."""

    include: Path
    classes: Path


def include_folder() -> Path:
    """The headers' folder. Raises Unavailable: the system has none, and npm cannot fetch them."""
    given = os.environ.get("ORT_INCLUDE")
    places = [Path(given)] if given else [SYSTEM]
    for place in places:
        if (place / "onnxruntime_cxx_api.h").is_file():
            return place
    return sdk().include


def sdk() -> Sdk:
    """The unpacked files (2 MB), fetched once for each user. Raises Unavailable: see `fetch`."""
    kept = cache_folder() / f"onnxruntime-sdk-{VERSION}"
    found = Sdk(kept / "include", kept / "classes.jar")
    if kept.is_dir():
        return found
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        package = fetch(PACKAGE, VERSION, SHA256, Path(folder))
        new = Path(folder, "new")
        (new / "include").mkdir(parents=True)
        _unpack(package, new)
        try:
            new.rename(kept)
        except OSError:  # another process was faster
            if not kept.is_dir():
                raise
    return found


def _unpack(package: Path, folder: Path) -> None:
    with tarfile.open(package, "r|gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is None:
                continue
            if HEADERS in member.name and member.name.endswith(".h"):
                with (folder / "include" / Path(member.name).name).open("wb") as copy:
                    shutil.copyfileobj(file, copy)
            elif member.name == ANDROID:
                with zipfile.ZipFile(io.BytesIO(file.read())) as android:
                    (folder / "classes.jar").write_bytes(android.read("classes.jar"))
