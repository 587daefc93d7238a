"""Train the recipes in slices of a few minutes, each where it stopped.

    python -m recipes.pack ../shared/data -o .recipes
    python -m recipes.train --data .recipes --out runs/recipes --minutes 10
    python -m recipes.train --data .recipes --out runs/recipes --only paintings --minutes 10

Run the command again and again: every call is a slice. A recipe that has done all its steps is
exported. OUT/progress.md tells how far each one is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from recipes.drawn_styles import write_styles
from recipes.table import RECIPES, Recipe, Value
from st.runtime.cli.base import command
from st.runtime.errors import BadInput, printable
from st.runtime.system.atomic_files import atomic_write
from st.train.checkpoint import load_checkpoint

STARTUP = 25.0  # seconds that a training takes to begin and to save its state
MIN_TRAINING = 6.0  # seconds of training that are worth the start
GRACE = 60.0  # seconds after its share until a training is interrupted
EXPORT = "from st.export.command import main; main()"
SHOWN = 200  # characters of an error message


@dataclass(frozen=True)
class Folders:
    """data: see `recipes.pack`. out: for checkpoints, engines and the progress table."""

    data: Path
    out: Path

    def checkpoint(self, name: str) -> Path:
        return self.out / f"{name}.pt"

    def state(self, name: str) -> Path:
        return self.out / f"{name}.resume.pt"

    def engine(self, name: str) -> Path:
        return self.out / f"{name}.onnx"


@dataclass(frozen=True)
class Machine:
    """Options of `st-train` that depend on the machine."""

    device: str = "auto"
    workers: int = 4


@dataclass(frozen=True)
class Progress:
    """How far a recipe is. minutes: of training. losses: weighted, by term."""

    steps: int
    minutes: float
    losses: dict[str, float]


def chosen(names: Sequence[str], steps: int | None) -> list[Recipe]:
    """The recipes of these names, or all. steps: instead of their own. Raises BadInput."""
    known = {recipe.name: recipe for recipe in RECIPES}
    if unknown := [name for name in names if name not in known]:
        shown = f"{printable(unknown[0], 40)!r}: no such recipe; there are {', '.join(known)}"
        raise BadInput(shown)
    recipes = [known[name] for name in names or known]
    return [replace(recipe, steps=steps) if steps else recipe for recipe in recipes]


def training_words(recipe: Recipe, folders: Folders, machine: Machine, minutes: float) -> list[str]:
    """The arguments of `st-train` for a part of a training."""
    data, name = folders.data, recipe.name
    words = [recipe.method, "--output", str(folders.checkpoint(name))]
    words += ["--steps", str(recipe.steps), "--pause-after", f"{minutes:.4f}"]
    words += ["--device", machine.device, "--workers", str(machine.workers)]
    words += ["--save-every", "1000", "--preview-every", "2000"]
    if recipe.photographs:
        words += ["--content", str(data / "photographs")]
    if recipe.paintings:
        words += ["--style", str(data / "paintings")]
    if recipe.drawn:
        words += ["--style", str(data / "drawn")]
    for style in recipe.styles:
        words += ["--style", str(data / "styles" / f"{style}.jpg")]
    if folders.state(name).exists():
        words.append("--resume")
    elif recipe.begin_with:
        words += ["--begin-with", str(folders.checkpoint(recipe.begin_with))]
    for key, value in recipe.settings.items():
        words += [word for text in _texts(value) for word in (f"--{key.replace('_', '-')}", text)]
    return words


def _texts(value: Value) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (str(value),)


def progress_of(recipe: Recipe, folders: Folders) -> Progress | None:
    """From the recipe's saved state or finished network; None before the first."""
    for path in (folders.checkpoint(recipe.name), folders.state(recipe.name)):
        if path.is_file():
            card = load_checkpoint(path).card
            losses = {
                key.removeprefix("loss "): float(value)
                for key, value in card.items()
                if key.startswith("loss ")
            }
            return Progress(int(card["steps"]), float(card["seconds"]) / 60, losses)
    return None


