"""What the slow methods share: L-BFGS on the pixels, from a small picture to a large one.

A method is an objective: from a content and its styles at one size it makes targets, once, and
gives back Tasks: functions from a picture to loss terms by name. Everything else is here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from st.runtime.errors import BadInput, printable
from st.train.settings import option
from st.train.slow.colors import keep_chroma, match_colors
from st.train.slow.networks import VGG_SIDE
from st.train.slow.styles import Style, Styles, as_styles, resize

Losses = Callable[[Tensor], dict[str, Tensor]]  # (1, 3, H, W) -> weighted scalars, summed later

INITS = ("content", "noise", "style")
COLORS = ("style", "luminance", "histogram")  # as st-image --color has them
JUMP = 2.0  # times the best loss: what L-BFGS is not allowed
FIRST_MOVE = 1 / 255  # of a pixel, on average, while L-BFGS knows no curvature


@dataclass(frozen=True)
class Task:
    """What to minimize. figures: what else to say beside the losses.

    renew: called with the picture now and then, first before the first evaluation, to make targets
    that depend on it (nearest patches). In between the losses are one smooth function, which is
    what L-BFGS wants; after it L-BFGS starts anew. rounds: evaluations -> how often.
    """

    losses: Losses
    renew: Callable[[Tensor], None] | None = None
    rounds: Callable[[int], int] = lambda evaluations: 1
    figures: Callable[[], dict[str, float]] = dict


Objective = Callable[[Tensor, list[Style]], Sequence[Task]]  # in this order, at one size


@dataclass(frozen=True)
class Settings:
    """What every method is told. A method's Config adds its own entries."""

    size: int = option(512, "longest side of the result, pixels", minimum=1)
    steps: int = option(300, "evaluations of the losses, over all sizes", minimum=1)
    init: str = option("content", "what to start from", choices=INITS)
    seed: int = option(0, "of the noise")
    coarsest: int = option(128, "paint small first: halve the size down to about this many pixels")
    style_scale: float = option(
        1.0, "longest side of the style pictures over that of the result", minimum=0.1
    )
    color: str = option(
        "style",
        "colors of the result: the style's; luminance: the content's, under the painting's luma;"
        " histogram: the style's, shifted to the mean and covariance of the content's",
        choices=COLORS,
    )


@dataclass(frozen=True)
class Step:
    """One evaluation. picture: (1, 3, H, W), RGB, 0..1, at the size of its level.

    losses: weighted terms by name, measured on that picture. evaluation: 1 … total. figures: what
    the method counts beside its losses, by name.
    """

    picture: Tensor
    losses: dict[str, float]
    evaluation: int
    total: int
    figures: dict[str, float]


Callback = Callable[[Step], bool | None]  # True stops
Evaluated = tuple[Tensor, dict[str, float]]  # a picture, (1, 3, H, W), and its loss terms


def minimize(picture: Tensor, task: Task, evaluations: int) -> Iterator[Evaluated]:
    """Every evaluated picture with its losses; the last is the result."""
    for count in split(evaluations, min(evaluations, task.rounds(evaluations))):
        if task.renew:
            task.renew(picture)
        for evaluated in descend(picture, task.losses, count):
            picture = evaluated[0]
            yield evaluated


