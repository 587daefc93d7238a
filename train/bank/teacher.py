"""The teacher: a checkpoint or an engine whose paintings a training copies in its first steps.

A checkpoint paints in PyTorch, as for previews, and an engine in the runtime. So every method whose
paintings have the size of the content can be a teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from st.runtime.engine.location import engine_path
from st.runtime.engine.metadata import Metadata
from st.runtime.errors import BadInput, printable
from st.runtime.stylizer import Stylizer
from st.train.checkpoint import Checkpoint, load_checkpoint
from st.train.method import ExportSpec
from st.train.methods import METHODS

Copy = Callable[[Tensor, Tensor], Tensor]  # (N, 3, H, W) in 0..1, styles (N,) -> (N, 3, H, W)
Paint = Callable[[Tensor, int], Tensor]  # (1, 3, H, W) in 0..1, style -> (1, 3, H, W)


@dataclass(frozen=True)
class Teacher:
    """A network whose paintings can be copied.

    shown: its name in messages. styles: the named styles; one for a network of one style; empty for
    a network of any style. source: the checkpoint, or the path of an engine.
    """

    shown: str
    styles: tuple[str, ...]
    source: Checkpoint | Path
    multiple: int
    min_size: int

    def copy_of(self, pictures: Sequence[Tensor], size: int, device: torch.device) -> Copy:
        """A function that paints contents of `size` pixels in the styles of a training.

        pictures: (1, 3, H, W) of each style, in 0..1.
        Raises BadInput: other styles, a size that the teacher does not accept, or an any-style
        engine without its encoder.
        """
        if self.styles and len(self.styles) != len(pictures):
            raise BadInput(
                f"the teacher {self.shown} has the styles {printable(', '.join(self.styles), 300)}:"
                " give as many style pictures, in that order"
            )
        if isinstance(self.source, Path):
            paint = self._played(pictures)
        elif size % self.multiple or size < self.min_size:
            raise BadInput(
                f"the teacher {self.shown} takes sizes that are multiples of {self.multiple}, "
                f"{self.min_size} or more, not {size}"
            )
        else:
            paint = _trained(self.source, pictures, device)

        def copy(content: Tensor, index: Tensor) -> Tensor:
            painted = [paint(content[i : i + 1], int(n)) for i, n in enumerate(index)]
            return torch.cat(painted).to(content)

        return copy

    def _played(self, pictures: Sequence[Tensor]) -> Paint:
        assert isinstance(self.source, Path)
        stylizer = Stylizer(self.source)
        codes = []
        if not self.styles:
            codes = [stylizer.encode_style(_bytes(picture)) for picture in pictures]

        def paint(content: Tensor, style: int) -> Tensor:
            if codes:
                stylizer.set_style(codes[style])
            elif stylizer.styles:
                stylizer.set_style(stylizer.styles[style])
            painted = torch.from_numpy(np.asarray(stylizer(_bytes(content))))
            return painted.permute(2, 0, 1)[None].float() / 255

        return paint


def _trained(checkpoint: Checkpoint, pictures: Sequence[Tensor], device: torch.device) -> Paint:
    method = METHODS[checkpoint.method]
    with torch.autocast(device.type, enabled=False):
        network = checkpoint.network().to(device).eval().requires_grad_(False)

    def paint(content: Tensor, style: int) -> Tensor:
        with torch.no_grad():
            # Some networks exceed 0..1; engines and all displays clamp.
            return method.paint(network, content, pictures[style].to(content), style).clamp(0, 1)

    return paint


def _bytes(picture: Tensor) -> np.ndarray:
    """(1, 3, H, W) in 0..1 -> (H, W, 3) uint8."""
    return (picture[0].permute(1, 2, 0) * 255).round().clamp(0, 255).byte().cpu().numpy()


def open_teacher(source: str) -> Teacher:
    """A teacher: a checkpoint's file, an engine's file, or the name of a shipped engine.

    Raises BadInput: neither, or its paintings have another size or are textures.
    """
    shown = printable(source)
    if Path(source).suffix == ".pt":
        saved = load_checkpoint(Path(source))
        spec: ExportSpec = METHODS[saved.method].export_spec(saved.network())
        kind = "colorizer" if spec.render_factor else "texture" if spec.texture else "stylizer"
        _check(shown, saved.method, kind, spec.scale)
        styles = () if spec.code_size else saved.styles or (shown,)
        return Teacher(shown, styles, saved, spec.multiple, spec.min_size)
    path = engine_path(source)
    with Stylizer(path) as stylizer:
        metadata: Metadata = stylizer.metadata
    _check(shown, metadata.method, metadata.kind, metadata.scale)
    styles = () if metadata.code_size else metadata.styles or (shown,)
    return Teacher(shown, styles, path, metadata.multiple, metadata.min_size)


def _check(shown: str, method: str, kind: str, scale: int) -> None:
    if kind != "stylizer" or scale != 1:
        what = "enlarges pictures" if kind == "stylizer" else f"is a {kind}"
        raise BadInput(
            f"{shown} is of {method}, which {what}: a teacher paints contents at their own size"
        )
