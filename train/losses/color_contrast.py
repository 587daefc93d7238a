"""The contrast of colors in bands of detail: a style loss that keeps the colors of fine strokes.

A band holds what a picture loses when it is reduced by 2: a level of a Laplacian pyramid (Burt and
Adelson, IEEE Trans. Communications, 1983). SqueezeNet hardly sees the colors of fine detail,
because its first layer skips every other pixel: networks trained with it alone painted fine strokes
with 60 % of the style's contrast in blue, and gray ones in red and cyan.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from st.train.losses.basic import moments, wide

BANDS = 4  # of 1, 2, 4 and 8 pixels
LEAST = 1 / 255  # deviation below which contrast is not seen
# Red against green, yellow against blue: orthonormal rows.
OPPONENTS = (
    (1 / math.sqrt(2), -1 / math.sqrt(2), 0.0),
    (1 / math.sqrt(6), 1 / math.sqrt(6), -2 / math.sqrt(6)),
)


def color_contrast(images: Tensor) -> Tensor:
    """Logarithms of the deviations of two opponent colors in each band.

    images: (N, 3, H, W), RGB, 0..1, 16 pixels a side or more. Result: (N, 4, 2), from the finest
    band; float32 or wider. Means over blocks are the lowpass filter; enlargement is bilinear.
    Brightness is left out: SqueezeNet sees it, and networks that had to match its contrast in the
    finest band painted a weave.
    """
    x = wide(images)
    with torch.autocast(x.device.type, enabled=False):
        x = torch.einsum("oc,nchw->nohw", x.new_tensor(OPPONENTS), x)
        found: list[Tensor] = []
        for _ in range(BANDS):
            reduced = functional.avg_pool2d(x, 2)
            sides = [2 * side for side in reduced.shape[-2:]]
            back = functional.interpolate(reduced, sides, mode="bilinear", align_corners=False)
            band = x[..., : sides[0], : sides[1]] - back
            found.append((moments(band, eps=1e-8).std.flatten(1) + LEAST).log())
            x = reduced
        return torch.stack(found, dim=1)
