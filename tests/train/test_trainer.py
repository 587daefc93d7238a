"""The trainer: exact resuming, stopping, and errors."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from st.runtime.errors import BadInput, Unavailable
from st.train.checkpoint import load_checkpoint
from st.train.features import FeatureNetwork
from st.train.loop.optimizer import LARGEST, WARM_UP, GradientLimit, WeightAverage, learning_rate
from st.train.loop.run import Progress, Run
from st.train.loop.trainer import Diverged, Interrupted, check_painted, train
from st.train.method import Batch, Method
from st.train.methods import METHODS

Start = Callable[..., Iterator[Progress]]


@pytest.fixture
def start(
    photographs: Path,
    paintings: Path,
    network_of: Callable[..., FeatureNetwork],
    small: Callable[..., Any],
    tmp_path: Path,
) -> Start:
    """Start a small training; keywords go to Run or to the method's Config."""

    def begin(method: Method, output: str = "model.pt", **given: Any) -> Iterator[Progress]:
        styles = (paintings / "strokes.png",) if method.styles == "one" else (paintings,)
        fields = {field.name for field in dataclasses.fields(Run)}
        values = {
            "content": (photographs,),
            "styles": tuple(map(str, styles)),
            "output": tmp_path / output,
            "device": "cpu",
            "precision": "32-true",
            "workers": 0,
            "save_every": 3,
            "preview_every": 100,
        }
        run = Run(**values | {k: v for k, v in given.items() if k in fields})
        settings = {k: v for k, v in given.items() if k not in fields}
        config = small(method, **settings)
        return train(method, config, run, lambda: network_of(method, config))

    return begin


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "32-true") for name in METHODS), ("cin", "bf16-mixed"), ("adain", "bf16-mixed")],
)
def test_resume_continues_bit_for_bit(
    name: str, precision: str, start: Start, tmp_path: Path
) -> None:
    method = METHODS[name]
    whole = [p.losses for p in start(method, "whole.pt", precision=precision)]
    assert len(whole) == 6
    half = start(method, "half.pt", precision=precision)
    seen = [next(half).losses for _ in range(4)]  # one step more than is saved
    half.close()
    assert not (tmp_path / "half.pt").exists()
    assert load_checkpoint(tmp_path / "half.resume.pt").card["steps"] == 3
    rest = list(start(method, "half.pt", precision=precision, resume=True))
    assert [p.step for p in rest] == [4, 5, 6]
    assert [*seen[:3], *(p.losses for p in rest)] == whole
    states = [load_checkpoint(tmp_path / f"{x}.pt").state for x in ("whole", "half")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.temporal])
def test_temporal_training(name: str, start: Start, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"temporal_weight": 50.0, "temporal_every": 2, "steps": 4}
    whole = [p.losses for p in start(METHODS[name], "whole.pt", **settings)]
    assert [losses.get("temporal", 0) > 0 for losses in whole] == [True, False, True, False]
    half = start(METHODS[name], "half.pt", **settings)
    assert [next(half).losses for _ in range(3)] == whole[:3]
    half.close()
    rest = start(METHODS[name], "half.pt", resume=True, **settings)
    assert [p.losses for p in rest] == whole[3:]
    saved = load_checkpoint(tmp_path / "half.pt")
    assert saved.card["motion"] == "warped photographs and 0 clips"
    assert saved.settings().temporal_weight == 50


def test_temporal_training_reduces_flicker(start: Start) -> None:
    """With a dominant weight, the temporal loss falls far below that of a training without it."""

    def last(weight: float) -> float:
        run = start(METHODS["perceptual"], f"{weight}.pt", temporal_weight=weight, steps=30)
        return sum(p.losses["temporal"] for p in list(run)[-10:]) / weight

    assert last(5e3) < 0.5 * last(1e-6)


def test_clips_need_the_temporal_loss(start: Start, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="temporal loss"):
        next(start(METHODS["cin"], video=(tmp_path,)))
    with pytest.raises(BadInput, match="no videos"):
        next(start(METHODS["cin"], video=(tmp_path,), temporal_weight=1.0))


def test_a_training_writes_checkpoint_preview_and_logs(start: Start, tmp_path: Path) -> None:
    steps = list(start(METHODS["cin"], preview_every=6))
    assert [p.step for p in steps] == [1, 2, 3, 4, 5, 6]
    assert all(set(p.losses) == {"content", "style", "tv", "raster"} for p in steps)
    saved = load_checkpoint(tmp_path / "model.pt")
    assert saved.styles == ("dashes", "strokes")
    assert saved.training is None
    assert saved.card["steps"] == 6
    assert saved.card["styles"] == "dashes (dashes.png), strokes (strokes.png)"
    assert not any(str(tmp_path) in str(value) for value in saved.card.values())
    with Image.open(tmp_path / "model.preview.jpg") as preview:
        assert preview.size == (3 * 48, 3 * 48)  # a row of styles, and two crops in each
    assert list((tmp_path / "model.logs").glob("events*"))
    assert not list(tmp_path.glob(".*"))


