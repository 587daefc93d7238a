"""Pictures of float or 32-bit samples: which value is white, and values in 0..1 of it.

Files of this kind do not say what white is. The rule, by the samples of all color channels that
are finite numbers:

- integers of 32 bits, none above 65535: white is 65535; else it is the type's largest value;
- floats, 99 % of them at most 4: white is 1. What is brighter, such as a highlight of an HDR
  photograph, is cut off at white;
- other floats, and whole numbers that go above 4: white is 255, or 65535 where a value exceeds 255;
- floats above 65535, many below -4, and no number at all: refused, because no rule would be right
  often enough.

Negative values and NaN become black, infinity becomes white. Values are sRGB code values, as in
files of 8 bits, unless the file has a color profile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HIGHLIGHTS = 4.0  # times white that a float picture's bright places may reach
MOST = 0.99  # of all samples
TRIED = 1_000_000  # samples that the quantiles of larger pictures are taken from
TOLERANCE = 1.001  # rounding in conversions that programs make before they save


def white_level(samples: NDArray[Any]) -> float:
    """The value that is white in samples of any shape. Raises ValueError when none can be told."""
    if not np.issubdtype(samples.dtype, np.floating):
        if samples.size and samples.min() < 0:
            raise ValueError("negative samples: save it with 8 or 16 bits")
        top = 65535 if samples.size and samples.max() <= 65535 else np.iinfo(samples.dtype).max
        return float(top)
    finite = samples[np.isfinite(samples)]
    if not finite.size:
        raise ValueError("no sample is a number")
    top = float(finite.max())
    some = finite.ravel()[:: max(1, finite.size // TRIED)]
    low, high = np.quantile(some, (1 - MOST, MOST))
    if low < -HIGHLIGHTS:
        raise ValueError(f"samples from {finite.min():.4g} on: save it with values in 0..1")
    whole = top > HIGHLIGHTS and bool((some == np.rint(some)).all())
    if not whole and high <= HIGHLIGHTS:
        return 1.0
    for white in (255.0, 65535.0):
        if top <= white * TOLERANCE:
            return white
    raise ValueError(f"samples up to {top:.4g}: save it with values in 0..1")


def to_unit(samples: NDArray[Any], white: float) -> NDArray[np.float32]:
    """Samples of any type and shape to 0..1, where 1 is `white`, as a new array."""
    with np.errstate(over="ignore", invalid="ignore"):  # float64 may exceed float32
        unit = (samples / white).astype(np.float32)
    np.nan_to_num(unit, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    return np.clip(unit, 0, 1, out=unit)
