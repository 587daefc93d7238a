"""The slow methods on real pictures: losses decrease, callbacks stop them, and controls take
effect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from st.runtime.errors import BadInput
from st.runtime.painting.color_transfer import LUMA
from st.train.data.pictures import load_style
from st.train.losses.basic import gram, relative_distance
from st.train.losses.patches import Bank
from st.train.patch_distance import patch_distance
from st.train.slow import cnnmrf, gatys, histogram, laplacian, reshuffle
from st.train.slow.cnnmrf import Config as CnnmrfConfig
from st.train.slow.cnnmrf import Match, transformed
from st.train.slow.colors import keep_chroma, match_colors
from st.train.slow.entries import entries
from st.train.slow.gatys import Config as GatysConfig
from st.train.slow.histogram import Config as HistogramConfig
from st.train.slow.laplacian import Config as LaplacianConfig
from st.train.slow.laplacian import filtered
from st.train.slow.optimize import Step, Task, descend, minimize, pyramid, split, split_steps
from st.train.slow.reshuffle import Config as ReshuffleConfig
from st.train.slow.styles import Style
from tests.support.photos import photograph

METHODS: dict[str, tuple[Any, Any]] = {
    "gatys": (gatys, GatysConfig(size=64, steps=8)),
    "laplacian": (laplacian, LaplacianConfig(size=64, steps=8)),
    "histogram": (histogram, HistogramConfig(size=64, steps=8, coarsest=64)),
    "cnnmrf": (
        cnnmrf,
        CnnmrfConfig(size=64, steps=8, coarsest=64, scales=(1.0,), rotations=(0.0,), match_every=8),
    ),
    "reshuffle": (
        reshuffle,
        ReshuffleConfig(size=80, steps=12, layers=("relu4_1:0.5", "relu2_1:0"), matchings=1),
    ),
}


def run(name: str, pair: tuple[Tensor, Tensor], vgg: Any, **changes: Any) -> list[Step]:
    """Run all steps of a method."""
    method, config = METHODS[name]
    steps: list[Step] = []
    painted = method(*pair, replace(config, **changes), steps.append, vgg)
    assert torch.equal(painted, steps[-1].picture)
    return steps


@pytest.mark.parametrize("name", METHODS)
def test_losses_fall_on_a_real_pair(name, pair, vgg):
    steps = run(name, pair, vgg)
    totals = [sum(step.losses.values()) for step in steps]
    size = METHODS[name][1].size
    assert max(steps[-1].picture.shape) == size
    assert steps[-1].picture.min() >= 0
    assert steps[-1].picture.max() <= 1
    if name == "reshuffle":  # a layer after the other: each falls by itself
        assert totals[5] < 0.8 * totals[0]
        assert totals[11] < 0.9 * totals[6]
    else:
        assert totals[-1] < 0.7 * totals[0]


@pytest.mark.parametrize("name", METHODS)
def test_a_callback_stops_early(name, pair, vgg):
    method, config = METHODS[name]
    seen: list[Step] = []

    def two(step: Step) -> bool:
        seen.append(step)
        return len(seen) == 2

    painted = method(*pair, config, two, vgg)
    assert [step.evaluation for step in seen] == [1, 2]
    assert torch.equal(painted, seen[-1].picture)


def test_reshuffle_reports_patch_reuse(pair, vgg):
    steps = run("reshuffle", pair, vgg, steps=2)
    for step in steps:
        assert 1 <= step.figures["max uses"] <= 4  # max_uses, and twice where the style has fewer
        assert 30 < step.figures["used %"] <= 100


def test_laplacian_keeps_edges_better_than_gatys(pair, vgg):
    content, _ = pair
    apart = {}
    for name in ("gatys", "laplacian"):
        painted = run(name, pair, vgg, steps=15)[-1].picture
        small = torch.nn.functional.interpolate(
            content, painted.shape[-2:], mode="bicubic", antialias=True
        )
        apart[name] = float((filtered(painted, 4) - filtered(small, 4)).square().mean())
    assert apart["laplacian"] < 0.8 * apart["gatys"]


def test_noise_depends_on_the_seed_alone(pair, vgg):
    def last(seed: int) -> Tensor:
        return run("gatys", pair, vgg, init="noise", steps=2, seed=seed)[-1].picture

    assert torch.equal(last(1), last(1))
    assert not torch.equal(last(1), last(2))


def test_optimization_starts_at_a_small_size(pair, vgg):
    steps = run("gatys", pair, vgg, size=96, coarsest=48, steps=6)
    assert [max(step.picture.shape) for step in steps] == [48] * 4 + [96] * 2
    assert [step.evaluation for step in steps] == [1, 2, 3, 4, 5, 6]
    assert {step.total for step in steps} == {6}


@pytest.mark.parametrize("name", ["gatys", "histogram"])
def test_regions_are_painted_in_their_own_styles(name, pair, vgg):
    content, wave = pair
    negative = 1 - wave
    left = torch.zeros_like(content[:, :1])
    left[..., : content.shape[-1] // 2] = 1

    def to_wave(mask_of_wave: Tensor) -> Tensor:
        """Distance of the left half's colors from those of the wave."""
        styles = [Style(wave, 1.0, mask_of_wave), Style(negative, 1.0, 1 - mask_of_wave)]
        painted = run(name, (content, styles), vgg, steps=12)[-1].picture  # pyright: ignore
        half = painted[..., : painted.shape[-1] // 2 - 4]
        found, target = (gram(vgg(x, ["relu1_1"])["relu1_1"]) for x in (half, wave))
        return relative_distance(found, target)

    assert to_wave(left) < 0.8 * to_wave(1 - left)


def test_each_region_is_nearer_to_its_own_style_than_to_the_other(pair, vgg):
    """Measured by patch distance, which no loss uses, with two photographs as styles."""
    content, tissue = pair
    coffee = load_style(photograph("coffee.png"), 64).clamp(0, 1)
    left = torch.zeros_like(content[:, :1])
    left[..., : content.shape[-1] // 2] = 1
    styles = [Style(tissue, 1.0, left), Style(coffee, 1.0, 1 - left)]
    settings = {"size": 80, "coarsest": 80, "steps": 24, "init": "noise"}
    painted = run("gatys", (content, styles), vgg, **settings)[-1].picture  # pyright: ignore
    half = painted.shape[-1] // 2
    parts = rgb_of(painted[..., : half - 4]), rgb_of(painted[..., half + 4 :])
    own = [patch_distance(p, rgb_of(s)) for p, s in zip(parts, (tissue, coffee), strict=True)]
    other = [patch_distance(p, rgb_of(s)) for p, s in zip(parts, (coffee, tissue), strict=True)]
    ratios = [mine / theirs for mine, theirs in zip(own, other, strict=True)]
    assert max(ratios) < 1  # 0.94 and 0.81 where this was written
    assert ratios[0] * ratios[1] < 0.85


def rgb_of(picture: Tensor) -> NDArray[np.uint8]:
    """(1, 3, H, W), 0..1 -> (H, W, 3), 0..255."""
    return (picture[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def test_patches_come_from_the_style_of_their_region():
    one, two = torch.full((1, 2, 5, 5), 1.0), torch.full((1, 2, 6, 4), 5.0)
    left = torch.zeros(1, 1, 16, 20)
    left[..., :10] = 1
    match = Match([Bank.of([one]), Bank.of([two])], [left, 1 - left])
    match.renew(torch.ones(1, 2, 8, 10))
    laid = (match.votes[0] + match.votes[1]).mean()
    # Patches in the middle belong to both sides; elsewhere all nine agree.
    assert torch.allclose(laid[..., :4], torch.tensor(1.0))
    assert torch.allclose(laid[..., 6:], torch.tensor(5.0))


def test_luminance_keeps_the_chroma_of_the_content():
    random = torch.Generator().manual_seed(1)
    content = 0.4 + 0.2 * torch.rand(1, 3, 4, 5, generator=random)
    painted = 0.4 + 0.2 * torch.rand(1, 3, 4, 5, generator=random)
    kept = keep_chroma(painted, content)
    weights = torch.tensor(LUMA).view(1, 3, 1, 1)
    torch.testing.assert_close((weights * kept).sum(1), (weights * painted).sum(1))
    torch.testing.assert_close(kept[:, 0] - kept[:, 2], content[:, 0] - content[:, 2])


def test_matched_colors_have_the_contents_mean_and_covariance():
    random = torch.Generator().manual_seed(2)
    mix = torch.tensor([[0.2, 0.05, 0.0], [0.1, 0.1, 0.0], [0.0, 0.05, 0.1]])

    def cloud() -> Tensor:
        return (torch.randn(4000, 3, generator=random) * 0.3 @ mix).T.reshape(1, 3, 40, 100) + 0.5

    content = cloud().clamp(0, 1)
    style = cloud()[:, [2, 0, 1]].clamp(0, 1)
    matched = match_colors(style, content).flatten(2)[0]
    expected = content.flatten(2)[0]
    torch.testing.assert_close(matched.mean(1), expected.mean(1), atol=2e-3, rtol=0)
    torch.testing.assert_close(matched.cov(), expected.cov(), atol=3e-4, rtol=0)


def test_a_transformed_style_is_rotated_at_the_same_size():
    image = torch.zeros(1, 3, 33, 65)
    image[..., 16, 40:56] = 1  # a stroke to the right of the middle
    turn = transformed(image, 1.0, 30.0)
    assert turn.shape == image.shape
    rows, columns = (turn[0, 0] > 0.3).nonzero().float().T
    slope = torch.linalg.lstsq(torch.stack([columns, torch.ones_like(columns)], 1), rows[:, None])
    assert abs(float(slope.solution[0, 0])) == pytest.approx(0.577, abs=0.08)
    assert transformed(image, 1.5, 0.0).shape == (1, 3, 50, 98)


def test_descent_reaches_the_minimum_of_a_quadratic():
    target = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    scale = torch.linspace(1, 30, 75).view(1, 3, 5, 5)

    def losses(x: Tensor) -> dict[str, Tensor]:
        return {"apart": (scale * (x - target).square()).sum()}

    *_, (picture, terms) = descend(torch.zeros(1, 3, 5, 5), losses, 40)
    torch.testing.assert_close(picture, target, atol=1e-3, rtol=0)
    assert terms["apart"] < 1e-4


def test_descent_undoes_steps_that_raise_the_loss():
    def flat_flanks(x: Tensor) -> dict[str, Tensor]:
        return {"loss": (1 + x.sum() ** 2).sqrt()}  # far out, curvature promises too much

    totals = [terms["loss"] for _, terms in descend(torch.full((1, 3, 2, 2), 0.5), flat_flanks, 30)]
    assert 2 < len(totals) < 30  # some were taken back
    best = [min(totals[: i + 1]) for i in range(len(totals))]
    assert all(total <= 2 * least for total, least in zip(totals, best, strict=True))
    assert totals[-1] < totals[0]


def test_descent_refuses_losses_that_are_not_finite():
    with pytest.raises(BadInput, match="not finite"):
        list(descend(torch.ones(1, 3, 2, 2), lambda x: {"loss": x.sum() / 0}, 3))


def test_targets_are_renewed_between_rounds():
    renewed: list[float] = []
    task = Task(
        lambda x: {"loss": x.square().sum()},
        lambda x: renewed.append(float(x.square().sum())),
        lambda evaluations: 3,
    )
    assert len(list(minimize(torch.ones(1, 3, 4, 4), task, 8))) == 8
    assert len(renewed) == 3
    assert renewed[0] == 48
    assert renewed == sorted(renewed, reverse=True)
    assert split(8, 3) == [3, 3, 2]


def test_pyramid_sizes():
    assert pyramid(300, 400, 400, 32) == [(38, 50), (75, 100), (150, 200), (300, 400)]
    assert pyramid(30, 300, 300, 32) == [(30, 300)]  # half of it would be 15 high
    assert pyramid(100, 50, 200, 400) == [(200, 100)]
    assert split_steps(300, 3) == [171, 86, 43]
    assert split_steps(2, 3) == [1, 1, 1]
    with pytest.raises(BadInput, match="short side"):
        pyramid(10, 300, 300, 32)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("gatys", {"init": "zebra"}, "init zebra"),
        ("gatys", {"color": "none"}, "color none"),
        ("gatys", {"steps": 0}, "1 or more"),
        ("gatys", {"pooling": "median"}, "pooling median"),
        ("gatys", {"style_layers": ("relu9_1",)}, "no layer relu9_1"),
        ("gatys", {"style_layers": ("relu1_1:0",)}, "every layer weight is 0"),
        ("gatys", {"content_layer": "fc6"}, "no layer fc6"),
        ("gatys", {"style_weight": float("nan")}, "not finite"),
        ("gatys", {"size": 8}, "short side"),
        ("cnnmrf", {"rotations": ()}, "rotation"),
        ("cnnmrf", {"match_every": 0}, "match every"),
        ("reshuffle", {"max_uses": 0}, "max uses"),
        ("reshuffle", {"layers": ("relu5_1:-1",)}, "0 or more"),
    ],
)
def test_bad_settings_are_refused_with_the_reason(name, changes, message, pair, vgg):
    with pytest.raises(BadInput, match=message):
        run(name, pair, vgg, **changes)


def test_unusable_styles_are_refused(pair, vgg):
    content, wave = pair
    mask = torch.ones_like(content[:, :1])
    cases = [
        ("gatys", [], "no style"),
        ("gatys", wave[0], "not \\(1, 3, H, W\\)"),
        ("gatys", Style(wave, 0.0), "not above 0"),
        ("gatys", Style(wave, 1.0, mask[..., :9]), "size of the content"),
        ("gatys", Style(wave, 1.0, 0 * mask), "all black"),
        ("cnnmrf", [Style(wave, 1.0), Style(wave, 2.0)], "no weights"),
        ("reshuffle", [Style(wave), Style(wave)], "one style"),
    ]
    for name, styles, message in cases:
        with pytest.raises(BadInput, match=message):
            run(name, (content, styles), vgg)  # pyright: ignore


@pytest.mark.parametrize("name", ["gatys", "laplacian", "histogram"])
def test_squeezenet_as_the_loss_network(name: str, random: torch.Generator) -> None:
    """The methods use its default layers, and the losses decrease."""
    entry = entries()[name]
    config = entry.config(loss_network="squeezenet", size=72, steps=8, coarsest=72)
    assert config.content_layer == "fire5"
    content, style = (
        torch.rand(1, 3, side // 8, 9, generator=random).repeat_interleave(8, 2)
        for side in (64, 72)
    )
    content, style = (x.repeat_interleave(8, 3) for x in (content, style))
    totals: list[float] = []
    entry.paint(content, style, config, lambda step: totals.append(sum(step.losses.values())))
    assert min(totals[1:]) < 0.8 * totals[0]


def test_layers_of_the_other_network_are_refused() -> None:
    config = entries()["gatys"].config(loss_network="squeezenet", content_layer="relu4_2")
    picture = torch.rand(1, 3, 64, 64)
    with pytest.raises(BadInput, match="no layer relu4_2; there are conv1, fire2"):
        entries()["gatys"].paint(picture, picture, config)