def run_slice(
    recipes: Sequence[Recipe],
    folders: Folders,
    machine: Machine,
    minutes: float,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, str]:
    """Train each recipe for its share of the minutes, then export what is finished.

    Returns, by name, what went wrong. Time that a recipe does not use goes to those after it.
    """
    folders.out.mkdir(parents=True, exist_ok=True)
    failures: dict[str, str] = {}
    end = clock() + 60 * minutes
    ready = [recipe for recipe in recipes if _ready(recipe, folders)]
    drawn = folders.data / "drawn"
    if any(recipe.drawn for recipe in ready) and not drawn.is_dir():
        part = drawn.with_suffix(".part")  # an interrupted folder would pass for a whole one
        write_styles(folders.data / "photographs", part)
        part.rename(drawn)
    for number, recipe in enumerate(ready):
        shares = [other.share for other in ready[number:]]
        seconds = (end - clock()) * recipe.share / sum(shares)
        if seconds - STARTUP < MIN_TRAINING:
            failures[recipe.name] = "no time left in this slice"
            continue
        words = training_words(recipe, folders, machine, (seconds - STARTUP) / 60)
        if problem := _run(["-m", "st.train", *words], folders, seconds + GRACE):
            failures[recipe.name] = problem
    for recipe in recipes:
        name = recipe.name
        if folders.checkpoint(name).is_file() and not folders.engine(name).is_file():
            words = ["-c", EXPORT, str(folders.checkpoint(name))]
            if problem := _run(words, folders, 600):
                failures[name] = f"export: {problem}"
    return failures


def _ready(recipe: Recipe, folders: Folders) -> bool:
    """Not finished, and not waiting for another recipe."""
    waits = recipe.begin_with and not folders.checkpoint(recipe.begin_with).is_file()
    return not folders.checkpoint(recipe.name).is_file() and not waits


def _run(words: list[str], folders: Folders, seconds: float) -> str:
    """Run Python on these arguments; what went wrong, or nothing.

    After the time it is interrupted as by Ctrl-C, at which a training saves its state.
    """
    environment = os.environ | {"ST_CACHE": str((folders.data / "cache").resolve())}
    process = subprocess.Popen(
        [sys.executable, *words], stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    if process.returncode == 0:
        return ""
    lines = said.strip().splitlines() or [f"exit code {process.returncode}"]
    return printable(lines[-1].removeprefix("Error: "), SHOWN)


def table(recipes: Sequence[Recipe], folders: Folders, failures: dict[str, str]) -> str:
    """The progress of all recipes as a Markdown table."""
    lines = [
        "| recipe | method | steps | of | minutes | minutes left | losses | state |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for recipe in recipes:
        found = progress_of(recipe, folders)
        steps = found.steps if found else 0
        spent, left = "", ""
        if found and steps:
            spent = f"{found.minutes:.1f}"
            left = f"{found.minutes / steps * (recipe.steps - steps):.0f}"
        losses = ", ".join(f"{k} {v:.3f}" for k, v in (found.losses if found else {}).items())
        cells = (recipe.name, recipe.method, steps, recipe.steps, spent, left, losses)
        shown = " | ".join(str(cell) for cell in cells)
        lines.append(f"| {shown} | {_state(recipe, folders, failures)} |")
    return "\n".join(lines) + "\n"


def _state(recipe: Recipe, folders: Folders, failures: dict[str, str]) -> str:
    name = recipe.name
    if name in failures:
        return failures[name].replace("|", "/")
    if folders.engine(name).is_file():
        return "exported"
    if folders.checkpoint(name).is_file():
        return "finished"
    if not _ready(recipe, folders):
        return f"waits for {recipe.begin_with}"
    return "paused" if folders.state(name).is_file() else "not begun"


@command(epilog="Example: python -m recipes.train --data .recipes --out runs/recipes --minutes 10")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Data folder that recipes.pack wrote.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for checkpoints, engines and progress.md; the next slice needs it again.",
)
@click.option("--only", multiple=True, metavar="NAME", help="Recipe to train; may be repeated.")
@click.option(
    "--minutes",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Length of the slice, shared by the recipes.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Steps of each training, for a trial.")
@click.option("--device", default="auto", show_default=True, help="Device to train on.")
@click.option(
    "--workers",
    default=4,
    show_default=True,
    type=click.IntRange(min=0),
    help="Processes that read pictures.",
)
def main(
    data: Path,
    out: Path,
    only: tuple[str, ...],
    minutes: float,
    steps: int | None,
    device: str,
    workers: int,
) -> None:
    """Train all recipes for one slice of time; repeat the command to go on."""
    recipes, folders = chosen(only, steps), Folders(data, out)
    if not (data / "cache").is_dir():
        raise BadInput(f"{printable(data)}: not a folder that recipes.pack wrote")
    failures = run_slice(recipes, folders, Machine(device, workers), minutes)
    text = table(recipes, folders, failures)
    with atomic_write(out / "progress.md") as part:
        part.write_text(text, encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
