"""Read and write pictures: any common file as upright sRGB pixels, and back.

How pictures are treated:
- EXIF orientation is applied and reset. Other EXIF entries, resolution, XMP, PNG texts and JPEG
  comments are kept.
- Colors are converted to sRGB, from the ICC profile or code points of the file; HDR is tone mapped.
  Written files are tagged sRGB.
- Gray, palette, CMYK and Lab pictures become RGB.
- Transparency is kept if the format supports it. Colors under fully transparent pixels are
  arbitrary, so they are replaced by the mean visible color before a network sees them.
- Engines work in 8 bits. A 16-bit picture is reduced to 8 bits and written with 16 again (v * 257)
  if the format supports it, so that it still fits into a 16-bit workflow.
- TIFF and PFM files with float or 32-bit samples count as 16-bit pictures; white_level.py infers
  which value is white. Radiance HDR is tone mapped.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from st.runtime.errors import BadInput, StError, printable
from st.runtime.pictures.carried import Carried, carried_metadata, save_settings
from st.runtime.pictures.coded_color import CodedColor, coded_color, deep_samples, to_srgb_codes
from st.runtime.pictures.deep_tiff import deep_layout
from st.runtime.pictures.encode16 import encode_png, encode_tiff
from st.runtime.pictures.exif import carried_exif, with_resolution
from st.runtime.pictures.float_files import float_file
from st.runtime.pictures.icc import srgb_profile, to_srgb
from st.runtime.pictures.jpeg_scans import MAX_SCANS, endless
from st.runtime.pictures.resize import with_long_side
from st.runtime.pictures.transparency_key import deep_key_alpha, packing, scale_key
from st.runtime.system.atomic_files import atomic_write, check_no_pipe

MAX_PIXELS = 178_000_000
MAX_STREAM = 1 << 30  # maximum bytes read from a pipe
READ = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
READ_ONLY_SUFFIXES = (".gif", ".jp2", ".j2k", ".ppm", ".pgm", ".pnm", ".pfm", ".hdr")
UNREAD = {  # first bytes of other files -> what they are, and what to do
    b"MM\0\x2b": "a big-endian BigTIFF, which Pillow cannot read: save it as a little-endian TIFF",
    b"v/1\x01": "OpenEXR pictures cannot be read here: save it as TIFF or Radiance HDR",
    b"8BPS": "Photoshop files cannot be read here: save it as TIFF or PNG",
}
HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1")
TURNS = {  # EXIF orientation -> how the pixels become upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_HEADER_LOCK = threading.Lock()


@dataclass(frozen=True)
class Format:
    """A format that st writes. name: as Pillow calls it."""

    name: str
    suffixes: tuple[str, ...]
    alpha: bool = False
    sixteen_bits: bool = False


FORMATS = {
    "jpeg": Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif")),
    "png": Format("PNG", (".png",), alpha=True, sixteen_bits=True),
    "webp": Format("WEBP", (".webp",), alpha=True),
    "tiff": Format("TIFF", (".tif", ".tiff"), alpha=True, sixteen_bits=True),
    "bmp": Format("BMP", (".bmp",)),
    "avif": Format("AVIF", (".avif",), alpha=True),
}
WRITTEN_SUFFIXES = {s: name for name, form in FORMATS.items() for s in form.suffixes}


@dataclass(frozen=True)
class Picture:
    """An upright picture in sRGB.

    rgb: (H, W, 3) uint8, 0..255, not multiplied by alpha.
    alpha: (H, W) uint8, 0 transparent to 255 opaque; None when the picture is opaque.
    bits: 8 or 16, bits per channel in its file.
    exif: the EXIF data to write with it (no orientation, no thumbnail), or b"".
    warnings: one line for each item that could not be read.
    carried: other metadata to write with it.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    bits: int = 8
    exif: bytes = b""
    warnings: tuple[str, ...] = ()
    carried: Carried = field(default_factory=Carried)


class TooManyPixels(BadInput):
    """A picture larger than allowed."""


