"""Adding styles to a trained bank: only the new rows are trained, all other weights are unchanged.

Dumoulin et al., ICLR 2017, section 3.2, train only the scales and shifts of a new style; Chen et
al., CVPR 2017, only its filter bank. Here, a network of the new styles is trained with the shared
weights of the bank frozen; at the end its rows are appended to the bank.
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

STARTS = 64  # maximum number of rows tried as initial values


def check_addition(method: Method, base: Checkpoint, names: Sequence[str]) -> None:
    """Raises BadInput when `names` cannot be added to a bank of this method."""
    if base.method != method.name:
        raise BadInput(
            f"the network to add to is of {printable(base.method, 40)}, not of {method.name}"
        )
    for name in names:
        if name in base.styles:
            raise BadInput(
                f"{printable(name)!r}: the bank has a style of this name; give NAME=PICTURE"
            )


def take_over(
    method: Method, network: nn.Module, base: Checkpoint, start: Tensor | None = None
) -> None:
    """Copy the bank's shared weights to a network of new styles, and freeze them.

    start: initial rows of the new styles; by default the mean of the bank's.
    Raises BadInput for a bank of another shape.
    """
    own, bank = network.state_dict(), base.state.get(method.bank)
    if bank is None or bank.shape[1:] != own[method.bank].shape[1:]:
        raise BadInput("the network to add to has another shape")
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
    """Initialize each new row with the candidate of the lowest style loss.

    Candidates are rows of the bank and the means of the best two and three. style_loss: batch ->
    style loss. batch: crops to measure it on.
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
    """The bank with the new rows appended."""
    rows = torch.cat([base.state[method.bank], added.state[method.bank]])
    before: Any = base.card.get("added", "")
    what = f"{added.card['styles']} in {added.card['steps']} steps"
    card = base.card | {"added": f"{before}; {what}" if before else what}
    styles = (*base.styles, *added.styles)
    return Checkpoint(method.name, base.config, styles, base.state | {method.bank: rows}, card)