def test_resuming_a_finished_training_changes_nothing(start: Start, tmp_path: Path) -> None:
    list(start(METHODS["perceptual"], steps=2))
    before = load_checkpoint(tmp_path / "model.pt")
    (tmp_path / "model.pt").unlink()
    assert list(start(METHODS["perceptual"], steps=2, resume=True)) == []
    after = load_checkpoint(tmp_path / "model.pt")
    assert all(torch.equal(before.state[k], after.state[k]) for k in before.state)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_the_state(number: int, start: Start, tmp_path: Path) -> None:
    handler = signal.getsignal(number)
    training = start(METHODS["cin"], save_every=100)
    next(training)
    signal.raise_signal(number)
    with pytest.raises(Interrupted, match=r"step 1.*resumed"):
        next(training)
    assert signal.getsignal(number) == handler
    assert not (tmp_path / "model.pt").exists()
    assert [p.step for p in start(METHODS["cin"], resume=True)] == [2, 3, 4, 5, 6]


def test_resume_refuses_other_settings(start: Start, tmp_path: Path, paintings: Path) -> None:
    cin = METHODS["cin"]
    with pytest.raises(BadInput, match="no saved state"):
        next(start(cin, resume=True))
    list(start(cin, steps=1))
    with pytest.raises(BadInput, match="other styles"):
        next(start(cin, styles=(str(paintings / "strokes.png"),), resume=True))
    with pytest.raises(BadInput, match=r"does not fit.*shape: fast before, johnson now"):
        next(start(cin, shape="johnson", resume=True))
    with pytest.raises(BadInput, match="not of a training with perceptual"):
        next(start(METHODS["perceptual"], resume=True))
    (tmp_path / "model.pt").replace(tmp_path / "model.resume.pt")
    with pytest.raises(BadInput, match="not of a training"):  # a whole one, with no state
        next(start(cin, resume=True))


def test_unusable_settings(start: Start, paintings: Path) -> None:
    with pytest.raises(BadInput, match="one style, 2 pictures"):
        next(start(METHODS["perceptual"], styles=(str(paintings),)))
    with pytest.raises(BadInput, match="no style pictures"):
        next(start(METHODS["cin"], styles=()))
    with pytest.raises(BadInput, match="multiple of 8"):
        next(start(METHODS["adain"], size=36))
    with pytest.raises(BadInput, match="24 or more"):
        next(start(METHODS["cin"], size=16))
    if not torch.cuda.is_available():
        with pytest.raises(Unavailable, match="cuda"):
            next(start(METHODS["cin"], device="cuda"))


def test_nan_stops_training_and_keeps_the_last_good_state(start: Start, tmp_path: Path) -> None:
    cin = METHODS["cin"]
    calls = 0

    def broken(*given: Any) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        terms = cin.step(*given)
        return terms | {"style": terms["style"] * (math.nan if calls == 5 else 1)}

    with pytest.raises(Diverged, match="NaN at step 5"):
        list(start(dataclasses.replace(cin, step=broken)))
    assert load_checkpoint(tmp_path / "model.resume.pt").card["steps"] == 3
    assert not (tmp_path / "model.pt").exists()


