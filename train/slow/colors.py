"""Color preservation for the slow methods.

Gatys et al., "Preserving color in neural artistic style transfer", arXiv:1606.05897.
"""

from __future__ import annotations

import torch
from torch import Tensor

from st.runtime.painting.color_transfer import LUMA


def match_colors(style: Tensor, content: Tensor, eps: float = 1e-5) -> Tensor:
    """The style picture with the RGB mean and covariance of the content (section 3.1).

    The linear map uses the symmetric square roots of the covariances (eq. 8), which change the
    colors less than Cholesky factors. (1, 3, H, W) and (1, 3, H', W'), RGB, 0..1 -> (1, 3, H, W),
    RGB, 0..1. eps: added to the eigenvalues of both covariances.
    """

    def spread(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        flat = image.double().flatten(2)[0]
        mean = flat.mean(1, keepdim=True)
        values, vectors = torch.linalg.eigh((flat - mean) @ (flat - mean).T / flat.shape[1])
        return mean, values.clamp_min(0) + eps, vectors

    own_mean, own_values, own = spread(style)
    mean, values, vectors = spread(content)
    color = (vectors * values.sqrt()) @ vectors.T
    whiten = (own / own_values.sqrt()) @ own.T
    flat = color @ whiten @ (style.double().flatten(2)[0] - own_mean) + mean
    return flat.clamp(0, 1).to(style.dtype).reshape(style.shape)


def keep_chroma(painted: Tensor, content: Tensor) -> Tensor:
    """The luma (BT.709) of the painting with the chroma of the content (section 3.2).

    Both (1, 3, H, W), RGB, 0..1 -> (1, 3, H, W), RGB, 0..1.
    """
    weights = painted.new_tensor(LUMA).view(1, 3, 1, 1)
    change = (weights * (painted - content)).sum(1, keepdim=True)
    return (content + change).clamp(0, 1)