def read_picture(
    source: Path | str | BinaryIO | bytes,
    max_pixels: int = MAX_PIXELS,
    name: str | None = None,
    min_side: int | None = None,
) -> Picture:
    """Read a picture: the first frame or page of JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000,
    PPM, PFM or Radiance HDR.

    max_pixels: larger pictures are rejected before they are decoded, by the size in their header.
    name: of the picture in messages; by default its path, or "picture".
    min_side: allow a JPEG to be decoded at 1/2, 1/4 or 1/8 of its size while both sides keep so
        many pixels, which takes a fraction of the time; for callers that scale down anyway.

    Raises:
        TooManyPixels: more than `max_pixels`.
        BadInput: missing, empty, not a picture, damaged, truncated, or with float samples whose
            white cannot be told.
    """
    name = name or (printable(source) if isinstance(source, Path | str) else "picture")
    with _opened(source, name) as file:
        file, note = _sixteen_bits(file, name, max_pixels)
        start = file.tell()
        image = _open_header(file, name)
        _check_size(*image.size, max_pixels, name)
        if endless(image):
            raise BadInput(f"{name}: a JPEG with over {MAX_SCANS} scans, an attack")
        try:
            if min_side is not None:
                image.draft(None, (min_side, min_side))
            picture = _decoded(image, file, start)
            return replace(picture, warnings=(note, *picture.warnings)) if note else picture
        except (MemoryError, StError):
            raise
        except Exception as error:  # Pillow's decoders raise a dozen kinds on damaged bytes
            reason = printable(error, 100) or type(error).__name__
            raise BadInput(f"{name}: damaged or cut short ({reason})") from None


def _check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    if width * height > max_pixels:
        raise TooManyPixels(
            f"{name}: {width}×{height} is {width * height / 1e6:.0f} megapixels, more than the "
            f"{max_pixels / 1e6:.0f} allowed"
        )


def _sixteen_bits(file: BinaryIO, name: str, max_pixels: int) -> tuple[BinaryIO, str | None]:
    """(the file, a warning or None); one of samples that Pillow cannot decode is rewritten."""
    try:
        found = deep_layout(file) or float_file(file)
    except (ValueError, OSError):
        return file, None  # damaged, which is reported when it is opened
    if found is None:
        return file, None
    _check_size(found.width, found.height, max_pixels, name)
    try:
        data, note = found.rewrite(file.read())
    except ValueError as error:
        raise BadInput(f"{name}: {error}") from None
    except OSError as error:
        raise BadInput(f"{name}: cannot be read: {error.strerror}") from None
    return io.BytesIO(data), note


@contextlib.contextmanager
def _opened(source: Path | str | BinaryIO | bytes, name: str) -> Iterator[BinaryIO]:
    """The source as a seekable file."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    elif isinstance(source, Path | str):
        try:
            check_no_pipe(Path(source), name)
            file = Path(source).open("rb")  # noqa: SIM115 - closed below, if it is there at all
        except (FileNotFoundError, NotADirectoryError, ValueError):  # the last: a NUL in the name
            raise BadInput(f"{name}: no such file") from None
        except IsADirectoryError:
            raise BadInput(f"{name}: is a folder, give a picture") from None
        except OSError as error:
            raise BadInput(f"{name}: cannot be read: {error.strerror}") from None
        with file:
            yield file if file.seekable() else _whole(file, name)
    else:
        yield source if source.seekable() else _whole(source, name)


def _whole(stream: BinaryIO, name: str) -> BinaryIO:
    data = stream.read(MAX_STREAM + 1)
    if len(data) > MAX_STREAM:
        raise BadInput(f"{name}: more than {MAX_STREAM >> 20} MB through a pipe, give a file")
    return io.BytesIO(data)


def _open_header(file: BinaryIO, name: str) -> ImageFile.ImageFile:
    try:
        start = file.read(16)
    except OSError as error:
        raise BadInput(f"{name}: cannot be read: {error.strerror}") from None
    if not start:
        raise BadInput(f"{name}: empty, not a picture")
    if start[4:8] == b"ftyp" and start[8:12] in HEIC:
        raise BadInput(f"{name}: HEIC pictures cannot be read here, save it as JPEG or PNG")
    for magic, problem in UNREAD.items():
        if start.startswith(magic):
            raise BadInput(f"{name}: {problem}")
    file.seek(-len(start), io.SEEK_CUR)
    Image.init()
    readable = [kind for kind in READ if kind in Image.OPEN]
    try:
        with _own_limit():
            return Image.open(file, formats=readable)
    except UnidentifiedImageError:
        shown = "JPEG, PNG, WebP, TIFF, BMP, GIF and AVIF are"
        raise BadInput(f"{name}: not a picture, or a damaged one ({shown} read)") from None
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise BadInput(f"{name}: {printable(error, 120)}") from None
    except Exception as error:
        raise BadInput(f"{name}: damaged ({printable(error, 100)})") from None


@contextlib.contextmanager
def _own_limit() -> Iterator[None]:
    """Disable Pillow's own limit while a header is read: ours is checked right after."""
    with _HEADER_LOCK:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _decoded(file: ImageFile.ImageFile, data: BinaryIO, start: int) -> Picture:
    """The picture of an opened image. data: the file, whose bytes begin at `start`."""
    bits = 16 if _is_sixteen_bit(file) else 8
    color, packed = coded_color(file, data, start), packing(file)
    keyed = ";16" in packed and "transparency" in file.info
    mapped = color is not None and color.hdr and color.depth > 8
    whole = _bytes_from(data, start) if keyed or mapped else b""
    scale_key(file)
    file.load()
    exif = carried_exif(file)
    warnings = [_first_only(file)]
    layers = {"alpha": deep_key_alpha(file, packed, whole) if keyed else None}
    if mapped and color and (samples := deep_samples(whole, color.depth)) is not None:
        layers["rgb"] = Image.fromarray(to_srgb_codes(samples, color))
    try:
        turn = TURNS.get(file.getexif().get(ExifTags.Base.Orientation, 1))
        ImageOps.exif_transpose(file, in_place=True)
    except Exception:  # a damaged record: no orientation to be had, the pixels are fine
        turn = None
        warnings.append("its EXIF record is damaged: orientation not known")
    if turn is not None:
        layers = {name: layer and layer.transpose(turn) for name, layer in layers.items()}
    rgb, alpha, warning = _layers(file, layers, color)
    if alpha is not None:
        alpha = fill_hidden(rgb, alpha)
    notes = tuple(line for line in (*warnings, warning) if line)
    return Picture(rgb, alpha, bits, exif, notes, carried_metadata(file))


