"""Which compiled model OpenVINO runs: one per video size, one for varying sizes, the same after a
resume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from st.runtime import Stylizer
from st.runtime.backends.openvino import OpenVinoBackend
from st.runtime.backends.openvino_cache import LARGE, STYLES, Kind, Requests
from tests.support import toys

pytest.importorskip("openvino")
OUT = ("stylized",)


def run_of(size: int, style: int = 0, content: int = 1) -> dict[str, Any]:
    weights = np.zeros((1, 8), np.float32)
    weights[0, style] = 1
    return {"content": np.zeros((content, size, size, 3), np.uint8), "weights": weights}


def chosen(runs: Sequence[dict[str, Any]]) -> list[Kind]:
    requests = Requests(None, None, None, {})
    return [requests.kind(run, OUT) for run in runs]


def test_a_video_uses_one_model_from_its_first_frame_on() -> None:
    kinds = chosen([run_of(64)] * 5)
    assert len(set(kinds)) == 1
    assert kinds[0].sizes == (("content", (1, 64, 64, 3)), ("weights", (1, 8)))
    assert [name for name, _ in kinds[0].held] == ["weights"]


def test_varying_sizes_share_a_model_until_one_repeats() -> None:
    kinds = chosen([run_of(n) for n in (64, 48, 64, 32, 48, 48, 64, 32)])
    fixed = [kind.sizes is not None for kind in kinds]
    assert fixed == [True, False, True, False, False, True, True, False]
    assert len({kind for kind in kinds if kind.sizes is None}) == 1


def test_the_latest_sizes_are_kept_within_a_limit() -> None:
    side = int((LARGE / 3 / 2.5) ** 0.5)  # two of them fit
    a, b, c = side, side - 8, side - 16
    kinds = chosen([run_of(n) for n in (a, b, b, a, b, c, c, b, a)])
    fixed = [kind.sizes is not None for kind in kinds]
    assert fixed == [True, False, True, True, True, False, True, True, False]


def test_models_of_dropped_sizes_are_dropped(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("st.runtime.backends.openvino_cache.LARGE", 3 * 32 * 32 + 2)
    with Stylizer(toys.tiles_pair(tmp_path / "pair.onnx"), device="openvino") as stylizer:
        for side in (32, 24, 24):
            stylizer(np.zeros((side, side, 3), np.uint8))
        backend = stylizer._engine.backend
        assert isinstance(backend, OpenVinoBackend)
        assert backend._requests is not None
        sizes = {kind.sizes and kind.sizes[0][1] for kind in backend._requests._made}
        assert sizes == {None, (1, 24, 24, 3)}


def test_the_first_styles_are_constants_and_the_others_share_a_model() -> None:
    kinds = chosen([run_of(64, style) for style in (3, 1, 0, 2, 3, 0)])
    assert [bool(kind.held) for kind in kinds] == [True, True, False, False, True, False]
    assert STYLES == 2
    assert kinds[0] == kinds[4] != kinds[1]
    assert kinds[2] == kinds[3]


def test_large_pictures_have_one_constant_style() -> None:
    side = int((LARGE / 3) ** 0.5) + 1
    kinds = chosen([run_of(side, style) for style in (0, 1, 0)])
    assert [bool(kind.held) for kind in kinds] == [True, False, True]


def test_a_resumed_video_uses_the_models_of_an_uninterrupted_run() -> None:
    """Two and three regions of two styles: the runs of each frame, in order."""
    for styles in (2, 3):
        frame = [run_of(64, style) for style in range(styles)]
        assert chosen(frame * 4)[2 * styles :] == chosen(frame * 2)


def test_large_codes_and_noise_are_never_constants() -> None:
    code = {"content": np.zeros((1, 8, 8, 3), np.uint8), "code": np.zeros((1, 1 << 15), np.float32)}
    noise = {"noise": np.zeros((1, 3, 8, 8), np.float32)}
    assert [kind.held for kind in chosen([code, code])] == [(), ()]
    assert [kind.held for kind in chosen([noise, noise])] == [(), ()]


def test_every_model_paints_the_same(tmp_path: Path) -> None:
    """Sizes and styles in an order that uses all models: with constants, without, and dynamic."""
    path = toys.tiles_pair(tmp_path / "pair.onnx")
    random = np.random.default_rng(0)
    with Stylizer(path, device="cpu") as one, Stylizer(path, device="openvino") as other:
        backend = other._engine.backend
        assert isinstance(backend, OpenVinoBackend)
        for number, side in enumerate((32, 32, 32, 40, 48, 40, 40, 32, 32)):
            mixed = {name: float(random.random() + 0.1) for name in one.styles}
            if number % 3 == 0:
                mixed = {one.styles[0]: 1.0}
            frame = random.integers(0, 256, (side, side + 8, 3), np.uint8)
            off = one.set_style(mixed)(frame).astype(int) - other.set_style(mixed)(frame)
            assert np.abs(off).max() <= 1
            assert backend._requests is not None
            assert len(backend._requests._made) <= 3 * STYLES + 2
