"""onnxruntime-web from its npm package: downloaded once, verified and cached."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from st.runtime.errors import StError, Unavailable, printable
from st.runtime.system.atomic_files import atomic_write, cache_folder

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
TARBALL = f"{PACKAGE}-{VERSION}.tgz"
FETCHING = 300  # seconds to download a package

# File names on the page. The package's scripts end in .mjs, which some servers send with a MIME
# type that browsers reject, so they are renamed to .js.
BUILDS = (
    ("ort.wasm.min.js", "ort-wasm-simd-threaded.js", "ort-wasm-simd-threaded.wasm"),
    (
        "ort.webgpu.min.js",
        "ort-wasm-simd-threaded.asyncify.js",
        "ort-wasm-simd-threaded.asyncify.wasm",
    ),
)
FILES = {f"package/dist/{name}".replace(".js", ".mjs"): name for name in sum(BUILDS, ())}


def unpack_ort_web(folder: Path) -> None:
    """Write the onnxruntime-web files that the page needs into `folder`.

    Raises:
        Unavailable: the package is not cached, and npm or the network is missing.
        StError: the downloaded package has an unexpected SHA-256.
    """
    with tarfile.open(tarball(), "r|gz") as package:  # in archive order: one pass
        for member in package:
            name = FILES.get(member.name)
            if name and (file := package.extractfile(member)):
                with (folder / name).open("wb") as copy:
                    shutil.copyfileobj(file, copy)


def tarball() -> Path:
    """Path of the cached package, downloaded by npm if necessary. Raises: see `unpack_ort_web`."""
    kept = cache_folder() / TARBALL
    if kept.is_file() and _sha256(kept) == SHA256:
        return kept
    try:
        with tempfile.TemporaryDirectory() as folder:
            fetched = fetch(PACKAGE, VERSION, SHA256, Path(folder))
            with atomic_write(kept) as part:
                shutil.copyfile(fetched, part)
    except MissingNpm as error:
        raise Unavailable(
            f"{error}: install Node.js, or put {TARBALL} from npm into {printable(kept.parent)}"
        ) from None
    return kept


class MissingNpm(Unavailable):
    """npm is not installed."""


def fetch(package: str, version: str, sha256: str, folder: Path) -> Path:
    """Download a package's archive into `folder` with npm, and verify it.

    Raises:
        MissingNpm: npm is not installed. Unavailable: npm cannot download it, or takes too long.
        StError: it has another SHA-256.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise MissingNpm(f"npm is not here; it downloads {package} once")
    words = [npm, "pack", f"{package}@{version}", "--pack-destination", str(folder), "--silent"]
    try:
        run = subprocess.run(words, capture_output=True, text=True, timeout=FETCHING, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"npm did not fetch {package} in {FETCHING} s: try again") from None
    fetched = folder / f"{package}-{version}.tgz"
    if run.returncode or not fetched.is_file():
        raise Unavailable(
            f"npm could not fetch {package}@{version}: is there a network? "
            f"`npm pack {package}@{version}` shows the reason"
        )
    if _sha256(fetched) != sha256:
        raise StError(f"npm gave another {fetched.name} than SHA-256 {sha256}: refused")
    return fetched


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
