"""Style codes: the output of a style encoder, which can be saved, loaded and blended."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from st.runtime.engine.metadata import MAX_CODE
from st.runtime.errors import BadInput, printable
from st.runtime.system.atomic_files import atomic_write

SUFFIX = ".npz"
MAX_FILE = 4 * MAX_CODE + 64 * 1024  # bytes: the longest code and the file's headers


@dataclass(frozen=True, eq=False)
class StyleCode:
    """A style as a vector, for engines with the same fingerprint as its encoder.

    values: (K,) float32, finite. fingerprint: of the encoder.
    """

    values: NDArray[np.float32]
    fingerprint: str

    def save(self, path: str | Path) -> None:
        """Write the code as an .npz file of plain arrays, without pickled objects.

        Raises BadInput: another suffix, or no such folder.
        """
        path = Path(path)
        if path.suffix != SUFFIX:
            raise BadInput(f"{printable(path)}: style codes are {SUFFIX} files")
        with atomic_write(path) as part, part.open("wb") as file:
            # As UTF-8 bytes, because NumPy strings lose trailing NULs.
            mark = np.frombuffer(self.fingerprint.encode(), np.uint8)
            np.savez(file, allow_pickle=False, values=self.values, fingerprint=mark)

    @classmethod
    def load(cls, path: str | Path) -> StyleCode:
        """Read a saved code. Raises BadInput: no such file, not a style code, or a damaged one."""
        name = printable(path)
        try:
            path = Path(path)
            if path.stat().st_size > MAX_FILE:
                raise BadInput(f"{name}: too large for a style code")
            if not path.is_file():
                raise BadInput(f"{name}: not a regular file")
            with zipfile.ZipFile(path) as archive:
                if len(set(archive.namelist())) != len(archive.namelist()):
                    raise BadInput(f"{name}: not a style code: two arrays have the same name")
                values = _member(archive, "values.npy", np.float32, MAX_CODE)
                mark = _member(archive, "fingerprint.npy", np.uint8, 1000)
            fingerprint = mark.tobytes().decode()
        except FileNotFoundError:
            raise BadInput(f"{name}: no such style code") from None
        except (BadInput, MemoryError):
            raise
        except Exception:  # zipfile and NumPy raise a dozen types on untrusted files
            raise BadInput(f"{name}: not a style code, or a damaged one") from None
        if not np.isfinite(values).all():
            raise BadInput(f"{name}: not a style code: some numbers are not finite")
        return cls(values, fingerprint)


def _member(archive: zipfile.ZipFile, name: str, dtype: type, most: int) -> NDArray:
    """Read a 1-D array of an .npz file. It must be stored, so it cannot exceed the file's size."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > MAX_FILE:
        raise ValueError(name)
    with archive.open(info) as file:
        return _array(file, dtype, most)


def _array(file: IO[bytes], dtype: type, most: int) -> NDArray:
    if npy.read_magic(file) != (1, 0):
        raise ValueError("version")
    shape, _, found = npy.read_array_header_1_0(file)
    if found != np.dtype(dtype) or len(shape) != 1 or not 0 <= shape[0] <= most:
        raise ValueError("header")
    data = file.read(MAX_FILE)
    if len(data) != shape[0] * found.itemsize:
        raise ValueError("length")
    return np.frombuffer(data, found)
