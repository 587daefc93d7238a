"""Devices and precision of a training, through Lightning Fabric."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from st.runtime.errors import Unavailable, printable
from st.train.loop.run import Run
from st.train.method import Batch


def open_fabric(run: Run) -> tuple[Fabric, str]:
    """Launch Fabric on the devices of `run`; returns it and its precision.

    Raises Unavailable for devices that are not present.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it logs a line per process
    where: dict[str, Any] = {"devices": run.devices, "num_nodes": run.nodes}
    try:
        device = Fabric(accelerator=run.device, **where).device
        precision = choose_precision(device) if run.precision == "auto" else run.precision
        fabric = Fabric(accelerator=run.device, precision=cast(Any, precision), **where)
    except (RuntimeError, ValueError, ImportError) as error:
        why = printable(error, 120)
        raise Unavailable(f"device {run.device} is not available here ({why})") from None
    fabric.launch()
    return fabric, precision


def choose_precision(device: torch.device) -> str:
    """bfloat16 autocast where it halves the time of a step: on GPUs and CPUs with matrix units for
    it. On CPUs with vector instructions only (AVX-512), a step takes up to half longer in it."""
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    if device.type == "cpu" and torch.cpu._is_amx_tile_supported():
        return "bf16-mixed"
    return "32-true"


def average_gradients(fabric: Fabric, network: nn.Module) -> None:
    """Average the gradients over all processes.

    Fabric's wrapped modules would round the input pictures to bfloat16. The networks are small, so
    overlapping communication and computation would gain little.
    """
    if fabric.world_size == 1:
        return
    for parameter in network.parameters():
        if parameter.grad is not None:
            parameter.grad = cast(Tensor, fabric.all_reduce(parameter.grad, reduce_op="mean"))


def to_device(fabric: Fabric, batch: Batch) -> Batch:
    """A batch with all of its tensors on the device."""
    style = None if batch.style is None else fabric.to_device(batch.style)
    content, index = fabric.to_device(batch.content), fabric.to_device(batch.index)
    motion = None if batch.motion is None else batch.motion.to(fabric.device)
    return dataclasses.replace(batch, content=content, index=index, style=style, motion=motion)
