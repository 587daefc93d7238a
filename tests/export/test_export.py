"""st-export with a network of each method: the engine equals the network, whole and in tiles."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from st.export.command import main
from st.export.onnx.engines import Exportable, export
from st.export.onnx.graphs import onnx_instance_norm, to_bytes, to_unit
from st.export.onnx.tiles import tiles_model
from st.export.parity import ParityError
from st.export.parity.compare_outputs import picture_parity
from st.export.parity.sample_inputs import codes_of, textured_inputs
from st.export.precision.fp16_engine import fp16_engine
from st.export.tensorrt import to_tensorrt_rtx
from st.export.tensorrt.job import Settings
from st.export.tensorrt.profile import FrameSizes
from st.runtime import BadEngine, BadInput, Stylizer, Unavailable
from st.runtime.backends.onnxruntime import OrtBackend
from st.runtime.backends.tensorrt_library import load_tensorrt
from st.runtime.engine.location import engine_path
from st.runtime.engine.metadata import PROPERTY, parse
from st.runtime.engine.onnx_file import read_engine
from st.runtime.engine.trt_file import read_trt
from st.runtime.painting.hints import no_palette
from st.runtime.painting.noise import draw_noise
from st.runtime.painting.upscale import enlarged_painting
from st.runtime.pictures.synthetic import synthetic_picture
from st.train.bank.from_engine import engine_checkpoint
from st.train.checkpoint import Checkpoint
from st.train.method import ExportSpec
from st.train.methods import METHODS
from st.train.networks.transform import Norm, ReflectConv, instance_norm
from tests.support import toys

# Settings that make a network small, for the methods that have them.
SMALL = {"width": 8, "kernel": 3, "scales": 2, "levels": ("3", "2"), "style_size": 48}
SMALL |= {"critic": 8}

# Parts that only training needs, with initial values when they are read out of an engine:
# discriminators, and the gradient's norm of StyleBank.
NOT_EXPORTED = ("critic.", "discriminator.", "gradient")

# A tiles engine takes seconds to build, and so does measuring FP16: not for every method.
TILES_BUILT = {"stylebank"}
HALF_BUILT = {"cin", "wct"}


def make_checkpoint(name: str, path: Path) -> Checkpoint:
    """An untrained network of a method, with norm parameters other than 1 and 0."""
    torch.manual_seed(1)
    method = METHODS[name]
    entries = {entry.name for entry in dataclasses.fields(method.config)}
    small = SMALL | ({"encoder": "plain"} if name == "colorize" else {})
    config = method.config(**{k: v for k, v in small.items() if k in entries})
    styles = {"one": ("wave",), "many": ("wave", "scream"), "any": ()}[method.styles]
    network = method.build(config, styles)
    for key, value in network.state_dict().items():
        if key.startswith("encoder.") and value.ndim == 4:
            value *= 6**0.5  # with no norms, torch's defaults would leave it a signal of nothing
        if value.dtype.is_floating_point and value.ndim <= 2:
            value += 0.2 * torch.randn_like(value)
        assert torch.isfinite(value).all(), key
    fit_range(name, network)
    checkpoint = Checkpoint(name, dataclasses.asdict(config), styles, network.state_dict())
    checkpoint.save(path)
    return checkpoint


def fit_range(method: str, network: torch.nn.Module) -> None:
    """Scale the last layers of decoders without a final sigmoid, so that they paint in 0..1, as
    trained ones do. An untrained network exceeds this range a hundredfold and paints only black
    and white."""

    def fit(module: torch.nn.Conv2d, _: object, made: torch.Tensor) -> torch.Tensor:
        assert module.bias is not None
        mean, scale = made.mean((0, 2, 3)), 0.15 / made.std((0, 2, 3))
        module.weight *= scale[:, None, None, None]
        module.bias.copy_((module.bias - mean) * scale + 0.5)
        return (made - mean[:, None, None]) * scale[:, None, None] + 0.5

    content, style = (to_unit(torch.from_numpy(synthetic_picture(64, 96, seed))) for seed in (8, 7))
    network.eval()
    with torch.no_grad():
        painted = METHODS[method].paint(network, content, style, 0)
        if painted.min() >= 0 and painted.max() <= 1:
            return
        last = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
        hooks = [m.register_forward_hook(fit) for m in last if m.out_channels == 3]
        METHODS[method].paint(network, content, style, 0)
    for hook in hooks:
        hook.remove()


@pytest.fixture(scope="module", params=sorted(METHODS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp(request.param)
    checkpoint = make_checkpoint(request.param, folder / "model.pt")
    result = CliRunner().invoke(main, [str(folder / "model.pt")])
    assert result.exit_code == 0, result.output
    return folder / "model.onnx", checkpoint, result.output


def styled(engine: Path) -> Stylizer:
    """The engine with a style set, below full strength."""
    stylizer = Stylizer(engine)
    if "code" in stylizer.metadata.inputs:
        strength = 0.6 if "strength" in stylizer.metadata.inputs else 1.0
        return stylizer.set_style(synthetic_picture(72, 80, seed=5)[0], strength=strength)
    if stylizer.metadata.kind == "colorizer":  # at 96 pixels, the longer side of what is compared
        return stylizer.set_render_factor(6)
    if stylizer.styles:
        return stylizer.set_style(dict.fromkeys(stylizer.styles, 0.5))
    return stylizer


def test_the_engine_paints_what_the_network_paints(exported) -> None:
    path, checkpoint, said = exported
    assert "differs from PyTorch by at most" in said
    network = checkpoint.network()
    picture = synthetic_picture(64, 96, seed=9)
    stylizer = styled(path)
    noise = draw_noise(0, stylizer.metadata.noise, 64, 96)
    none = {"hints": np.zeros((1, 3, 64, 96), np.float32), "palette": no_palette()}
    values = {"noise": noise, **none, **stylizer.settings.inputs}
    controls = [torch.from_numpy(values[k].copy()) for k in stylizer.metadata.inputs[1:]]
    with torch.no_grad():
        expected = to_bytes(network(to_unit(torch.from_numpy(picture)), *controls)).numpy()
    painted = stylizer(picture)
    if stylizer.metadata.scale > 1:
        expected = enlarged_painting(expected, picture)
    assert np.abs(painted.astype(int) - expected).max() <= 2
    assert expected.std() > 3, "a flat picture proves nothing"


def test_the_engine_is_read_back(exported) -> None:
    """--begin-with and --from read all engines: the weights equal those of the network."""
    path, checkpoint, _ = exported
    again = engine_checkpoint(path)
    assert (again.method, again.config) == (checkpoint.method, checkpoint.config)
    # An engine of one style has no choice, so it names none: its metadata allows names only with
    # an input of their weights, and no network is built from the name of its one style.
    assert again.styles == (() if METHODS[again.method].styles == "one" else checkpoint.styles)
    assert again.state.keys() == checkpoint.state.keys()
    for name, value in checkpoint.state.items():
        # A colorizer's norms are folded: engine_checkpoint compares its chroma instead.
        if name.startswith(NOT_EXPORTED) or checkpoint.method == "colorize":
            continue
        largest = max(1e-3, float(value.abs().max()))
        torch.testing.assert_close(
            again.state[name], value, rtol=0, atol=1e-3 * largest, msg=lambda text, n=name: n + text
        )


def test_tiles_paint_what_a_whole_run_paints(exported) -> None:
    path, checkpoint, _ = exported
    spec = METHODS[checkpoint.method].export_spec(checkpoint.network())
    if not spec.norms and spec.scale == 1:
        pytest.skip("painted whole only")
    stylizer = styled(path)
    picture = synthetic_picture(123, 210, seed=3)[0]
    whole = stylizer(picture)
    tiled = stylizer.tiled(picture, tile=64)
    assert np.abs(whole.astype(int) - tiled).max() <= 2


def test_any_size_and_batches(exported) -> None:
    path, _, _ = exported
    stylizer = styled(path)
    for height, width in ((1, 1), (7, 33), (50, 61)):
        picture = synthetic_picture(height, width, seed=2)
        scale = stylizer.metadata.scale
        assert stylizer(picture[0]).shape == (scale * height, scale * width, 3)
    two = np.concatenate([synthetic_picture(32, 48, seed) for seed in (0, 1)])
    batch = stylizer(two)
    for one, painted in zip(two, batch, strict=True):
        assert np.abs(stylizer(one).astype(int) - painted).max() <= 2


def test_tensorrt_rtx_builds_it(exported) -> None:
    """Its parser accepts the graphs of all methods and of their companions; some also in FP16."""
    path, checkpoint, _ = exported
    try:
        load_tensorrt("tensorrt-rtx")
    except Unavailable as error:
        pytest.skip(str(error))
    files = [path, *path.parent.glob("model.encoder.onnx")]
    if checkpoint.method in TILES_BUILT:
        files += path.parent.glob("model.tiles.onnx")
    for file in files:
        data, metadata = read_engine(file)
        if checkpoint.method in HALF_BUILT and file == path:
            half = fp16_engine(data, metadata, codes_of_engine(path))
            data, metadata = half.data, half.metadata
        built = file.with_suffix(".rtx.trt")
        settings, asked = Settings("tensorrt-rtx"), FrameSizes(optimum=(64, 64), maximum=(128, 128))
        to_tensorrt_rtx.write(data, metadata, built, asked, settings, lambda told: None)
        _, written, build = read_trt(built)
        assert written.fingerprint == metadata.fingerprint
        assert written.inputs == metadata.inputs
        assert build.runs_on(120)


def codes_of_engine(path: Path) -> list[np.ndarray]:
    encoder = path.with_suffix(".encoder.onnx")
    return codes_of(*read_engine(encoder)) if encoder.exists() else []


def test_metadata_describes_the_engine_and_not_this_machine(exported) -> None:
    path, checkpoint, _ = exported
    files = list(path.parent.glob("*.onnx"))
    spec = METHODS[checkpoint.method].export_spec(checkpoint.network())
    assert len(files) == 1 + bool(spec.norms) + bool(spec.code_size)
    for file in files:
        model = onnx.load(file)
        texts = {entry.key: entry.value for entry in model.metadata_props}
        metadata = parse(texts[PROPERTY])
        assert metadata.method == checkpoint.method
        assert metadata.max_error is not None
        assert set(metadata.inputs) == {port.name for port in model.graph.input}
        data = file.read_bytes()
        assert str(Path(__file__).parents[2]).encode() not in data
        assert b"site-packages" not in data
    prints = {parse(onnx.load(f).metadata_props[0].value).fingerprint for f in files}
    assert len(prints) == 1


def test_an_injected_difference_fails_the_export(tmp_path: Path) -> None:
    """The parity check must detect a network that differs from the engine."""
    from st.export.onnx.graphs import FrameGraph
    from st.export.onnx.to_onnx import picture_axes, to_onnx
    from st.runtime.engine.metadata import Metadata

    checkpoint = make_checkpoint("cin", tmp_path / "a.pt")
    network = checkpoint.network()
    inputs = {
        "content": torch.from_numpy(synthetic_picture(64, 64)).repeat(2, 1, 1, 1),
        "weights": torch.tensor([[0.5, 0.5]]),
    }
    metadata = Metadata("cin", inputs=tuple(inputs), styles=("a", "b"), multiple=4)
    model = to_onnx(
        FrameGraph(network, onnx_instance_norm),
        inputs,
        ["stylized"],
        picture_axes(4, 16, batch=True),
        metadata,
    )
    picture_parity(model, metadata, FrameGraph(network, None), [inputs])
    with torch.no_grad():
        network.get_parameter("bank").mul_(1.1)
    with pytest.raises(ParityError):
        picture_parity(model, metadata, FrameGraph(network, None), [inputs])


def test_each_segment_is_compared_with_float64() -> None:
    """The moments of a tile without its margins equal those of the segment's feature map."""
    data, metadata = read_engine(engine_path("paintings-light").with_suffix(".tiles.onnx"))
    index = next(i for i, s in enumerate(metadata.segments) if s.content and s.writes)
    (made,) = metadata.segments[index].writes
    stride = metadata.maps[made][1]
    (inputs,) = textured_inputs(metadata, [], ((64, 80),))
    inputs |= {"margins": np.array([4, 8, 0, 12])}
    backend = OrtBackend(data, metadata, "cpu", 1)
    values, own = backend.run(inputs, [f"new_map_{made}", f"moments_{index}"])
    core = values[0, :, 4 // stride : (64 - 8) // stride, : (80 - 12) // stride].astype(float)
    np.testing.assert_allclose(own[0], core.mean((1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(own[1], core.var((1, 2)), rtol=1e-4)


def test_an_engine_without_norms_has_no_tiles(tmp_path: Path) -> None:
    with pytest.raises(BadEngine, match="without instance norms"):
        tiles_model(*read_engine(toys.tint_engine(tmp_path / "tint.onnx")))


class UnbiasedNorm(torch.nn.Module):
    """A network whose norm divides by the unbiased deviation, so its scale depends on the size."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ReflectConv(3, 4, 3)
        self.last = ReflectConv(4, 3, 3)

    def forward(self, content: torch.Tensor, norm: Norm = instance_norm) -> torch.Tensor:
        x = self.first(content)
        places = torch.ones_like(x[:1, :1]).sum()
        scale = ((places - 1) / places).sqrt() * torch.ones(1, 4)
        return torch.sigmoid(self.last(torch.relu(norm(x, scale, torch.zeros(1, 4)))))


def test_tiles_of_a_norm_whose_scale_depends_on_the_picture(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = UnbiasedNorm().eval()
    spec = ExportSpec(halo=8, norms=((4, 1),))
    model = Exportable("perceptual", network, spec, ("wave",), {}, network.state_dict())
    made = list(export(model, tmp_path / "a.onnx"))
    assert [one.path.name for one in made] == ["a.onnx", "a.tiles.onnx"]
    photo = synthetic_picture(150, 170, 5)[0]
    with Stylizer(tmp_path / "a.onnx") as stylizer:
        whole = stylizer(photo).astype(int)
        assert np.abs(whole - stylizer.tiled(photo, tile=64)).max() <= 1
    assert whole.std() > 5


def test_the_onnx_norm_equals_the_torch_norm() -> None:
    """ONNX Runtime determines its values; shape and type must match when torch traces it."""
    x, scale, shift = torch.randn(1, 3, 4, 5), torch.ones(1, 3), torch.zeros(1, 3)
    fake = onnx_instance_norm(x, scale, shift)
    assert fake.shape == instance_norm(x, scale, shift).shape
    assert fake.dtype == x.dtype


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.pt", None, "no such file"),
        ("empty.pt", b"", "not a checkpoint"),
        ("text.pt", b"hello there" * 100, "not a checkpoint"),
    ],
)
def test_bad_checkpoints_give_one_line(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    result = CliRunner().invoke(main, [str(path)])
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1
    assert not list(tmp_path.glob("*.onnx"))


def test_a_failed_export_keeps_the_old_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_checkpoint("cin", tmp_path / "a.pt")
    old = tmp_path / "a.onnx"
    old.write_bytes(b"the good one")

    def refuse(*args: object) -> None:
        raise BadInput("planted")

    monkeypatch.setattr("st.export.onnx.engines.picture_parity", refuse)
    result = CliRunner().invoke(main, [str(tmp_path / "a.pt")])
    assert result.exit_code == 2
    assert old.read_bytes() == b"the good one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "a.pt"]


def test_only_onnx_is_written(tmp_path: Path) -> None:
    make_checkpoint("cin", tmp_path / "a.pt")
    result = CliRunner().invoke(main, [str(tmp_path / "a.pt"), "-o", str(tmp_path / "a.bin")])
    assert result.exit_code == 2
    assert ".onnx" in result.output