def split(count: int, parts: int) -> list[int]:
    """A count in nearly equal parts, the larger ones first."""
    return [count // parts + (i < count % parts) for i in range(parts)]


def descend(
    picture: Tensor, losses: Losses, evaluations: int, history: int = 10
) -> Iterator[Evaluated]:
    """L-BFGS from a picture, by one function.

    Steps are taken whole, with no line search, so each costs one evaluation. A step that leads to
    more than JUMP times the best loss, or to no number, is taken back and the curvature forgotten.
    history: curvature pairs kept; memory is twice as many pictures.
    Raises BadInput when the losses are no numbers from the start.
    """
    x = picture.detach().clone(memory_format=torch.contiguous_format).requires_grad_(True)
    best, best_total = x.detach().clone(), math.inf
    optimizer = _lbfgs(x, history)
    for _ in range(evaluations):
        terms: dict[str, Tensor] = {}

        def closure(terms: dict[str, Tensor] = terms) -> Tensor:
            terms |= losses(x)
            total = torch.stack([term.reshape(()) for term in terms.values()]).sum()
            (gradient,) = torch.autograd.grad(total, x)
            x.grad = gradient.contiguous()  # LBFGS flattens it with view
            return total.detach()

        evaluated = x.detach().clone()
        total = float(optimizer.step(closure))  # pyright: ignore[reportArgumentType]
        optimizer.param_groups[0]["lr"] = 1.0
        if math.isinf(best_total) and not math.isfinite(total):
            raise BadInput("the losses are no numbers: check pictures and weights")
        if not total <= JUMP * best_total:
            with torch.no_grad():
                x.copy_(best)
            optimizer = _lbfgs(x, history)
            continue
        if total < best_total:
            best, best_total = evaluated, total
        yield evaluated, {name: float(term.detach()) for name, term in terms.items()}


def _lbfgs(x: Tensor, history: int) -> torch.optim.LBFGS:
    """With no curvature known LBFGS moves all pixels together by lr: FIRST_MOVE for each."""
    return torch.optim.LBFGS(
        [x],
        lr=FIRST_MOVE * x.numel(),
        max_iter=1,
        history_size=history,
        tolerance_grad=0,
        tolerance_change=0,
    )


def pyramid(
    height: int, width: int, longest: int, coarsest: int, min_side: int = VGG_SIDE
) -> list[tuple[int, int]]:
    """(height, width) of each level, small to large by 2; the last has that longest side.

    Halving ends before the longest side falls under `coarsest` or the shortest under `min_side`.
    Raises BadInput when the last level itself is under that.
    """
    sizes: list[tuple[int, int]] = []
    factor = longest / max(height, width)
    while not sizes or factor * max(height, width) >= coarsest:
        size = round(height * factor), round(width * factor)
        if min(size) < min_side:
            break
        sizes.insert(0, size)
        factor /= 2
    if not sizes:
        raise BadInput(
            f"at a size of {longest} the short side of the picture would be"
            f" {round(min(height, width) * factor)} pixels: {min_side} or more are needed"
        )
    return sizes


def share_out(steps: int, levels: int, least: int = 1, fall: float = 2.0) -> list[int]:
    """Evaluations for each level: a `fall`-th of those on the level before, but at least `least`.

    A level starts from the result of the last one, so it has less to do, at four times the cost.
    """
    shares = [fall**-i for i in range(levels)]
    counts = [max(least, round(steps * share / sum(shares))) for share in shares]
    counts[0] = max(least, counts[0] + steps - sum(counts))
    return counts


def paint(
    content: Tensor,
    styles: Styles,
    settings: Settings,
    objective: Objective,
    callback: Callback | None = None,
    tasks: int = 1,
    min_side: int = VGG_SIDE,
    fall: float = 2.0,
) -> Tensor:
    """Minimize an objective over the pixels, coarse to fine.

    content: (1, 3, H, W), RGB, 0..1. tasks: how many the objective has. min_side: pixels that
    every level's short side has. fall: see `share_out`. Returns (1, 3, h, w), RGB, 0..1, longest
    side settings.size, or the size of the level where the callback stopped it.
    Raises BadInput for settings and pictures that cannot be used.
    """
    given = check(content, styles, settings)
    wide, high = content.shape[-1], content.shape[-2]
    levels = pyramid(high, wide, settings.size, settings.coarsest, min_side)
    counts = share_out(settings.steps, len(levels), tasks, fall)
    picture, result, done = None, content, 0
    for (height, width), count in zip(levels, counts, strict=True):
        small = resize(content, height, width).clamp(0, 1)
        scaled = [at_size(style, small, settings, min_side) for style in given]
        picture = (
            first(small, scaled, settings) if picture is None else resize(picture, height, width)
        )
        for task, own in zip(objective(small, scaled), split(count, tasks), strict=True):
            for number, evaluated in enumerate(minimize(picture, task, own), done + 1):
                picture, losses = evaluated
                result = finish(picture, small, settings)
                step = Step(result, losses, number, sum(counts), task.figures())
                if callback and callback(step):
                    return result
            done += own
    return result


def check(content: Tensor, styles: Styles, settings: Settings) -> list[Style]:
    """The styles as a list, after a look at everything. Raises BadInput."""
    if content.ndim != 4 or content.shape[:2] != (1, 3):
        raise BadInput(f"content picture is {tuple(content.shape)}, not (1, 3, H, W)")
    if settings.init not in INITS:
        raise BadInput(f"init {printable(settings.init)}: use {', '.join(INITS)}")
    if settings.color not in COLORS:
        raise BadInput(f"color {printable(settings.color)}: use {', '.join(COLORS)}")
    if settings.steps < 1:
        raise BadInput(f"steps {settings.steps}: at least 1 evaluation is needed")
    if not 0.1 <= settings.style_scale <= 10:
        raise BadInput(f"style scale {settings.style_scale}: use 0.1 to 10")
    given = as_styles(styles)
    for style in given:
        if style.mask is not None and style.mask.shape[-2:] != content.shape[-2:]:
            raise BadInput("a region mask must have the size of the content")
    if settings.color == "histogram":
        given = [replace(style, picture=match_colors(style.picture, content)) for style in given]
    return given


def at_size(style: Style, content: Tensor, settings: Settings, min_side: int) -> Style:
    """A style as it goes with the content of one level."""
    longest = max(content.shape[-2:]) * settings.style_scale
    height, width = style.picture.shape[-2:]
    factor = longest / max(height, width)
    size = [max(min_side, round(side * factor)) for side in (height, width)]
    mask = style.mask
    if mask is not None:
        mask = resize(mask, content.shape[-2], content.shape[-1]).clamp(0, 1)
    return Style(resize(style.picture, *size).clamp(0, 1), style.weight, mask)


def first(content: Tensor, styles: list[Style], settings: Settings) -> Tensor:
    """The picture to start from: content, noise around its mean color, or the first style."""
    if settings.init == "content":
        return content
    if settings.init == "style":
        return resize(styles[0].picture, content.shape[-2], content.shape[-1]).clamp(0, 1)
    source = torch.Generator().manual_seed(settings.seed)
    noise = torch.randn(content.shape, generator=source).to(content)
    return content.mean(dim=(2, 3), keepdim=True) + 0.1 * noise


def finish(picture: Tensor, content: Tensor, settings: Settings) -> Tensor:
    """A picture to look at: within 0..1, in the content's colors if those are kept."""
    picture = picture.clamp(0, 1)
    return keep_chroma(picture, content) if settings.color == "luminance" else picture
