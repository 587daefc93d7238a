"""Tests of every method in METHODS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor, nn

from st.runtime.engine.metadata import PALETTE
from st.train.checkpoint import Checkpoint, load_checkpoint
from st.train.features import FeatureNetwork
from st.train.method import Batch, ExportSpec, Method
from st.train.methods import METHODS
from st.train.networks.noise import draw

NAMES = {"one": ("wave",), "many": ("wave", "scream"), "any": ()}

FALLS = {"superres": 0.98}  # it begins as an enlargement that is hard to beat


@pytest.fixture(scope="module", params=sorted(METHODS))
def method(request: pytest.FixtureRequest) -> Method:
    return METHODS[request.param]


@pytest.fixture(scope="module")
def loss_network(
    method: Method, small: Callable[..., Any], network_of: Callable[..., FeatureNetwork]
) -> FeatureNetwork:
    return network_of(method, small(method))


@pytest.fixture(scope="module")
def network(
    method: Method, small: Callable[..., Any], loss_network: FeatureNetwork, real_pair: Any
) -> nn.Module:
    """An untrained network, ready for its first step."""
    torch.manual_seed(0)
    network = method.build(small(method), NAMES[method.styles])
    prepare(method, network, small(method), loss_network, real_pair[1])
    return network


def prepare(
    method: Method, network: nn.Module, config: Any, loss_network: FeatureNetwork, style: Tensor
) -> Any:
    with torch.no_grad():
        return method.targets(
            network, loss_network, [style] * max(1, len(NAMES[method.styles])), config
        )


def batch_of(method: Method, content: Tensor, style: Tensor) -> Batch:
    """Two crops; the second is mirrored."""
    pair = [torch.cat([x, x.flip(3)]) for x in (content, style)]
    index = torch.arange(2) % max(1, len(NAMES[method.styles]))
    return Batch(pair[0], index, pair[1] if method.styles == "any" else None, (3, 5))


def controls(method: Method, network: Any, spec: ExportSpec, like: Tensor) -> list[Tensor]:
    """Values for all control inputs of the network, for pictures of this size."""
    names, made = NAMES[method.styles], []
    for name in spec.controls:
        if name == "weights":
            made.append(torch.linspace(1, 2, len(names))[None] / sum(range(1, len(names) + 1)))
        elif name == "code":
            random = torch.Generator().manual_seed(1)
            made.append(network.encode_style(torch.rand(1, 3, 40, 33, generator=random)))
        elif name == "noise":
            made.append(draw(like, spec.noise, 1, count=1))
        elif name == "hints":
            made.append(torch.zeros_like(like.detach()))
        elif name == "palette":
            made.append(torch.full((1, PALETTE), 1 / PALETTE))
        else:
            made.append(torch.tensor([0.7]))
    return made


def test_method_has_title_example_and_defaults(method: Method, small: Callable[..., Any]) -> None:
    assert METHODS[method.name] is method
    assert method.title
    assert method.example.startswith(f"st-train {method.name} ")
    assert method.config().steps >= method.min_steps


def test_step_has_gradients_for_every_weight(
    method: Method,
    network: nn.Module,
    small: Callable[..., Any],
    loss_network: FeatureNetwork,
    real_pair: Any,
) -> None:
    config = small(method)
    targets = prepare(method, network, config, loss_network, real_pair[1])
    network.zero_grad()
    terms = method.step(network, loss_network, targets, batch_of(method, *real_pair), config)
    assert all(term.shape == () and term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name
    assert all(p.grad is None for p in loss_network.parameters())


def test_loss_falls_on_a_real_pair(
    method: Method, small: Callable[..., Any], loss_network: FeatureNetwork, real_pair: Any
) -> None:
    config, goal = small(method, batch=2), FALLS.get(method.name, 0.8)
    torch.manual_seed(0)
    network = method.build(config, NAMES[method.styles])
    targets = prepare(method, network, config, loss_network, real_pair[1])
    batch = batch_of(method, *real_pair)
    learned = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learned, lr=config.learning_rate)
    totals = []
    for _ in range(15):
        terms = method.step(network, loss_network, targets, batch, config)
        total = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
        if totals[-1] < goal * totals[0]:
            break
    assert totals[-1] < goal * totals[0], totals


def test_checkpoint_round_trip(
    method: Method, network: nn.Module, small: Callable[..., Any], real_pair: Any, tmp_path: Path
) -> None:
    content, style = real_pair
    config = {k: getattr(small(method), k) for k in method.config.__dataclass_fields__}
    names = NAMES[method.styles]
    saved = Checkpoint(method.name, config, names, network.state_dict(), {"steps": 0})
    saved.save(tmp_path / "model.pt")
    loaded = load_checkpoint(tmp_path / "model.pt")
    assert loaded.settings() == small(method)
    again = loaded.network()
    assert not again.training
    with torch.no_grad():
        for index in range(max(1, len(names))):
            first = method.paint(network, content, style, index)
            assert first.shape == content.shape
            assert torch.equal(method.paint(again, content, style, index), first)


def test_export_spec_lists_the_norms(method: Method, network: Any) -> None:
    """The reported channels and strides are those of the norms, in execution order."""
    spec = method.export_spec(network)
    if not spec.norms:
        pytest.skip("painted whole: it has no norms whose statistics could be given")
    content = torch.rand(1, 3, 4 * spec.multiple + spec.min_size, 2 * spec.min_size)
    seen: list[tuple[int, int]] = []

    def norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        seen.append((x.shape[1], content.shape[2] // x.shape[2]))
        assert scale.shape == shift.shape == (1, x.shape[1])
        return x

    with torch.no_grad():
        painted = network(content, *controls(method, network, spec, content), norm=norm)
    assert painted.shape == content.shape
    assert tuple(seen) == spec.norms
    assert all(spec.multiple % stride == 0 for _, stride in seen)


def test_export_spec_halo_is_large_enough(method: Method, network: Any) -> None:
    """With given statistics, pixels beyond the halo of a tile do not change its result."""
    spec = method.export_spec(network)
    if not spec.norms and spec.scale == 1:
        pytest.skip("painted whole: a result depends on the whole picture")
    step = spec.multiple
    width = 2 * spec.halo + 6 * step
    left = spec.halo + 2 * step  # a tile of one step, after its halo and some more
    content = torch.rand(1, 3, spec.min_size, width, requires_grad=True)

    def local(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return x * scale[..., None, None] + shift[..., None, None]

    given = controls(method, network, spec, content)
    painted = network(content, *given, **({"norm": local} if spec.norms else {}))
    place = slice(spec.scale * left, spec.scale * (left + step))
    painted[..., place].square().sum().backward()
    assert content.grad is not None
    reached = content.grad.abs().amax(dim=(0, 1, 2)).nonzero().flatten()
    assert int(reached.min()) >= left - spec.halo
    assert int(reached.max()) < left + step + spec.halo
    # And it is no larger than it must be by more than a few steps.
    assert int(reached.min()) <= left - spec.halo + 3 * step + 4


@settings(deadline=None, max_examples=6)
@given(some.integers(0, 3), some.integers(0, 3))
def test_pictures_of_any_multiple_keep_their_size(
    method: Method, network: Any, rows: int, columns: int
) -> None:
    spec = method.export_spec(network)
    height, width = (spec.min_size + n * spec.multiple for n in (rows, columns))
    content = torch.rand(1, 3, height, width)
    with torch.no_grad():
        painted = network(content, *controls(method, network, spec, content))
    assert painted.shape == (1, 3, spec.scale * height, spec.scale * width)
    assert bool(painted.isfinite().all())


def test_style_codes_and_strength(method: Method, network: Any, real_pair: Any) -> None:
    spec = method.export_spec(network)
    if "code" not in spec.controls:
        assert spec.code_size == 0
        pytest.skip("takes no style code")
    content, style = real_pair
    with torch.no_grad():
        codes = network.encode_style(torch.cat([style, content]))
        assert codes.shape == (2, spec.code_size)

        def painted(picture: Tensor, code: Tensor, strength: float) -> Tensor:
            offered = "strength" in spec.controls
            return network(picture, code, *([torch.tensor([strength])] if offered else []))

        # Another style is another picture.
        own = painted(content, codes[1:], 1.0)
        other = painted(content, codes[:1], 1.0)
        assert (own - other).abs().max() > 1e-3
        if "strength" in spec.controls:
            # Strength 0 is the content as the decoder knows it, whatever the style; its own style
            # at 1 is near that: it is that, where the features are changed at one place only.
            kept = painted(content, codes[:1], 0.0)
            torch.testing.assert_close(painted(content, codes[1:], 0.0), kept)
            assert (other - kept).abs().max() > 1e-3
            # Untrained decoders of several levels give pictures with other statistics than the
            # content's; test_wct.py holds one level to it.
            if method.name != "wct":
                assert (own - kept).norm() < (other - kept).norm()
            if len(spec.norms) == 1:
                torch.testing.assert_close(own, kept, rtol=1e-3, atol=1e-4)
        # A batch with one code is each picture with that code.
        both = painted(torch.cat([content, style]), codes[:1], 1.0)
        torch.testing.assert_close(both[1:], painted(style, codes[:1], 1.0), rtol=1e-3, atol=1e-4)


def test_weights_blend(method: Method, network: Any, real_pair: Any) -> None:
    """Between two styles lies a picture that equals neither."""
    if method.styles != "many":
        pytest.skip("has no bank of named styles")
    torch.manual_seed(5)
    # A bank begins with rows that are alike; other networks' styles differ from the start.
    bank = network.get_parameter(method.bank).data if method.bank else torch.empty(0)
    before = bank.clone()
    bank += 0.5 * torch.randn_like(bank)
    try:
        spec = method.export_spec(network)
        given = controls(method, network, spec, real_pair[0])
        place = spec.controls.index("weights")
        with torch.no_grad():
            one, half, two = (
                network(real_pair[0], *given[:place], torch.tensor([w]), *given[place + 1 :])
                for w in ([1.0, 0], [0.5, 0.5], [0, 1.0])
            )
        assert min((half - one).abs().max(), (half - two).abs().max()) > 0.01
    finally:
        bank.copy_(before)
