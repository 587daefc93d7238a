"""The kernels in Triton's interpreter, compared with float64."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from numpy.typing import NDArray

from tests.support.plugin import interpreted, references

Array = NDArray[Any]
LIMIT = 1.0  # of `error`: 1 is what rounding allows

few = settings(
    max_examples=7,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@some.composite
def maps(draw: some.DrawFn, channels: int = 4, side: int = 24) -> Array:
    """(N, C, H, W) float32 or float16, down to one pixel, with an offset of up to 300 standard
    deviations."""
    shape = (
        draw(some.integers(1, 2)),
        draw(some.integers(1, channels)),
        draw(some.integers(1, side)),
        draw(some.integers(1, side)),
    )
    half = draw(some.booleans())
    random = np.random.default_rng(draw(some.integers(0, 2**32 - 1)))
    offset = draw(some.sampled_from([0.0, -3.0, 30.0] if half else [0.0, -3.0, 3000.0]))
    spread = draw(some.sampled_from([0.01, 1.0, 10.0]))
    return (random.standard_normal(shape) * spread + offset).astype("f2" if half else "f4")


def codes(x: Array, count: int, seed: int = 0) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    scale = random.uniform(0.2, 2, (count, x.shape[1])).astype("f4")
    return scale, random.standard_normal((count, x.shape[1])).astype("f4")


def ulp(x: Array) -> float:
    """The rounding error of a number as large as the largest of x."""
    return float(np.spacing(np.abs(x).max().astype(x.dtype)))


def adain_error(pool: ProcessPoolExecutor, x: Array, kernels: str = "", count: int = 1) -> float:
    """The largest difference from float64, relative to what float32 arithmetic can achieve."""
    scale, shift = codes(x, count)
    (y,) = pool.submit(interpreted.run, "adain", (x, scale, shift), kernels).result(timeout=200)
    assert y.dtype == x.dtype
    assert y.shape == x.shape
    wanted = references.adain(x, scale, shift)
    flat = x.astype("f8").reshape(*x.shape[:2], -1)
    # A mean is known to some ulps of float32; on a flat plane 1/√EPS makes much of them.
    blur = 8 * np.spacing(np.abs(flat).max(2).astype("f4")) / np.sqrt(flat.var(2) + 1e-5)
    allowed = blur[..., None, None] * scale.max() + 8 * ulp(wanted.astype(x.dtype)) + 1e-6
    return float(np.nan_to_num(np.abs(y - wanted) / allowed, nan=np.inf).max())


def covariance_error(
    pool: ProcessPoolExecutor, x: Array, kernels: str = "", correction: int = 0
) -> float:
    mean, made = pool.submit(
        interpreted.run, "covariance", (x,), kernels, correction=correction
    ).result(timeout=200)
    assert mean.dtype == made.dtype == np.float32
    wanted_mean, wanted = references.covariance(x, correction)
    rounding = float(np.spacing(np.abs(x).max().astype("f4")))
    spread = np.sqrt(np.abs(wanted).max())
    allowed = 1e-5 * np.abs(wanted).max() + 8 * rounding * (spread + rounding) + 1e-12
    errors = (
        np.abs(made - wanted).max() / allowed,
        np.abs(mean - wanted_mean).max() / (8 * rounding + 1e-12),
    )
    return float(np.nan_to_num(errors, nan=np.inf).max())


def whiten_error(pool: ProcessPoolExecutor, x: Array, kernels: str = "", count: int = 1) -> float:
    random = np.random.default_rng(1)
    channels = x.shape[1]
    matrix = random.standard_normal((count, channels, channels)).astype("f4")
    mean = x.astype("f8").mean((2, 3)).astype("f4")
    shift = random.standard_normal((count, channels)).astype("f4")
    (y,) = pool.submit(interpreted.run, "whiten_color", (x, matrix, mean, shift), kernels).result(
        timeout=200
    )
    assert y.dtype == x.dtype
    wanted = references.whiten_color(x, matrix, mean, shift)
    scale = np.abs(matrix).sum(2).max() * np.abs(x - mean[..., None, None]).max()
    allowed = 1e-5 * float(scale) + 2 * ulp(wanted.astype(x.dtype)) + 1e-6
    return float(np.nan_to_num(np.abs(y - wanted).max() / allowed, nan=np.inf))


@few
@given(x=maps())
def test_adain_matches_float64(pool: ProcessPoolExecutor, x: Array) -> None:
    assert adain_error(pool, x) < LIMIT
    assert adain_error(pool, x, count=x.shape[0]) < LIMIT  # each picture has a style


@few
@given(x=maps(), correction=some.integers(0, 1))
def test_covariance_matches_float64(pool: ProcessPoolExecutor, x: Array, correction: int) -> None:
    assert covariance_error(pool, x, correction=correction) < LIMIT


@few
@given(x=maps())
def test_whitening_and_coloring_matches_float64(pool: ProcessPoolExecutor, x: Array) -> None:
    assert whiten_error(pool, x) < LIMIT
    assert whiten_error(pool, x, count=x.shape[0]) < LIMIT


def test_more_channels_than_one_tile_match_float64(pool: ProcessPoolExecutor) -> None:
    x = np.random.default_rng(2).standard_normal((1, 131, 9, 7)).astype("f4")
    assert covariance_error(pool, x) < LIMIT
    assert whiten_error(pool, x) < LIMIT


def test_large_planes(pool: ProcessPoolExecutor) -> None:
    """Many iterations of every lane, and many parts; a deviation of 0.1 on an offset of 4000."""
    random = np.random.default_rng(3)
    x = (4000 + 0.1 * random.standard_normal((1, 1, 301, 333))).astype("f4")
    assert adain_error(pool, x) < LIMIT
    assert covariance_error(pool, x[:, :, :60, :71]) < LIMIT


def test_variance_survives_a_large_offset(pool: ProcessPoolExecutor) -> None:
    x = (4096 + np.random.default_rng(4).standard_normal((1, 1, 48, 48))).astype("f4")
    naive = np.square(x).mean(dtype="f4") - np.square(x.mean(dtype="f4"))
    assert abs(naive - x.astype("f8").var()) > 0.1  # the check below is worth something
    assert adain_error(pool, x) < LIMIT
    assert covariance_error(pool, x) < LIMIT


def test_fp16_sums_do_not_overflow(pool: ProcessPoolExecutor) -> None:
    """The squares of these values exceed float16, a known cause of NaN in FP16 norms."""
    x = (60000 * np.random.default_rng(5).uniform(-1, 1, (1, 2, 32, 32))).astype("f2")
    assert adain_error(pool, x) < LIMIT


SPREAD = "(right_apart * before * share)[None, :]"
CENTERED = """left = tl.where(inside, left - left_block[:, None], 0.0)
        right = tl.where(inside, right - right_block[:, None], 0.0)"""
PLANTED = {  # what is wrong: (what finds it, on maps of this shape, the right code, the wrong code)
    "a wrong divisor": (
        adain_error,
        (1, 3, 70, 61),
        "apart * apart, axis=0) / pixels",
        "apart * apart, axis=0) / (pixels - 1)",
    ),
    "lanes of unequal weight": (
        adain_error,
        (1, 3, 70, 61),
        "(start // BLOCK + 1)",
        "(start // BLOCK + 2)",
    ),
    "lanes' means forgotten": (
        adain_error,
        (1, 3, 70, 61),
        "squares + counts * apart * apart",
        "squares",
    ),
    "what lies beyond the plane counted": (
        adain_error,
        (1, 3, 70, 61),
        "apart = tl.where(inside, value - mean, 0.0)",
        "apart = value - mean",
    ),
    "another plane's style": (adain_error, (1, 3, 7, 6), "scale + plane % codes", "scale"),
    "blocks' means forgotten": (
        covariance_error,
        (1, 2, 5, 7),
        SPREAD,
        SPREAD.replace("before", "0.0"),
    ),
    "blocks not centered": (covariance_error, (1, 2, 9, 9), CENTERED, "pass"),
    "the mirror image missing": (
        covariance_error,
        (1, 66, 3, 3),
        "tl.store(mirror, moment, mask=both)",
        "pass",
    ),
    "parts merged as if of one size": (
        covariance_error,
        (1, 1, 40, 53),
        "before = (part * length).to(tl.float32)\n"
        "        count = tl.minimum(pixels - part * length, length).to(tl.float32)",
        "before = part + 0.0\n        count = 1.0",
    ),
    "no center": (whiten_error, (1, 5, 9, 9), "values - center[:, None]", "values"),
    "the matrix transposed": (
        whiten_error,
        (1, 5, 9, 9),
        "rows[:, None] * channels + inner[None, :]",
        "inner[None, :] * channels + rows[:, None]",
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_an_injected_error_is_detected(
    pool: ProcessPoolExecutor, tmp_path: Path, planted: str
) -> None:
    check, shape, right, wrong = PLANTED[planted]
    spec = find_spec("st.export.plugin.kernels")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text()
    assert right in source
    mutant = tmp_path / "kernels.py"
    mutant.write_text(source.replace(right, wrong))
    # A ramp, so that neighboring blocks, parts and lanes differ in their means.
    ramp = np.linspace(0, 3, shape[2] * shape[3]).reshape(shape[2:])
    x = (1 + ramp + np.random.default_rng(6).standard_normal(shape)).astype("f4")
    assert check(pool, x) < LIMIT
    assert check(pool, x, str(mutant)) > 2 * LIMIT
