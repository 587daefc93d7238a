"""Writes a static web page that runs an engine in the visitor's browser.

The page (export/web/page/) reads engine.json, which includes the engine's metadata, and runs the
engine with onnxruntime-web. It uploads nothing and makes no requests to other hosts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st.export.web.npm_package import BUILDS, unpack_ort_web
from st.runtime import Stylizer
from st.runtime.backends.open import open_engine
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.onnx_file import node_ports
from st.runtime.engine.style_code import SUFFIX, StyleCode
from st.runtime.errors import BadEngine, BadInput, printable
from st.runtime.style_encoder import check_encoder
from st.runtime.system.atomic_files import atomic_folder
from st.runtime.web.files import page_html, shared_files
from st.runtime.web.previews import style_preview

PAGE = Path(__file__).parent / "page"
FED = {"content", "weights", "code", "strength"}  # engine inputs that the page supports
MARK, HTML = "engine.json", "index.html"
PORTS = 8  # storage buffers per shader that WebGPU guarantees; ONNX Runtime fails beyond that
MAX_PREVIEWS = 64
LARGE = 8_000_000  # bytes; a larger engine loads slowly on a phone


@dataclass(frozen=True)
class Site:
    """A written page and its sizes, in bytes.

    total: all files in `folder`.
    engine: loaded with the page.
    encoder: loaded when the visitor adds a style picture; 0 if the page has none.
    builds: onnxruntime-web without and with WebGPU; a visitor loads one of the two.
    """

    folder: Path
    total: int
    engine: int
    encoder: int
    builds: tuple[int, int]


class BadStyle(BadInput):
    """A style that the page cannot offer."""


def write_site(engine: Path, folder: Path, styles: Sequence[str | Path] = ()) -> Site:
    """Write the page of an .onnx engine into `folder`. On an error, `folder` is left unchanged.

    engine: path of the engine; its file name is the page's title.
    styles: pictures or saved style codes (.npz) to offer, for engines that take style codes.

    Raises:
        BadInput: the engine is missing, or `folder` contains other files.
        BadStyle: a style is missing or damaged, or the engine takes none.
        BadEngine: not a valid engine, or it has inputs that the page does not support.
        Unavailable: onnxruntime-web could not be downloaded.
    """
    if engine.suffix != ".onnx":
        raise BadEngine(f"{printable(engine)}: the page needs an .onnx engine")
    with Stylizer(engine, device="cpu") as opened:  # never publish an engine that does not run
        metadata = opened.metadata
        check_inputs(metadata.inputs, engine)
        codes = _codes(opened, styles)
        trial = _trial(opened)
        previews = _previews(opened, codes)
    encoder = engine.with_suffix(".encoder.onnx")
    encoders = _encoder(encoder, metadata) if metadata.code_size and encoder.is_file() else None
    if metadata.code_size and not encoders and not codes:
        raise BadInput(
            f"{printable(engine)}: paints by style codes; put {printable(encoder.name)} beside it "
            "so that visitors can add style pictures, or offer styles of your own"
        )
    with atomic_folder(folder, lambda there: (there / MARK).is_file()) as new:
        shutil.copytree(PAGE, new, dirs_exist_ok=True)
        (new / HTML).write_text(page_html(PAGE / HTML), encoding="utf-8")
        for name, path in shared_files().items():
            shutil.copyfile(path, new / name)
        (new / "styles").mkdir()
        for number, data in enumerate(previews):
            (new / "styles" / f"{number}.jpg").write_bytes(data)
        (new / "ort").mkdir()
        unpack_ort_web(new / "ort")
        shutil.copyfile(engine, new / "engine.onnx")
        if encoders:
            shutil.copyfile(encoder, new / "encoder.onnx")
        about = {
            "name": engine.stem,
            "engine": "engine.onnx",
            "metadata": _plain(metadata),
            "on_processor": _too_wide(new / "engine.onnx"),
            "trial": trial,
            "encoder": "encoder.onnx" if encoders else None,
            "encoder_metadata": _plain(encoders) if encoders else None,
            "encoder_on_processor": _too_wide(new / "encoder.onnx") if encoders else [],
            "codes": codes,
            "previews": len(previews),
            "digests": _digests(new),
            "bytes": _sizes(new),
        }
        (new / MARK).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        return _measured(new, folder)


def check_inputs(inputs: Collection[str], model: Path) -> None:
    """Raises BadEngine: an engine of `model` has inputs that the page does not support."""
    if strange := set(inputs) - FED:
        raise BadEngine(
            f"{printable(model)}: needs {', '.join(sorted(strange))}, which the page cannot give"
        )


def _encoder(path: Path, engine: Metadata) -> Metadata:
    backend = open_engine(path, "cpu", kind="style-encoder")
    backend.close()
    try:
        check_encoder(backend.metadata, engine)
    except BadEngine as error:
        raise BadEngine(f"{printable(path)}: {error}") from None
    return backend.metadata


def _codes(opened: Stylizer, styles: Sequence[str | Path]) -> list[dict[str, str]]:
    if styles and not opened.metadata.code_size:
        raise BadStyle("this engine paints its own styles only")
    codes = []
    for style in styles:
        path = Path(style)
        try:
            code = StyleCode.load(path) if path.suffix == SUFFIX else opened.encode_style(path)
            opened.set_style(code)  # raises if the code belongs to another engine
        except BadInput as error:
            raise BadStyle(str(error)) from None
        codes.append({"name": path.stem, "values": _base64(np.asarray(code.values, "<f4"))})
    return codes


def _previews(opened: Stylizer, codes: Sequence[Mapping[str, str]]) -> list[bytes]:
    """JPEG previews of the first MAX_PREVIEWS styles."""
    if opened.metadata.code_size:
        mark = opened.metadata.fingerprint
        values = [np.frombuffer(base64.b64decode(code["values"]), "<f4") for code in codes]
        styles: list[Any] = [StyleCode(value.astype(np.float32), mark) for value in values]
    else:
        styles = list(opened.styles)
    return [style_preview(opened, {style: 1.0}) for style in styles[:MAX_PREVIEWS]]


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 prefixes of the large files. The page adds them to URLs, for caching."""
    files = (path for kind in ("*.onnx", "ort/*") for path in folder.glob(kind))
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for path in sorted(files)
    }


