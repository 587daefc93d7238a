"""INT8 engines: calibrated with real pictures, close to FP32, on both backends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image

from st.export.command import main
from st.export.parity import ParityError
from st.export.precision import int8
from st.export.precision.int8 import MIN_PICTURES, int8_engine
from st.runtime import BadEngine, BadInput, Stylizer
from st.runtime.engine.location import engine_path
from st.runtime.engine.onnx_file import read_engine
from st.runtime.pictures.synthetic import synthetic_picture
from tests.support import toys


def pictures(count: int) -> list[np.ndarray]:
    return [synthetic_picture(48 + 8 * i, 96, seed=i)[0] for i in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for i, pixels in enumerate(pictures(MIN_PICTURES + 1)):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    output = tmp_path_factory.mktemp("engines") / "mine.onnx"
    result = CliRunner().invoke(main, ["paintings", "--int8", str(folder), "-o", str(output)])
    assert result.exit_code == 0, result.output
    return output, result.output


def test_all_but_the_first_and_last_convolutions_are_int8(made: tuple[Path, str]) -> None:
    path, said = made
    data, metadata = read_engine(path)
    plain, of_plain = read_engine(engine_path("paintings"))
    assert metadata.precision == "int8"
    assert metadata.rounding_error is not None
    assert 0 < metadata.rounding_error[1] < 6
    assert "14 convolutions in INT8" in said
    assert "INT8 differs from FP32 by at most" in said
    assert metadata.fingerprint == of_plain.fingerprint, "its tiles and codes are the same"
    assert len(data) < len(plain) / 2
    convolutions = [n for n in onnx.load_from_string(data).graph.node if n.op_type == "Conv"]
    inputs = {o: n.op_type for n in onnx.load_from_string(data).graph.node for o in n.output}
    fed = [inputs[node.input[0]] == "DequantizeLinear" for node in convolutions]
    assert fed == [False, *[True] * 14, False], "all but the first and the last"


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_int8_engines_paint_close_to_fp32(made: tuple[Path, str], device: str) -> None:
    if device == "openvino":
        pytest.importorskip("openvino")
    whole, small = Stylizer("paintings"), Stylizer(made[0], device=device)
    frame = synthetic_picture(120, 160, seed=99)[0]
    for style in ("wave", "perfume"):
        expected = whole.set_style(style)(frame).astype(int)
        painted = small.set_style(style)(frame)
        assert np.abs(painted - expected).mean() < 8
        assert np.abs(painted.astype(int) - frame).mean() > 15, "it paints"


def test_an_any_style_engine_is_measured_with_codes_of_the_pictures(
    tmp_path: Path, folder: Path
) -> None:
    """An untrained network, with style codes from its encoder."""
    torch = pytest.importorskip("torch")
    from st.export.onnx.engines import export
    from st.train.checkpoint import Checkpoint
    from st.train.methods import METHODS

    torch.manual_seed(1)
    method = METHODS["prediction"]
    network = method.build(method.config(), ())
    for name, weight in network.state_dict().items():
        if name.startswith("encoder.") and weight.ndim == 4:
            weight *= 6**0.5
    checkpoint = Checkpoint("prediction", {}, (), network.state_dict())
    list(export(checkpoint, tmp_path / "any.onnx"))
    result = CliRunner().invoke(main, [str(tmp_path / "any.onnx"), "--int8", str(folder)])
    assert result.exit_code == 0, result.output
    names = {p.name for p in tmp_path.glob("any.int8*.onnx")}
    assert names == {"any.int8.onnx", "any.int8.encoder.onnx", "any.int8.tiles.onnx"}
    stylizer = Stylizer(tmp_path / "any.int8.onnx").set_style(synthetic_picture(64, 64)[0])
    assert stylizer(synthetic_picture(40, 40, seed=1)[0]).std() > 1
    (tmp_path / "any.encoder.onnx").unlink()
    again = CliRunner().invoke(main, [str(tmp_path / "any.onnx"), "--int8", str(folder)])
    assert again.exit_code == 2
    assert "any.encoder.onnx: not there" in again.output


def test_a_visible_int8_error_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "MEAN_LIMIT", 0.01)
    with pytest.raises(ParityError, match="keep this engine in FP32"):
        int8_engine(*read_engine(engine_path("paintings")), pictures(MIN_PICTURES), [])


def test_engines_that_cannot_be_quantized_are_refused(
    tmp_path: Path, made: tuple[Path, str]
) -> None:
    with pytest.raises(BadInput, match="8 pictures or more"):
        int8_engine(*read_engine(engine_path("paintings")), pictures(MIN_PICTURES - 1), [])
    with pytest.raises(BadEngine, match="already in INT8"):
        int8_engine(*read_engine(made[0]), pictures(MIN_PICTURES), [])
    tint = read_engine(toys.tint_engine(tmp_path / "tint.onnx"))
    with pytest.raises(BadEngine, match="nothing to quantize"):
        int8_engine(*tint, pictures(MIN_PICTURES), [])


def test_usage(tmp_path: Path, folder: Path) -> None:
    def said(*words: object) -> str:
        result = CliRunner().invoke(main, ["paintings", *map(str, words)])
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
        return result.output

    assert "without --half" in said("--int8", folder, "--half")
    assert "no such folder" in said("--int8", tmp_path / "none")
    (tmp_path / "few").mkdir()
    assert "0 pictures, INT8 needs 8" in said("--int8", tmp_path / "few")
    assert "no --int8" in said("--int8", folder, "--web", tmp_path / "site")
