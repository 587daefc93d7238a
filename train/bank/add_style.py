"""More styles for a trained bank: new rows are trained, and all else is kept to the bit.

Dumoulin et al., ICLR 2017, section 3.2, fine-tune a new style's scales and shifts alone; Chen et
al., CVPR 2017, train a new filter bank alone. Here a network of the new styles only is trained,
with the bank's shared weights frozen in it; at the end its rows are put behind the bank's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from st.runtime.errors import BadInput, printable
from st.train.checkpoint import Checkpoint
from st.train.method import Batch, Method

STARTS = 64  # rows of a large bank that are tried as a start


def check_addition(method: Method, base: Checkpoint, names: Sequence[str]) -> None:
    """Raises BadInput when `names` cannot be added to a bank of this method."""
    if base.method != method.name:
        raise BadInput(f"--from is of {printable(base.method, 40)}, not of {method.name}")
    for name in names:
        if name in base.styles:
            raise BadInput(
                f"{printable(name)!r}: the bank has a style of this name, give NAME=PICTURE"
            )


def take_over(
    method: Method, network: nn.Module, base: Checkpoint, start: Tensor | None = None
) -> None:
    """Fill a network of new styles with the bank's shared weights, and freeze them.

    start: rows of the new styles, by default the mean of the bank's.
    """
    own, bank = network.state_dict(), base.state.get(method.bank)
    if bank is None or bank.shape[1:] != own[method.bank].shape[1:]:
        raise BadInput("--from has a network of another shape")
    rows = bank.mean(0, keepdim=True) if start is None else start
    rows = rows.expand_as(own[method.bank])
    replace(base, state=base.state | {method.bank: rows}).fill(network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name == method.bank)


def choose_starts(
    method: Method,
    network: nn.Module,
    base: Checkpoint,
    style_loss: Callable[[Batch], Tensor],
    batch: Batch,
) -> None:
    """Start each new row at the row, or the mean of the best few, that has the least style loss.

    style_loss: of a batch. batch: crops to try on.
    """
    bank = base.state[method.bank]
    rows = network.get_parameter(method.bank)
    tried = range(0, len(bank), -(-len(bank) // STARTS))
    for style in range(len(rows)):
        one = replace(batch, index=torch.full_like(batch.index, style))

        def loss_of(members: Sequence[int], style: int = style, one: Batch = one) -> float:
            rows.data[style] = bank[list(members)].mean(0)
            return float(style_loss(one))

        found: dict[tuple[int, ...], float] = {(row,): loss_of([row]) for row in tried}
        order = [members[0] for members in sorted(found, key=lambda members: found[members])]
        for count in (2, 3):
            if count <= len(order):
                found[tuple(order[:count])] = loss_of(order[:count])
        best = min(found, key=lambda members: found[members])
        rows.data[style] = bank[list(best)].mean(0)


def joined(method: Method, base: Checkpoint, added: Checkpoint) -> Checkpoint:
    """The bank with the new rows behind its own."""
    rows = torch.cat([base.state[method.bank], added.state[method.bank]])
    before: Any = base.card.get("added", "")
    what = f"{added.card['styles']} in {added.card['steps']} steps"
    card = base.card | {"added": f"{before}; {what}" if before else what}
    styles = (*base.styles, *added.styles)
    return Checkpoint(method.name, base.config, styles, base.state | {method.bank: rows}, card)
