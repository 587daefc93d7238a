"""The colorizer: its training schedule, its parts, and its response to hints."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from st.runtime import Stylizer
from st.runtime.engine.metadata import PALETTE
from st.runtime.errors import BadInput
from st.runtime.painting import chroma as played
from st.train.features import VGG
from st.train.features.resnet import ResNet
from st.train.features.squeezenet import load_squeezenet
from st.train.features.weights import fill_resnet
from st.train.method import Batch
from st.train.methods.colorize import (
    ACROSS,
    ALONG,
    METHOD,
    RAREST,
    Config,
    Network,
    nothing_given,
    phase,
    rarity,
    step,
    working_size,
)
from st.train.networks.chroma import (
    chroma_of,
    hint_fields,
    joined,
    luma_of,
    palette_of,
    random_hints,
)
from st.train.networks.color_net import ShuffleUp, SpectralConv, blur, folded
from tests.support.photos import PHOTOGRAPHS, photograph


def gradients(module: torch.nn.Module) -> float:
    return sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)


# --- NoGAN ----------------------------------------------------------------------------------------


def test_the_schedule_is_nogan() -> None:
    config = Config(steps=1000, alone=0.7, rounds=3, both=0.5)
    turns = [phase(step, config) for step in range(1000)]
    assert set(turns[:700]) == {"generator"}
    changes = [who for i, who in enumerate(turns) if i == 0 or who != turns[i - 1]]
    assert changes == ["generator", *["critic", "both"] * 3]
    assert turns.count("both") == pytest.approx(150, abs=3)
    sizes = [working_size(step, config) for step in range(1000)]
    assert sorted(set(sizes)) == [96, 128, 192]
    assert sizes == sorted(sizes)


def test_each_phase_trains_only_its_networks(
    small: Callable[..., Any], vgg: VGG, real_pair: tuple[Tensor, Tensor]
) -> None:
    torch.manual_seed(0)
    config = small(METHOD, steps=100, alone=0.5, both=0.5, rounds=1)
    network = Network(config, ())
    pair = torch.cat(real_pair)
    for number, terms, learns in (
        (0, {"pixel", "content"}, {"generator"}),
        (55, {"critic"}, {"critic"}),
        (90, {"pixel", "content", "fooling", "critic"}, {"generator", "critic"}),
    ):
        network.zero_grad()
        batch = Batch(pair, torch.zeros(2, dtype=torch.int64), shift=(3, 5), step=number)
        found = step(network, vgg, None, batch, config)
        assert set(found) == terms
        torch.stack(list(found.values())).sum().backward()
        taught = {name for name in ("generator", "critic") if gradients(getattr(network, name))}
        assert taught == learns
        # And the generator's gradients are none of the critic's own term.
        network.zero_grad()
        if "critic" in found:
            step(network, vgg, None, batch, config)["critic"].backward()
            assert gradients(network.generator) == 0
        if "fooling" in found:
            network.zero_grad()
            step(network, vgg, None, batch, config)["fooling"].backward()
            assert gradients(network.critic) == 0
            assert gradients(network.generator) > 0


def test_rare_colors_have_larger_weights() -> None:
    def over_gray(cb: float, cr: float, power: float = 0.5) -> float:
        chroma = torch.zeros(1, 2, 8, 8)
        chroma[0, 0, :2], chroma[0, 1, :2] = cb, cr
        weights = rarity(chroma, power)
        assert float(weights.mean()) == pytest.approx(1, abs=1e-5)
        return float(weights[0, 0, 0, 0] / weights[0, 0, 7, 7])

    angle = math.radians(145.4)  # of the axis from orange to blue
    brown = (0.1 * math.cos(angle), 0.1 * math.sin(angle))
    green = (0.1 * math.sin(-angle), 0.1 * math.cos(angle))  # across it
    assert over_gray(*brown) == pytest.approx(math.exp(0.5 * 0.1 / ALONG), rel=0.02)
    assert over_gray(*green) == pytest.approx(math.exp(0.5 * 0.1 / ACROSS), rel=0.02)
    assert over_gray(-brown[0], -brown[1]) == pytest.approx(over_gray(*brown), rel=1e-4)
    assert over_gray(0.5, 0.5) == pytest.approx(math.exp(0.5 * RAREST), rel=1e-4)
    assert over_gray(*green, power=0) == 1


# --- the network's parts --------------------------------------------------------------------------


def test_initial_upsampling_has_no_checkerboard() -> None:
    torch.manual_seed(0)
    up = ShuffleUp(6, 4).eval()
    shuffled = torch.nn.functional.pixel_shuffle(up.expand(torch.rand(1, 6, 5, 7)), 2)
    blocks = shuffled.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # N, C, h, 2, w, 2
    assert float(blocks.detach().std(dim=(3, 5)).max()) < 1e-6, "the four of a block begin alike"
    board = (torch.arange(10)[:, None] + torch.arange(14)) % 2.0
    assert float(blur(board[None, None])[..., 1:, 1:].std()) < 1e-6, "and the blur ends what grows"


def test_spectral_normalization_gives_norm_one() -> None:
    torch.manual_seed(0)
    conv = SpectralConv(5, 7, 3)
    for _ in range(30):
        conv(torch.rand(2, 5, 8, 8))
    conv.eval()
    assert float(
        torch.linalg.matrix_norm(conv.conv.weight.detach().flatten(1), 2)
    ) == pytest.approx(1, abs=0.02)


def test_the_exported_network_computes_the_same(small: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    network = Network(small(METHOD), ())
    content, hints = torch.rand(2, 3, 64, 96), torch.rand(1, 3, 64, 96)
    palette = torch.rand(1, PALETTE)
    for _ in range(3):
        network(content, hints, palette)  # its norms see something
    network.eval()
    plain = folded(network.generator)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in plain.modules())
    assert not any("parametrizations" in name for name in plain.state_dict())
    with torch.no_grad():
        luma = luma_of(content)
        want = network.generator(luma, hints, palette)
        torch.testing.assert_close(plain(luma, hints, palette), want, rtol=1e-4, atol=1e-6)
        assert float(want.std()) > 1e-4
    network.train()(content, hints, palette)  # the original is as it was


def test_joining_keeps_luma_exactly(small: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    luma = torch.rand(2, 1, 64, 64, dtype=torch.float64)
    wild = torch.rand(2, 2, 64, 64, dtype=torch.float64) - 0.5
    made = joined(luma, wild)
    torch.testing.assert_close(luma_of(made), luma, rtol=0, atol=1e-12)
    assert float(made.min()) >= -1e-12
    assert float(made.max()) <= 1 + 1e-12
    calm = 0.05 * wild
    torch.testing.assert_close(chroma_of(joined(0.4 + 0.2 * luma, calm)), calm, rtol=0, atol=1e-12)
    with torch.no_grad():
        network = Network(small(METHOD), ())
        content = torch.rand(1, 3, 64, 64)
        painted = network(content, *nothing_given(network, content))
    torch.testing.assert_close(luma_of(painted), luma_of(content), rtol=0, atol=1e-5)


def test_training_and_runtime_compute_equal_luma_chroma_and_palettes() -> None:
    """Luma, chroma and palettes are equal in PyTorch and in NumPy."""
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (12, 15, 3), np.uint8)
    picture[:6] = picture[:6] // 4 + 90  # near gray too
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    luma, chroma = luma_of(image), chroma_of(image)
    np.testing.assert_allclose(luma[0, 0] * 255, played.luma_of(picture), atol=1e-3)
    ours = played.chroma_of(picture)
    np.testing.assert_allclose(chroma[0].permute(1, 2, 0), ours, atol=1e-5)
    np.testing.assert_allclose(palette_of(chroma), played.palette_of(picture), atol=1e-5)
    back = played.colored(picture, picture, ours)
    assert np.abs(back.astype(int) - picture).max() <= 1
    torch.testing.assert_close(joined(luma, chroma), image, rtol=0, atol=1e-5)


def test_resnets_load_torchvisions_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    other = ResNet(18)
    state = other.state_dict() | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    assert "layer2.0.downsample.0.weight" in state
    assert "layer4.1.bn2.running_var" in state
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    file = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir()
    monkeypatch.setattr(  # not the published file's checksum
        "st.train.features.weights.RESNETS", {18: "https://example.org/resnet18.pth"}
    )
    file = file.with_name("resnet18.pth")
    torch.save(state, file)
    network = ResNet(18)
    fill_resnet(network)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        maps = network.eval()(image)
        for got, want in zip(maps, other.eval()(image), strict=True):
            torch.testing.assert_close(got, want)
    assert [m.shape[1:] for m in maps] == [
        (c, 64 >> i, 64 >> i) for i, c in enumerate((64, 64, 128, 256, 512), 1)
    ]
    torch.save({"conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(BadInput, match="not a ResNet-18"):
        fill_resnet(network)


def test_every_encoder_fits_and_the_small_ones_train(small: Callable[..., Any], vgg: VGG) -> None:
    for name in ("squeezenet", "vgg", "resnet18", "plain"):
        network = Network(small(METHOD, encoder=name), ())
        learns = [p.requires_grad for p in network.generator.encoder.parameters()]
        assert all(learns) if name in ("squeezenet", "plain") else not any(learns)
        content = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            if name == "vgg":
                METHOD.targets(network, vgg, [], small(METHOD, encoder=name))
                weight = network.generator.encoder.vgg.conv2_1.weight
                assert torch.equal(weight, vgg.conv2_1.weight.half().float())
            assert network(content, *nothing_given(network, content)).shape == content.shape


def test_squeezenet_has_published_weights_and_aligned_maps(vgg: VGG) -> None:
    config = METHOD.config(width=8)
    network, published = Network(config, ()), load_squeezenet()
    METHOD.targets(network, vgg, [], config)
    encoder, weights = network.generator.encoder, published.state_dict()
    for name, weight in encoder.squeezenet.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    luma = torch.rand(1, 1, 64, 96)
    with torch.no_grad():
        maps = encoder(luma)
        # A gray of the mean that is taken off, and the border that is reflected here.
        colors = luma.expand(-1, 3, -1, -1) + (published.mean - published.mean.mean())
        padded = functional.pad(colors, (1, 1, 1, 1), mode="reflect")
        first = published(padded, ["conv1"])["conv1"]
    assert [tuple(m.shape[2:]) for m in maps] == [(64 >> i, 96 >> i) for i in range(1, 6)]
    torch.testing.assert_close(maps[0], first, rtol=1e-3, atol=1e-3)


# --- hints ----------------------------------------------------------------------------------------


def test_random_hints_have_the_pictures_colors() -> None:
    chroma = torch.rand(40, 2, 24, 24) - 0.5
    hints = random_hints(chroma, torch.Generator().manual_seed(0), 12)
    assert hints[:, 2].flatten(1).any(1).all()
    assert 0.01 < float(hints[:, 2].mean()) < 0.3
    again = random_hints(chroma, torch.Generator().manual_seed(0), 12)
    assert torch.equal(hints, again)
    where = hints[:, 2:] == 1
    assert float(hints[:, :2].masked_select(~where.expand(-1, 2, -1, -1)).abs().max()) == 0
    flat = torch.full((8, 2, 24, 24), 0.25)
    told = random_hints(flat, torch.Generator().manual_seed(1), 12)
    inside = told[:, :2].masked_select((told[:, 2:] == 1).expand(-1, 2, -1, -1))
    torch.testing.assert_close(inside, torch.full_like(inside, 0.25))


def test_a_single_hint_spreads_and_fades() -> None:
    color = torch.tensor([0.1, -0.2])
    hints = torch.zeros(1, 3, 128, 128)
    hints[0, :2, 37, 21], hints[0, 2, 37, 21] = color, 1
    fields = hint_fields(hints, 5)
    assert [field.shape[2] for field in fields] == [64, 32, 16, 8, 4]
    first = fields[0][0]
    torch.testing.assert_close(first[:2, 18, 10], color)
    assert float(first[2, 18, 10]) == 1
    near = [float(first[2, 18, 10 + i]) for i in (0, 2, 4, 8, 16, 50)]
    assert near == sorted(near, reverse=True)
    assert near[2] > 0
    assert near[-1] == 0
    assert float(hint_fields(torch.zeros(1, 3, 64, 64), 5)[0].abs().max()) == 0


def test_hints_change_their_object_only() -> None:
    """Trained briefly on two discs of random colors, which only hints reveal, each for its own
    disc."""
    torch.manual_seed(0)
    config = Config(size=96, encoder="plain", width=8, critic=4)
    network = Network(config, ())
    rows, columns = torch.arange(64)[:, None], torch.arange(64)[None, :]
    none = torch.zeros(1, PALETTE)

    def scene(random: torch.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Luma, chroma and hints of dark discs at the left and right of a gray background; a hint
        in every third disc, and sometimes in the background."""
        luma, chroma = torch.full((count, 1, 64, 64), 0.6), torch.zeros(count, 2, 64, 64)
        hints = torch.zeros(count, 3, 64, 64)
        for picture in range(count):
            for x in (17, 47):
                dy, dx = torch.randint(-4, 5, (2,), generator=random).tolist()
                disc = (rows - 32 - dy) ** 2 + (columns - x - dx) ** 2 < 100
                luma[picture, 0, disc] = 0.4
                chroma[picture, :, disc] = (torch.rand(2, 1, generator=random) - 0.5) * 0.4
            y, x, kind = torch.rand(3, generator=random).tolist()
            row, column = 27 + int(10 * y), (12 if kind < 0.33 else 42) + int(10 * x)
            if kind > 0.67:
                row, column = int(60 * y), int(60 * x)
            place = (picture, slice(None), slice(row, row + 2), slice(column, column + 2))
            hints[place] = torch.cat([chroma, torch.ones_like(luma)], dim=1)[place]
        return luma, chroma, hints

    random = torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(network.generator.parameters(), lr=4e-3)
    for _ in range(50):
        luma, want, hints = scene(random, 4)
        loss = (network.generator(luma, hints, none) - want).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    network.eval()
    luma, _, hints = scene(torch.Generator().manual_seed(9), 1)
    hints = torch.zeros_like(hints)
    told = torch.tensor([-0.15, 0.15])
    with torch.no_grad():
        before = network.generator(luma, hints, none)[0]
        hints[0, :2, 31:33, 16:18], hints[0, 2, 31:33, 16:18] = told[:, None, None], 1
        change = network.generator(luma, hints, none)[0] - before

    def along(part: Tensor) -> float:
        """How far the color has moved towards the hint: 1 is the color of the hint."""
        apart = part.mean(dim=(1, 2))
        return float(apart @ told / (told @ told))

    here, disc = along(change[:, 31:33, 16:18]), along(change[:, 26:39, 11:24])
    ground, far = along(change[:, :12]), float(change[:, 22:43, 37:58].abs().mean()) / 0.15
    shown = f"here {here:.2f}, disc {disc:.2f}, ground {ground:.2f}, far {far:.2f}"
    assert here > 0.7, shown
    assert disc > 0.4, shown
    assert max(ground, far) < 0.3 * disc, shown


# --- the shipped engine ---------------------------------------------------------------------------


def test_the_shipped_colorizer_beats_gray() -> None:
    """On photographs that it was not trained on: exact luma, more color, and a smaller error than
    gray."""
    unseen = [photograph(name) for name in PHOTOGRAPHS]
    paint = Stylizer("colorize")
    error, error_of_gray, size, size_wanted = 0.0, 0.0, 0.0, 0.0
    for path in unseen:
        with Image.open(path) as opened:
            original = np.asarray(opened.convert("RGB").resize((256, 192)))
        light = np.rint(played.luma_of(original)).astype(np.uint8)
        made = paint(np.repeat(light[..., None], 3, axis=2))
        np.testing.assert_array_equal(np.rint(played.luma_of(made)).astype(np.uint8), light)
        got, want = (played.chroma_of(x).astype(np.float64) for x in (made, original))
        error += float(np.square(got - want).mean())
        error_of_gray += float(np.square(want).mean())
        size += float(np.abs(got).mean())
        size_wanted += float(np.abs(want).mean())
    assert error < 0.7 * error_of_gray
    assert size > 0.45 * size_wanted