def _layers(
    image: Image.Image, layers: dict[str, Image.Image | None], color: CodedColor | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, str | None]:
    """(sRGB, alpha or None, a warning or None) of an upright image.

    layers: "rgb" and "alpha" where they were made already. color: described by code points.
    """
    alpha = layers["alpha"]
    if alpha is None and image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        alpha = image.getchannel("A")
    shown = None if alpha is None else np.array(alpha)
    if (rgb := layers.get("rgb")) is not None:
        return np.array(rgb), shown, None
    if color is None:
        converted, warning = to_srgb(_opaque(image))
        return np.array(converted), shown, warning
    plain = np.array(_opaque(image).convert("RGB"))
    eight = replace(color, depth=8)
    return plain if color.is_srgb else to_srgb_codes(plain, eight), shown, None


def _bytes_from(data: BinaryIO, start: int) -> bytes:
    """The bytes of a file from `start` on; its position is kept."""
    place = data.tell()
    data.seek(start)
    try:
        return data.read()
    finally:
        data.seek(place)


def _is_sixteen_bit(image: ImageFile.ImageFile) -> bool:
    """Whether samples have 16 bits, by their packing: Pillow reports 16-bit RGB as mode RGB."""
    raw = [tile[3] if isinstance(tile[3], str) else (tile[3] or ("",))[0] for tile in image.tile]
    return image.mode.startswith("I") or any(";16" in str(packing) for packing in raw)


def _first_only(image: Image.Image) -> str | None:
    if image.format == "MPO":  # a photograph with its depth map or its other eye's view
        return None
    with contextlib.suppress(Exception):
        if getattr(image, "is_animated", False):
            many = "pages" if image.format == "TIFF" else "frames"
            return f"it has several {many}: only the first is used"
    return None


def _opaque(image: Image.Image) -> Image.Image:
    """The picture in mode L, RGB, CMYK or LAB, with its profile and without transparency."""
    if image.mode.startswith("I"):
        return _from_deep_gray(image)
    if image.mode in ("L", "RGB", "CMYK", "LAB"):
        return image
    profile = image.info.get("icc_profile")
    opaque = image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")
    if profile:
        opaque.info["icc_profile"] = profile
    return opaque


def _from_deep_gray(image: Image.Image) -> Image.Image:
    """Round 16-bit gray, which Pillow has in mode I;16 or, from some files, I, to 8 bits."""
    values = np.asarray(image)
    gray = Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    if profile := image.info.get("icc_profile"):
        gray.info["icc_profile"] = profile
    return gray


