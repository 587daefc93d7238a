"""st-video with an upscaling engine: the video has the engine's size, or that of --size."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from st.runtime.engine.metadata import Metadata
from st.video.command import main
from tests.support.toys import save

DOUBLE = """double (uint8[N, H, W, 3] content) => (uint8[N, H2, W2, 3] stylized)
<float[4] twice = {1, 2, 2, 1}> {
    x = Cast<to: int = 1>(content)
    y = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric",
        nearest_mode = "floor">(x, , twice)
    stylized = Cast<to: int = 2>(y)
}"""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames of a gradient, 64×48, beside an engine that doubles the size."""
    folder = tmp_path_factory.mktemp("enlarge")
    save(DOUBLE, folder / "double.onnx", Metadata("toy", scale=2, halo=2))
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    picture = np.broadcast_to(ramp[None, :, None], (48, 64, 3)).copy()
    with av.open(str(folder / "in.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(4):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return folder / "in.mp4"


def first_frame(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


@pytest.mark.parametrize(("words", "size"), [((), (96, 128)), (("--size", "100x70"), (70, 100))])
def test_superres_enlarges_a_video(
    film: Path, tmp_path: Path, words: tuple[str, ...], size: tuple[int, int]
) -> None:
    engine, output = str(film.with_name("double.onnx")), tmp_path / "out.mp4"
    result = CliRunner().invoke(main, [str(film), "--engine", engine, "-o", str(output), *words])
    assert result.exit_code == 0, result.output
    large, small = first_frame(output), first_frame(film)
    assert large.shape == (*size, 3)
    # The same ramp, from side to side.
    target_chooser = np.linspace(0.05, 0.95, 12)
    got = large[size[0] // 2, (target_chooser * (size[1] - 1)).astype(int), 1].astype(int)
    expected = small[24, (target_chooser * 63).astype(int), 1].astype(int)
    assert np.abs(got - expected).max() <= 12


def test_raw_frames_keep_their_size(film: Path, tmp_path: Path) -> None:
    words = ["-", "--raw", "64x48@25", "--engine", str(film.with_name("double.onnx"))]
    result = CliRunner().invoke(
        main, [*words, "-o", str(tmp_path / "o.mkv")], input=bytes(64 * 48 * 3)
    )
    assert result.exit_code == 2
    assert "enlarges" in result.stderr
