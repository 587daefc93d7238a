"""Unusual folders: files that are not pictures are skipped, and nothing hangs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from st.runtime.cli.image import main as st_image
from st.runtime.errors import BadInput
from st.train.data.files import list_pictures, named_styles
from st.train.data.pictures import PictureSource, random_crop
from tests.support import toys
from tests.train.conftest import photograph

ODD = ("loop.jpg", "empty.jpg", "pipe.jpg", "socket.jpg", "text.jpg", "phone.jpg", "cut.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eleven pictures of unusual kinds, and the files of ODD, which are not pictures."""
    found = tmp_path / "photos"
    (found / "album.jpg").mkdir(parents=True)  # a folder named like a picture
    (found / "again").symlink_to(found)
    for number in range(3):
        photograph(number).save(found / "album.jpg" / f"{number}.png")
    photo = photograph(5)
    photo.save(found / "🌊 wave.jpg")
    photo.save(found / "two\nlines.jpg")
    photo.save(found / os.fsdecode(b"latin-\xe9.jpg"))
    photo.convert("CMYK").save(found / "print.jpg")
    frames = [photograph(seed) for seed in (6, 7)]
    frames[0].save(found / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(found / "moving.webp", save_all=True, append_images=frames[1:])
    Image.new("RGB", (1, 1), "red").save(found / "dot.png")
    photo.resize((3000, 30)).save(found / "panorama.png")
    (found / "loop.jpg").symlink_to("loop.jpg")
    (found / "empty.jpg").touch()
    os.mkfifo(found / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(found / "socket.jpg"))
    (found / "text.jpg").write_text("not a picture")
    (found / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (found / "cut.jpg").write_bytes((found / "🌊 wave.jpg").read_bytes()[:300])
    return found


def test_training_skips_files_that_are_no_picture(folder: Path) -> None:
    files = list_pictures(folder)
    assert len(files) == 11 + len(ODD)
    source = PictureSource(files, 64, budget=1 << 20)
    random = np.random.default_rng(0)
    for _ in range(30):
        for picture in source.draw(4, random):
            assert random_crop(picture, 48, random).size == (48, 48)
    assert {Path(path).name for path in source.unreadable} == set(ODD)
    reasons = source.new_problems()
    assert all("\n" not in reason for reason in reasons)
    assert any("HEIC" in reason for reason in reasons)


def test_style_names_from_an_untidy_folder(folder: Path) -> None:
    with pytest.raises(BadInput, match="'moving': two styles have this name"):
        named_styles([str(folder)])  # moving.gif and moving.webp
    (folder / "moving.webp").unlink()
    names = named_styles([str(folder)])
    assert {"🌊 wave", "two lines", "print", "dot"} <= set(names)
    assert all(name.isprintable() for name in names)


def test_st_image_paints_the_pictures_and_reports_the_other_files(
    folder: Path, tmp_path: Path
) -> None:
    engine = toys.tint_engine(tmp_path / "tint.onnx")
    result = CliRunner().invoke(
        st_image, [str(folder), "--engine", str(engine), "-o", str(tmp_path / "out") + "/"]
    )
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    painted = {path.stem for path in (tmp_path / "out").iterdir()}
    assert {"🌊 wave", "two\nlines", "print", "moving", "dot", "panorama"} <= painted
    assert not painted & {Path(name).stem for name in ODD}
    for name in ("empty.jpg", "text.jpg", "phone.jpg", "cut.jpg"):
        assert name in result.output