def _trial(opened: Stylizer) -> dict[str, Any]:
    """A reference result. The page compares its own with it to detect graphics driver bugs."""
    height, width = opened.metadata.fixed_size or (45, 61)
    at = np.arange(height * width * 3)
    picture = (at // 3 % width * 3 + at // (3 * width) * 2 + at % 3 * 40 + at % 7 * 4) % 256
    paint = opened.styled()
    if opened.metadata.code_size:
        values = np.full(opened.metadata.code_size, 0.5, np.float32)
        paint.set_style(StyleCode(values, opened.metadata.fingerprint))
    painted = paint(picture.astype(np.uint8).reshape(height, width, 3))
    return {"height": height, "width": width, "painted": _base64(painted)}


def _too_wide(engine: Path) -> list[str]:
    """Names of nodes that must run on the CPU when the rest runs on WebGPU."""
    return [name for name, ports in node_ports(engine.read_bytes()).items() if ports > PORTS]


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _plain(metadata: Metadata) -> dict[str, Any]:
    return json.loads(metadata.dump())


def _sizes(folder: Path) -> dict[str, int]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _measured(new: Path, folder: Path) -> Site:
    sizes = _sizes(new)
    plain, gpu = (sum(sizes[f"ort/{name}"] for name in build) for build in BUILDS)
    encoder = sizes.get("encoder.onnx", 0)
    return Site(folder, sum(sizes.values()), sizes["engine.onnx"], encoder, (plain, gpu))
