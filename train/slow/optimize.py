"""The optimizer of the slow methods: L-BFGS on the pixels, coarse to fine.

A method supplies an `Objective`: for a content and its styles at one size, it computes the targets
once and returns Tasks, functions from a picture to named loss terms.
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
COLORS = ("style", "luminance", "histogram")  # as in st.runtime.painting.color_transfer
MAX_RISE = 2.0  # times the best loss; L-BFGS steps that end above it are undone
HISTORY = 10  # curvature pairs of L-BFGS; each takes the memory of two pictures
FIRST_STEP = 1 / 255  # mean change of a value in the first step of L-BFGS


@dataclass(frozen=True)
class Task:
    """A function to minimize.

    losses: picture -> loss terms. renew: computes targets that depend on the picture, such as
    nearest patches; called before the first evaluation and `rounds` times in all. L-BFGS restarts
    after each call, since it needs a smooth function. rounds: evaluations -> number of calls.
    figures: further numbers to report, by name.
    """

    losses: Losses
    renew: Callable[[Tensor], None] | None = None
    rounds: Callable[[int], int] = lambda evaluations: 1
    figures: Callable[[], dict[str, float]] = dict


Objective = Callable[[Tensor, list[Style]], Sequence[Task]]  # tasks in their order, for one size


@dataclass(frozen=True)
class Settings:
    """Settings of every slow method. A method's Config adds its own."""

    size: int = option(512, "Longest side of the result, in pixels.", minimum=1)
    steps: int = option(300, "Evaluations of the loss, over all sizes.", minimum=1)
    init: str = option("content", "Initial picture.", choices=INITS)
    seed: int = option(0, "Random seed.")
    coarsest: int = option(
        128,
        "Minimum longest side of a pyramid level, in pixels; each has twice the size.",
    )
    style_scale: float = option(
        1.0, "Longest side of the style pictures, relative to the result's.", minimum=0.1
    )
    color: str = option(
        "style",
        "Colors of the result. luminance: the content's, with the painting's luma; histogram: the "
        "style's, transformed to the mean and covariance of the content's.",
        choices=COLORS,
    )


@dataclass(frozen=True)
class Step:
    """One evaluation of the loss.

    picture: (1, 3, H, W), RGB, 0..1, at the size of its level. losses: its weighted loss terms.
    evaluation: 1..total. figures: further numbers of the method, by name.
    """

    picture: Tensor
    losses: dict[str, float]
    evaluation: int
    total: int
    figures: dict[str, float]


Callback = Callable[[Step], bool | None]  # True stops
Evaluated = tuple[Tensor, dict[str, float]]  # a picture, (1, 3, H, W), and its loss terms


def minimize(picture: Tensor, task: Task, evaluations: int) -> Iterator[Evaluated]:
    """Minimize a task; yields every evaluated picture with its losses. The last is the result."""
    for count in split(evaluations, min(evaluations, task.rounds(evaluations))):
        if task.renew:
            task.renew(picture)
        for evaluated in descend(picture, task.losses, count):
            picture = evaluated[0]
            yield evaluated