def test_a_too_high_learning_rate_is_reported(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that really diverges: the picture saturates, and training stops at the next saved
    state."""
    monkeypatch.setattr("st.train.loop.trainer.WARM_UP", 2)
    with pytest.raises(Diverged, match="lower the learning rate"):
        list(start(METHODS["cin"], loss_network="vgg16", learning_rate=1e4, steps=12))


def painter(picture: Tensor) -> Method:
    """A method that always paints the same picture."""
    return dataclasses.replace(METHODS["cin"], paint=lambda *_: picture)


def test_check_painted() -> None:
    torch.manual_seed(0)
    index, network = torch.zeros(1, dtype=torch.int64), nn.Identity()
    busy = Batch(torch.rand(1, 3, 16, 16), index)
    plain = Batch(torch.full((1, 3, 16, 16), 0.5), index)
    late, planned = 2 * WARM_UP, 10 * WARM_UP
    for color in (0.0, 0.5, 1.0, 7.0):
        flat = painter(torch.full((1, 3, 16, 16), color))
        with pytest.raises(Diverged, match="one color"):
            check_painted(flat, network, busy, late, planned)
        check_painted(flat, network, busy, late - 1, planned)  # too early to say
        check_painted(flat, network, busy, 2 * late - 1, 2 * planned)  # of a longer training too
        check_painted(flat, network, plain, late, planned)  # rightly flat
    check_painted(painter(torch.rand(1, 3, 16, 16)), network, busy, late, planned)
    faint = painter(0.4 + 0.1 * torch.rand(1, 3, 16, 16))
    check_painted(faint, network, busy, late, planned)
    with pytest.raises(Diverged, match="NaN"):
        check_painted(painter(torch.full((1, 3, 16, 16), math.nan)), network, plain, 1, planned)


def test_learning_rate() -> None:
    rates = [learning_rate(step, 1000, 2.0) for step in range(1000)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[99:600] == [2.0] * 501
    assert rates[800] == pytest.approx(1.0)
    assert 0 < rates[-1] < 0.001
    assert rates[:100] == sorted(rates[:100])
    assert rates[600:] == sorted(rates[600:], reverse=True)


@pytest.mark.parametrize("name", ["colorize", "superres"])
def test_without_styles_a_preview_shows_crops_and_results(
    name: str, start: Start, tmp_path: Path
) -> None:
    method = METHODS[name]
    size = 96
    list(start(method, steps=1, size=size, batch=2, preview_every=1))
    with Image.open(tmp_path / "model.preview.jpg") as preview:
        assert preview.size == (10 * size, 2 * size)


def test_a_damaged_photograph_does_not_end_a_training(
    start: Start, photographs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for photo in photographs.iterdir():
        (folder / photo.name).write_bytes(photo.read_bytes())
    (folder / "cut.png").write_bytes((folder / "photo0.png").read_bytes()[:500])
    progress = list(start(METHODS["cin"], content=(folder,)))
    assert [p.step for p in progress] == [1, 2, 3, 4, 5, 6]
    assert ["cut.png" in line for p in progress for line in p.unreadable] == [True]


def test_any_failure_saves_the_state(start: Start, tmp_path: Path) -> None:
    cin = METHODS["cin"]
    calls = 0

    def failing(*given: Any) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("out of luck")
        return cin.step(*given)

    with pytest.raises(Interrupted, match="RuntimeError: out of luck; step 2 is saved"):
        list(start(dataclasses.replace(cin, step=failing), save_every=100))
    assert [p.step for p in start(cin, resume=True)] == [3, 4, 5, 6]


def test_a_pause_changes_nothing(start: Start, tmp_path: Path) -> None:
    cin = METHODS["cin"]
    whole = [p.losses for p in start(cin, "whole.pt", average=0.9)]
    paused = list(start(cin, "half.pt", average=0.9, pause_after=1e-9))
    assert [(p.step, p.paused) for p in paused] == [(1, True)]
    assert not (tmp_path / "half.pt").exists()
    rest = list(start(cin, "half.pt", average=0.9, resume=True))
    assert [p.losses for p in [*paused, *rest]] == whole
    states = [load_checkpoint(tmp_path / f"{x}.pt").state for x in ("whole", "half")]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_weight_average() -> None:
    network = nn.Linear(1, 1)
    nn.init.zeros_(network.weight)
    average = WeightAverage(network, 0.5)
    for value in (1.0, 2.0):
        nn.init.constant_(network.weight, value)
        average.update(network)
    first = 1 - 2 / 11  # the decay of the first updates is below 0.5: (1 + n) / (10 + n)
    expected = first * 3 / 12 + 2 * (1 - 3 / 12)
    assert average.state["weight"].item() == pytest.approx(expected)
    with average.applied(network):
        assert network.weight.item() == pytest.approx(expected)
    assert network.weight.item() == 2
    again = WeightAverage(network, 0.5)
    again.restore(average.saved())
    assert torch.equal(again.state["weight"], average.state["weight"])


def test_one_training_at_a_time(start: Start, tmp_path: Path) -> None:
    first = start(METHODS["cin"])
    next(first)
    with pytest.raises(BadInput, match=f"is being trained by process {os.getpid()} on"):
        next(start(METHODS["cin"]))
    first.close()
    assert not (tmp_path / "model.lock").exists()
    next(start(METHODS["cin"]))


def test_resuming_with_fewer_steps_than_done(start: Start) -> None:
    list(start(METHODS["cin"], steps=2))
    with pytest.raises(BadInput, match="has done 2 steps, more than the 1 asked for"):
        next(start(METHODS["cin"], steps=1, resume=True))


def test_a_batch_of_huge_or_infinite_gradients_does_not_end_a_training() -> None:
    """Gradients are limited to a multiple of their running average, or removed."""
    network, limit = nn.Linear(3, 1, bias=False), GradientLimit()

    def after(*gradient: float) -> Tensor | None:
        network.weight.grad = torch.tensor([gradient], dtype=torch.float32)
        limit.apply(network)
        return network.weight.grad

    for _ in range(9):
        kept = after(3, 0, 4)
        assert kept is not None
        assert torch.equal(kept, torch.tensor([[3.0, 0, 4]]))
    assert limit.average == 5
    shortened = after(300, 0, 400)
    assert shortened is not None
    torch.testing.assert_close(shortened, torch.tensor([[3.0, 0, 4]]) * LARGEST)
    assert after(math.nan, 0, 1) is None
    assert after(math.inf, 0, 1) is None
    assert 5 < limit.average < 6, "a huge batch counts as what it is limited to"
