"""The preview: a contact sheet of painted crops, written beside the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from st.runtime.system.atomic_files import atomic_write
from st.train.data.batches import Batches
from st.train.method import Method

MAX_COLUMNS = 10


def write_preview(
    method: Method, network: nn.Module, batches: Batches, styles: Sequence[Tensor], path: Path
) -> None:
    """Paint the first crops of `batches`, the same at every call.

    Without styles: a row of crops above a row of results. With styles: a row of the styles, then
    for each of two crops a row of the crop and its result in each style.

    styles: pictures (1, 3, H, W), RGB, 0..1. Raises OSError.
    """
    device = next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        if method.content_only and not method.export_spec(network).code_size:
            few = -(-MAX_COLUMNS // batches.count)
            crops = torch.cat([batches[i].content for i in range(few)])[:MAX_COLUMNS].to(device)
            made = [method.paint(network, crop[None], None, 0).clamp(0, 1) for crop in crops]
            made = [functional.interpolate(x, crops.shape[-2:], mode="area") for x in made]
            rows = [torch.cat(list(crops[:, None]), dim=3), torch.cat(made, dim=3)]
        else:
            crops = batches[0].content[:2].to(device)
            rows = _in_each(method, network, crops, styles)
    network.train()
    sheet = torch.cat(rows, dim=2)[0].permute(1, 2, 0).float().cpu().numpy()
    with atomic_write(path) as part:
        Image.fromarray((sheet * 255).round().astype(np.uint8)).save(part, quality=88)


def _in_each(
    method: Method, network: nn.Module, crops: Tensor, styles: Sequence[Tensor]
) -> list[Tensor]:
    if method.styles == "any":
        styles = styles[:: -(-len(styles) // MAX_COLUMNS)]  # evenly spaced over the folder
    size = crops.shape[-1]
    squares = [functional.interpolate(s, (size, size), mode="area") for s in styles[:MAX_COLUMNS]]
    rows = [torch.cat([torch.ones_like(crops[:1]), *squares], dim=3)]
    for crop in crops:
        row = [crop[None]]
        for i, style in enumerate(styles[:MAX_COLUMNS]):
            row.append(method.paint(network, crop[None], style, i).clamp(0, 1))
        rows.append(torch.cat(row, dim=3))
    return rows
