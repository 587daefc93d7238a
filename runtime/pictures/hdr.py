"""HDR transfer functions and the tone curve that videos and still pictures share.

Engines are trained on standard-range pictures, so PQ and HLG pictures are mapped to what a BT.709
screen shows: code values to linear light, highlights rolled off, BT.2020 to BT.709 primaries,
linear light to BT.709 code values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PQ, HLG = 16, 18  # transfer characteristics, ITU-T H.273
WHITE = 203.0  # cd/m2 of diffuse white, ITU-R BT.2408
PEAK = 1000.0  # cd/m2 that still shows detail
KNEE = 0.7  # fraction of the SDR range below which light is not changed
BT2020_TO_BT709 = np.array(  # linear RGB, ITU-R BT.2087
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])


def pq_to_light(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """PQ code values 0..1 to light, where 1 is WHITE (SMPTE ST 2084). Any shape."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = code ** (1 / m2)
    return 10000 / WHITE * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def hlg_to_light(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """HLG code values (..., 3), 0..1, to light on a screen of PEAK cd/m2, where 1 is WHITE.

    ITU-R BT.2100, with the system gamma of 1.2 for a screen of 1000 cd/m2.
    """
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    luma = np.maximum(scene @ _LUMA_2020, 1e-6)[..., None]
    return PEAK / WHITE * scene * luma**0.2


def light_to_sdr(
    light: NDArray[np.float64], to_bt709: NDArray[np.float64] = BT2020_TO_BT709
) -> NDArray[np.float64]:
    """Linear light (..., 3), 1 = diffuse white, to BT.709 code values (..., 3), 0..1.

    to_bt709: (3, 3) matrix from the light's primaries to those of BT.709.
    """
    brightest = np.maximum(light.max(-1, keepdims=True), 1e-9)
    # One factor for all three channels keeps the hue of highlights.
    light = light * (_roll_off(brightest) / brightest)
    light = np.clip(light @ to_bt709.T, 0, 1)
    return np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)


def code_to_sdr(code: NDArray[np.float64], transfer: int) -> NDArray[np.float64]:
    """BT.2020 code values (..., 3), 0..1, to BT.709 code values 0..1. transfer: PQ or HLG."""
    light = pq_to_light(code) if transfer == PQ else hlg_to_light(code)
    return light_to_sdr(light, BT2020_TO_BT709)


def _roll_off(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear up to KNEE, then a power curve of the logarithm that reaches 1 at PEAK."""
    top = np.log(PEAK / WHITE / KNEE)
    t = np.clip(np.log(np.maximum(light, KNEE) / KNEE) / top, 0, 1)
    slope = KNEE * top  # of the linear part at the knee, on the logarithmic scale
    bent = KNEE + (1 - KNEE) * (1 - (1 - t) ** max(1.0, slope / (1 - KNEE)))
    return np.where(light <= KNEE, light, bent)
