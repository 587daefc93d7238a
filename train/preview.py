"""A picture of how training goes: a few crops, painted, written beside the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from st.runtime.files import write_beside
from st.train.method import Method
from st.train.pictures import Batches

MOST = 10  # columns


def write_preview(
    method: Method, network: nn.Module, batches: Batches, styles: Sequence[Tensor], path: Path
) -> None:
    """A row of the styles, then rows of the same crops at every call: as they are, and in each.

    styles: pictures (1, 3, H, W).
    """
    if method.styles == "any":
        styles = styles[:: -(-len(styles) // MOST)]  # from all over the folder
    device = next(network.parameters()).device
    crops = batches[0].content[:2].to(device)
    size = crops.shape[-1]
    squares = [functional.interpolate(s, (size, size), mode="area") for s in styles[:MOST]]
    rows = [torch.cat([torch.ones_like(crops[:1]), *squares], dim=3)]
    network.eval()
    with torch.no_grad():
        for crop in crops:
            row = [crop[None]]
            for i, style in enumerate(styles[:MOST]):
                row.append(method.paint(network, crop[None], style, i).clamp(0, 1))
            rows.append(torch.cat(row, dim=3))
    network.train()
    sheet = torch.cat(rows, dim=2)[0].permute(1, 2, 0).float().cpu().numpy()
    with write_beside(path) as part:
        Image.fromarray((sheet * 255).round().astype(np.uint8)).save(part, quality=88)
