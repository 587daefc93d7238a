"""The pictures and clips of a training, checked before anything is computed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from st.runtime.errors import BadInput
from st.train.data.batches import Batches
from st.train.data.files import content_files, named_styles, style_files
from st.train.data.motion import Clip, list_clips
from st.train.data.pictures import load_style
from st.train.loop.run import Run
from st.train.method import SHIFT, Method

SAMPLE = 64  # style pictures passed to `Method.targets` of an any-style method


@dataclass(frozen=True)
class Inputs:
    """The pictures and clips of a training.

    styles: (name, path) of each style picture. names: the styles of a method with named styles.
    content: paths of the photographs. clips: videos for the temporal loss.
    pairs: number of contents in a batch with a later frame, for the temporal loss.
    """

    styles: tuple[tuple[str, str], ...]
    names: tuple[str, ...]
    content: tuple[str, ...]
    clips: tuple[Clip, ...]
    pairs: int

    @property
    def style_paths(self) -> tuple[str, ...]:
        return tuple(path for _, path in self.styles)


def find_inputs(method: Method, config: Any, run: Run) -> Inputs:
    """Find all files. Raises BadInput when files are missing or do not suit the method."""
    styles = _styles(method, run)
    content: tuple[str, ...] = ()
    if run.content and not method.style_only(config):
        content = tuple(content_files(run.content, run.hold_out))
    elif run.base is not None:
        content = tuple(path for _, path in styles)
    elif not method.style_only(config):
        raise BadInput("no photographs given: name a folder of content pictures")
    pairs = config.batch - config.batch // 2 if method.temporal and config.temporal_weight else 0
    if run.video and not pairs:
        raise BadInput("clips are for the temporal loss: give it a weight above 0 too")
    clips = tuple(clip for folder in run.video for clip in list_clips(folder))
    names = () if method.styles == "any" else tuple(name for name, _ in styles)
    return Inputs(styles, names, content, clips, pairs)


def _styles(method: Method, run: Run) -> tuple[tuple[str, str], ...]:
    """(name, path) of each style picture; names are unique where the method has named styles."""
    if method.styles == "any":
        styles = style_files(run.styles)
    else:
        styles = list(named_styles(run.styles).items())
    if not styles and not method.content_only:
        raise BadInput("no style pictures given: name files or a folder")
    if method.styles == "one" and len(styles) != 1:
        raise BadInput(f"{method.name} learns one style, {len(styles)} pictures were given")
    return tuple(styles)


def check_size(method: Method, network: nn.Module, size: int) -> None:
    """Raises BadInput unless crops of `size` suit the network, also after `shifted`."""
    spec = method.export_spec(network)
    least = spec.min_size + SHIFT
    if size % spec.multiple or size < least:
        raise BadInput(f"size {size}: must be a multiple of {spec.multiple}, and {least} or more")


def load_styles(method: Method, inputs: Inputs, config: Any) -> list[Tensor]:
    """The pictures for the method's targets, (1, 3, H, W) each, RGB, 0..1.

    Those of a method of any style are a sample of the folder, without what cannot be read.
    Raises BadInput for a named style that cannot be read.
    """
    if method.styles != "any":
        return [load_style(path, config.style_size) for path in inputs.style_paths]
    files = inputs.style_paths or inputs.content
    pictures, problem = [], BadInput("no pictures given")
    for path in files[:: -(-len(files) // SAMPLE) or 1]:
        try:
            pictures.append(load_style(path, config.size))
        except BadInput as error:
            problem = error
    if not pictures:
        raise problem
    return pictures


def make_batches(method: Method, inputs: Inputs, config: Any, run: Run, rank: int) -> Batches:
    """The batches of this process. rank: its number among all that train together."""
    crops_styles = method.styles == "any" and not method.content_only
    batches = Batches(
        inputs.content,
        inputs.style_paths if crops_styles else (),
        max(1, len(inputs.names)),
        config.size,
        config.batch,
        run.seed,
        rank,
        clips=inputs.clips,
        style_crop=getattr(config, "style_crop", 0),
        memory=(run.picture_memory << 20) // max(1, run.workers),
    )
    if inputs.pairs:
        return dataclasses.replace(batches, pairs=inputs.pairs, every=config.temporal_every)
    return batches
