"""The temporal loss compared with float64, its training pairs, and its effect on videos."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image
from torch import Tensor

from st.runtime.errors import BadInput
from st.train.data import motion
from st.train.data.batches import Batches
from st.train.data.files import list_pictures
from st.train.data.motion import Clip, filmed, list_clips, moved, random_flow
from st.train.data.pictures import to_tensor
from st.train.losses.temporal import Motion, temporal_loss, temporal_terms, warp


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact_warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """By the definition of bilinear interpolation: (C, H, W), (2, H, W) -> (C, H, W)."""
    _, height, width = image.shape
    result = np.empty_like(image)
    for y in range(height):
        for x in range(width):
            across = min(max(x + flow[0, y, x], 0), width - 1)
            down = min(max(y + flow[1, y, x], 0), height - 1)
            left, top = int(across), int(down)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            a, b = across - left, down - top
            upper = image[:, top, left] * (1 - a) + image[:, top, right] * a
            lower = image[:, bottom, left] * (1 - a) + image[:, bottom, right] * a
            result[:, y, x] = upper * (1 - b) + lower * b
    return result


@settings(deadline=None, max_examples=15)
@given(
    some.integers(1, 2),
    some.integers(2, 9),
    some.integers(2, 9),
    some.integers(0, 99),
)
def test_warp_and_temporal_loss_match_float64(m: int, height: int, width: int, seed: int) -> None:
    earlier, later = (
        noise(m, 3, height, width, seed=seed),
        noise(m, 3, height, width, seed=seed + 1),
    )
    flow = 6 * noise(m, 2, height, width, seed=seed + 2) - 3
    seen = (noise(m, 1, height, width, seed=seed + 3) > 0.3).double()
    exact = np.stack([exact_warp(e.numpy(), f.numpy()) for e, f in zip(earlier, flow, strict=True)])
    np.testing.assert_allclose(warp(earlier, flow).numpy(), exact, atol=1e-12)
    np.testing.assert_allclose(warp(earlier.float(), flow.float()).numpy(), exact, atol=1e-5)
    squares = ((later.numpy() - exact) ** 2).sum(1, keepdims=True)
    error = (squares * seen.numpy()).sum() / max(1, 3 * seen.numpy().sum())
    found = temporal_loss(earlier, later, Motion(later, flow, seen))
    assert float(found) == pytest.approx(error, abs=1e-12)


def test_gradients_reach_both_frames() -> None:
    earlier, later = (noise(1, 3, 4, 5, seed=s).requires_grad_() for s in (0, 1))
    flow = 2 * noise(1, 2, 4, 5, seed=2) - 1
    seen = torch.ones(1, 1, 4, 5, dtype=torch.float64)
    along = Motion(later.detach(), flow, seen)
    assert torch.autograd.gradcheck(lambda a, b: temporal_loss(a, b, along), (earlier, later))


def test_loss_in_bfloat16_is_summed_in_float32() -> None:
    frames, flow = noise(2, 3, 16, 16).bfloat16(), torch.full((2, 2, 16, 16), 0.5)
    along = Motion(frames, flow, torch.ones(2, 1, 16, 16))
    with torch.autocast("cpu", torch.bfloat16):
        loss = temporal_loss(frames, frames, along)
    assert loss.dtype == torch.float32
    assert loss == temporal_loss(frames.float(), frames.float(), along)


def test_temporal_loss_without_visible_pixels_is_zero() -> None:
    frames = noise(1, 3, 4, 4).float()
    blind = Motion(frames, torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4))
    assert temporal_loss(frames, 1 - frames, blind) == 0
    assert temporal_terms(frames, None, lambda x: x, 1.0) == {}


def test_a_shifted_photograph_has_the_known_flow(photographs: Path) -> None:
    with Image.open(photographs / "photo0.png") as image:
        picture = to_tensor(image).permute(1, 2, 0).numpy()
    for seed in range(6):
        pair = moved(picture, np.random.default_rng(seed))
        assert pair.later.dtype == np.float32
        assert 0 <= pair.later.min() <= pair.later.max() <= 1
        assert pair.seen.mean() > 0.75
        earlier = torch.from_numpy(pair.earlier).permute(2, 0, 1)[None]
        flow = torch.from_numpy(pair.flow).permute(2, 0, 1)[None]
        back = warp(earlier, flow)[0].permute(1, 2, 0).numpy()
        apart = np.abs(back - pair.later)[pair.seen]
        assert apart.mean() < 0.05  # noise, light and interpolation
    stills = [not moved(picture, np.random.default_rng(s)).flow.any() for s in range(60)]
    assert 3 <= sum(stills) <= 25


def test_synthetic_motion_is_smooth_and_video_like() -> None:
    for seed in range(20):
        flow = random_flow(192, 192, np.random.default_rng(seed))
        assert np.abs(flow).max() < 0.15 * 192
        assert max(np.abs(np.diff(flow, axis=axis)).max() for axis in (0, 1)) < 0.3  # does not fold


def write_clip(path: Path, frames: list[np.ndarray]) -> Path:
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=25, options={"qp": "10", "preset": "ultrafast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        film.mux(stream.encode(None))
    return path


def pan(steps: int, dx: int = 3) -> list[np.ndarray]:
    soft = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 1, (96, 300, 3)), (0, 0), 3)
    texture = (soft / soft.std() * 50 + 128).clip(0, 255).astype(np.uint8)
    return [np.ascontiguousarray(texture[:, dx * i : dx * i + 128]) for i in range(steps)]


def test_clips_yield_consecutive_frames(tmp_path: Path, photographs: Path) -> None:
    write_clip(tmp_path / "pan.mp4", pan(30))
    (tmp_path / "notes.txt").write_text("no video")
    shutil.copy(photographs / "photo0.png", tmp_path / "still.png")
    (clip,) = list_clips(tmp_path)
    assert clip.seconds == pytest.approx(30 / 25, abs=0.05)
    seen = set()
    for seed in range(5):
        frames = clip.pair(np.random.default_rng(seed))
        assert frames is not None
        pair = filmed(*(np.asarray(frame) for frame in frames))
        assert pair is not None
        assert np.median(pair.flow[..., 0][pair.seen]) == pytest.approx(3, abs=0.2)
        seen.add(pair.earlier.tobytes())
    assert len(seen) > 2  # from all over the clip
    again = [clip.pair(np.random.default_rng(7)) for _ in range(2)]
    assert again[0] == again[1]
    assert Clip(tmp_path / "gone.mp4", 1.0).pair(np.random.default_rng(0)) is None
    first = pan(1)[0]
    other = np.random.default_rng(0).integers(0, 256, first.shape, np.uint8)
    assert filmed(first, other) is None  # a cut


def test_folders_without_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        list_clips(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("no video")
    with pytest.raises(BadInput, match="no videos"):
        list_clips(tmp_path)


@pytest.mark.parametrize("clips", [False, True])
def test_batches_in_motion(
    clips: bool, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, given = list_pictures(photographs), []
    if clips:
        write_clip(tmp_path / "pan.mp4", pan(12))
        given = list_clips(tmp_path)
    still = Batches(files, (), 1, 64, 4, seed=3)
    lively = Batches(files, (), 1, 64, 4, seed=3, pairs=2, every=2, clips=given)
    changed = 0
    for step in range(6):
        plain, batch = still[step], lively[step]
        assert plain.motion is None
        assert (batch.motion is not None) == (step % 2 == 0)
        assert torch.equal(batch.content[2:], plain.content[2:])
        changed += not torch.equal(batch.content[:2], plain.content[:2])
        if batch.motion is not None:
            again = lively[step].motion
            assert again is not None
            assert torch.equal(again.later, batch.motion.later)
            assert batch.motion.later.shape == (2, 3, 64, 64)
            assert batch.motion.flow.shape == (2, 2, 64, 64)
            assert batch.motion.seen.shape == (2, 1, 64, 64)
            error = temporal_loss(batch.content[:2], batch.motion.later, batch.motion)
            assert error < 0.01
    assert (changed > 0) == clips
    # A clip that is gone, or was damaged on the way, is no end of a long training.
    monkeypatch.setattr(motion.Clip, "pair", lambda self, random: None)
    assert lively[0].motion is not None
