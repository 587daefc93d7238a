"""Videos with regions, with a mask picture for all frames or a mask video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from st.video.command import main
from st.video.film.mask_films import MaskFilm
from st.video.film.time_range import TimeRange
from tests.support import toys
from tests.support.photos import photograph


def write(path: Path, frames: list[NDArray[np.uint8]], rate: int = 25) -> Path:
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=rate, options={"qp": "0"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv444p"
        for rgb in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        film.mux(stream.encode())
    return path


def read(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def moving(count: int, height: int = 32, width: int = 48) -> list[NDArray[np.uint8]]:
    """White to the left of an edge that moves by four pixels per frame."""
    masks = [np.zeros((height, width, 3), np.uint8) for _ in range(count)]
    for number, mask in enumerate(masks):
        mask[:, : 4 * number] = 255
    return masks


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    toys.tint_engine(tmp_path / "tint.onnx")
    write(tmp_path / "film.mp4", [np.full((32, 48, 3), 180, np.uint8)] * 10)
    return tmp_path


def paint(*arguments: object) -> Result:
    given = ["film.mp4", "-o", "out.mkv", "--codec", "lossless", "--engine", "tint.onnx"]
    return CliRunner().invoke(main, [*given, "--device", "cpu", *map(str, arguments)])


@pytest.mark.parametrize("scale", [1, 2])
def test_each_frame_has_its_own_mask(folder: Path, scale: int) -> None:
    write(folder / "mask.mp4", moving(10, 32 // scale, 48 // scale))
    done = paint("--region", "mask.mp4=black", "--threads", 3)
    assert done.exit_code == 0, done.output
    frames = read(folder / "out.mkv")
    assert len(frames) == 10
    for number, frame in enumerate(frames):
        edge = min(48, 4 * number * scale)
        assert (frame[:, : max(0, edge - 2)] < 8).all(), number
        assert (abs(frame[:, edge + 2 :].astype(int) - 180) < 8).all(), number


def test_a_time_range_applies_to_the_mask_video_too(folder: Path) -> None:
    write(folder / "mask.mp4", moving(10))
    done = paint("--region", "mask.mp4=black", "--start", 0.2, "--duration", 0.12)
    assert done.exit_code == 0, done.output
    edges = [(frame[16, :, 0] < 90).sum() for frame in read(folder / "out.mkv")]
    assert edges == [20, 24, 28]


def test_a_short_mask_video_keeps_its_last_frame_with_a_warning(folder: Path) -> None:
    write(folder / "film.mp4", [np.full((32, 48, 3), 180, np.uint8)] * 30)
    write(folder / "mask.mp4", moving(4))
    done = paint("--region", "mask.mp4=black")
    assert done.exit_code == 0, done.output
    assert "mask video ends before the video" in done.stderr
    edges = [(frame[16, :, 0] < 90).sum() for frame in read(folder / "out.mkv")]
    assert edges == [0, 4, 8] + [12] * 27


def test_mask_videos_of_another_rate_keep_time(folder: Path) -> None:
    mask = MaskFilm(write(folder / "mask.mp4", moving(5), rate=5), TimeRange())
    edges = [(mask.at(Fraction(n, 25))[16] > 90).sum() for n in range(25)]
    mask.close()
    assert edges == [4 * (n // 5) for n in range(25)]


def test_a_mask_picture_holds_for_every_frame(folder: Path) -> None:
    Image.fromarray(moving(7)[6]).save("mask.png")
    done = paint("--style", "negative", "--region", "mask.png=black", "--color", "luminance")
    assert done.exit_code == 0, done.output
    for frame in read(folder / "out.mkv"):
        assert (frame[:, :23] < 8).all()
        assert (abs(frame[:, 25:].astype(int) - 75) < 8).all()


def test_bad_masks_give_one_line(folder: Path) -> None:
    (folder / "mask.mp4").write_bytes(b"no video")
    for region in ("mask.mp4=black", "nosuch.mp4=black", "tint.onnx=black"):
        done = paint("--region", region)
        assert done.exit_code == 2
        assert done.stderr.startswith("Error: ")
        assert len(done.stderr.splitlines()) == 1
        assert not Path("out.mkv").exists()


def test_a_moving_photograph_keeps_its_colors(folder: Path) -> None:
    photo = Image.open(photograph()).convert("RGB").resize((176, 176))
    pan = [np.asarray(photo.crop((x, x, 160 + x, 120 + x))) for x in (0, 4, 8, 12, 16)]
    clip = write(folder / "pan.mp4", pan)
    arguments = [str(clip), "-o", "out.mkv", "--codec", "lossless", "--engine", "tint.onnx"]
    arguments += ["--device", "cpu"]
    films = {}
    for color in ("style", "luminance", "only"):
        done = CliRunner().invoke(main, [*arguments, "--color", color])
        assert done.exit_code == 0, done.output
        films[color] = np.stack(read(folder / "out.mkv")).astype(float)
    weights = np.array([0.2126, 0.7152, 0.0722])
    bright = {color: film @ weights for color, film in films.items()}
    content = 255 - films["style"]
    assert np.abs(bright["luminance"] - bright["style"]).mean() < 2
    assert np.abs(bright["only"] - content @ weights).mean() < 2
    # The negative's chroma is the content's, turned about.
    for axes in ((0, 1), (2, 1)):
        own, wanted = (f[..., axes[0]] - f[..., axes[1]] for f in (films["luminance"], content))
        assert np.corrcoef(own.ravel(), wanted.ravel())[0, 1] > 0.9