def fill_hidden(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Set fully transparent pixels to the mean visible color, in place; None if all is opaque."""
    if alpha.min() == 255:
        return None
    hidden = alpha == 0
    if hidden.any():
        visible = (~hidden).astype(np.uint8)
        rgb[hidden] = np.round(cv2.mean(rgb, mask=visible)[:3]) if visible.any() else 128
    return alpha


def resized(picture: Picture, longest: int) -> Picture:
    """The picture scaled to a longer side of `longest` pixels."""
    rgb, alpha = with_long_side(picture.rgb, longest), picture.alpha
    return replace(
        picture, rgb=rgb, alpha=None if alpha is None else with_long_side(alpha, longest)
    )


def format_of(path: Path) -> str:
    """The key of FORMATS for a file name. Raises BadInput if st does not write such files."""
    if found := WRITTEN_SUFFIXES.get(path.suffix.lower()):
        return found
    raise BadInput(f"{printable(path)}: st writes {', '.join(sorted(WRITTEN_SUFFIXES))} files")


def write_picture(
    picture: Picture,
    target: Path | str | BinaryIO,
    format: str | None = None,
    quality: int = 95,
) -> tuple[str, ...]:
    """Write a picture, tagged sRGB. A file gets its name only when it is complete.

    format: a key of FORMATS; by default by the suffix of the file, PNG for a stream.
    quality: 1..100 for JPEG, WebP and AVIF.

    Returns warnings about what the format cannot hold, one line each.

    Raises:
        BadInput: no such format, or the picture is too large for it.
        StError: the file cannot be written (no space, no permission).
    """
    if not isinstance(target, Path | str):
        data, warnings = encode_picture(picture, format or "png", quality)
        target.write(data)
        target.flush()
        return warnings
    path = Path(target)
    form = format or format_of(path)
    try:
        data, warnings = encode_picture(picture, form, quality)
    except BadInput as error:
        raise BadInput(f"{printable(path)}: {error}") from None
    try:
        with atomic_write(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise StError(f"{printable(path)}: cannot be written: {error.strerror}") from None
    return warnings


def encode_picture(
    picture: Picture, format: str, quality: int = 95
) -> tuple[bytes, tuple[str, ...]]:
    """(bytes of the file, warnings). Arguments and errors are those of `write_picture`."""
    if format not in FORMATS:
        raise BadInput(f"no format {printable(format)!r}: st writes {', '.join(FORMATS)}")
    form, rgb, alpha, warnings = FORMATS[format], picture.rgb, picture.alpha, []
    if alpha is not None and not form.alpha:
        rgb, alpha = _on_white(rgb, alpha), None
        warnings.append(f"{form.name} has no transparency: laid on white")
    deep = picture.bits == 16 and form.sixteen_bits
    if picture.bits == 16 and not deep:
        warnings.append(f"{form.name} has no 16-bit channels: written with 8")
    pixels = rgb if alpha is None else np.dstack([rgb, alpha])
    settings, left_out = save_settings(picture.carried, form.name)
    try:
        if deep:
            encode = encode_png if format == "png" else encode_tiff
            data = encode(pixels, picture.exif, picture.carried)
        else:
            exif = picture.exif
            if form.name in ("WEBP", "AVIF"):
                exif = with_resolution(exif, picture.carried.resolution)
            data = _encode(pixels, form.name, quality, exif, settings)
    except (ValueError, OSError, cv2.error) as error:
        height, width = rgb.shape[:2]
        why = printable(error, 100)
        raise BadInput(f"{width}×{height} cannot be a {form.name} file ({why}), try PNG") from None
    return data, (*warnings, *left_out)


def _on_white(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    white = Image.new("RGB", (rgb.shape[1], rgb.shape[0]), "white")
    white.paste(Image.fromarray(rgb), mask=Image.fromarray(alpha))
    return np.asarray(white)


def _encode(
    pixels: NDArray[np.uint8], name: str, quality: int, exif: bytes, carried: dict[str, Any]
) -> bytes:
    settings = {
        "JPEG": {"quality": quality, "subsampling": "4:4:4" if quality >= 90 else "4:2:0"},
        "WEBP": {"quality": quality},
        "AVIF": {"quality": quality},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }.get(name, {})
    if exif and name != "BMP":
        settings = settings | {"exif": exif}
    out = io.BytesIO()
    save = Image.fromarray(pixels).save
    save(out, name, icc_profile=srgb_profile(), **settings, **carried)
    return out.getvalue()