def split(count: int, parts: int) -> list[int]:
    """A count as a sum of nearly equal parts, the larger ones first."""
    return [count // parts + (i < count % parts) for i in range(parts)]


def descend(picture: Tensor, losses: Losses, evaluations: int) -> Iterator[Evaluated]:
    """L-BFGS on the pixels of a picture.

    There is no line search, so a step costs one evaluation. A step that ends above MAX_RISE times
    the best loss, or at NaN, is undone, and L-BFGS restarts.
    Raises BadInput when the loss is not finite at the start.
    """
    x = picture.detach().clone(memory_format=torch.contiguous_format).requires_grad_(True)
    best, best_total = x.detach().clone(), math.inf
    optimizer = _lbfgs(x)
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
            raise BadInput("the loss is not finite at the start: check pictures and weights")
        if not total <= MAX_RISE * best_total:
            with torch.no_grad():
                x.copy_(best)
            optimizer = _lbfgs(x)
            continue
        if total < best_total:
            best, best_total = evaluated, total
        yield evaluated, {name: float(term.detach()) for name, term in terms.items()}


def _lbfgs(x: Tensor) -> torch.optim.LBFGS:
    """The first step of torch's LBFGS has an L1 norm of at most lr: FIRST_STEP per value."""
    return torch.optim.LBFGS(
        [x],
        lr=FIRST_STEP * x.numel(),
        max_iter=1,
        history_size=HISTORY,
        tolerance_grad=0,
        tolerance_change=0,
    )


def pyramid(
    height: int, width: int, longest: int, coarsest: int, min_side: int = VGG_SIDE
) -> list[tuple[int, int]]:
    """(height, width) of each level, each twice the one before; the last has side `longest`.

    No level has a longest side under `coarsest` or a short side under `min_side`, in pixels.
    Raises BadInput when the last level's short side is under `min_side`.
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
            f"size {longest}: the picture's short side would be"
            f" {round(min(height, width) * factor)} pixels; at least {min_side} are needed"
        )
    return sizes


def split_steps(steps: int, levels: int, minimum: int = 1, decay: float = 2.0) -> list[int]:
    """Evaluations of each level: those of the level before, divided by `decay`.

    A level starts from the result of the one before, so it needs fewer evaluations, and each costs
    four times as much. minimum: for each level.
    """
    shares = [decay**-i for i in range(levels)]
    counts = [max(minimum, round(steps * share / sum(shares))) for share in shares]
    counts[0] = max(minimum, counts[0] + steps - sum(counts))
    return counts


def paint(
    content: Tensor,
    styles: Styles,
    settings: Settings,
    objective: Objective,
    callback: Callback | None = None,
    tasks: int = 1,
    min_side: int = VGG_SIDE,
    decay: float = 2.0,
) -> Tensor:
    """Minimize an objective over the pixels, coarse to fine.

    content: (1, 3, H, W), RGB, 0..1. tasks: number of tasks of the objective. min_side: least short
    side of a level, in pixels. decay: see `split_steps`. Returns (1, 3, h, w), RGB, 0..1, with
    longest side settings.size, or at the size of the level where the callback stopped.
    Raises BadInput for invalid settings or pictures.
    """
    given = check(content, styles, settings)
    wide, high = content.shape[-1], content.shape[-2]
    levels = pyramid(high, wide, settings.size, settings.coarsest, min_side)
    counts = split_steps(settings.steps, len(levels), tasks, decay)
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
    """Check content, styles and settings; returns the styles as a list. Raises BadInput."""
    if content.ndim != 4 or content.shape[:2] != (1, 3):
        raise BadInput(f"content picture is {tuple(content.shape)}, not (1, 3, H, W)")
    if settings.init not in INITS:
        raise BadInput(f"init {printable(settings.init)}: use {', '.join(INITS)}")
    if settings.color not in COLORS:
        raise BadInput(f"color {printable(settings.color)}: use {', '.join(COLORS)}")
    if settings.steps < 1:
        raise BadInput(f"steps {settings.steps}: must be 1 or more")
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
    """A style with picture and mask resized for the content of one level."""
    longest = max(content.shape[-2:]) * settings.style_scale
    height, width = style.picture.shape[-2:]
    factor = longest / max(height, width)
    size = [max(min_side, round(side * factor)) for side in (height, width)]
    mask = style.mask
    if mask is not None:
        mask = resize(mask, content.shape[-2], content.shape[-1]).clamp(0, 1)
    return Style(resize(style.picture, *size).clamp(0, 1), style.weight, mask)


def first(content: Tensor, styles: list[Style], settings: Settings) -> Tensor:
    """The initial picture: the content, noise around its mean color, or the first style."""
    if settings.init == "content":
        return content
    if settings.init == "style":
        return resize(styles[0].picture, content.shape[-2], content.shape[-1]).clamp(0, 1)
    source = torch.Generator().manual_seed(settings.seed)
    noise = torch.randn(content.shape, generator=source).to(content)
    return content.mean(dim=(2, 3), keepdim=True) + 0.1 * noise


def finish(picture: Tensor, content: Tensor, settings: Settings) -> Tensor:
    """The picture clamped to 0..1, with the content's chroma if the settings keep it."""
    picture = picture.clamp(0, 1)
    return keep_chroma(picture, content) if settings.color == "luminance" else picture
