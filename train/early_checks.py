"""Checks of a command line that need no torch, whose import takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from st.runtime.engine.location import engine_path
from st.runtime.errors import BadInput, printable
from st.train.data.files import content_files, style_files
from st.train.options import load_toml, option_groups

# Options whose values are checked here, by their names in a TOML file.
CHECKED = {
    "content": "content",
    "style": "styles",
    "add-style": "added",
    "video": "video",
    "output": "output",
    "begin-with": "initial",
    "from": "base",
    "vgg": "vgg",
    "resume": "resume",
    "hold-out": "hold_out",
}
LISTS = ("content", "styles", "added", "video")


def method_names() -> list[str]:
    """The methods' names: those of their modules."""
    modules = (Path(__file__).parent / "methods").glob("[!_]*.py")
    return sorted(path.stem for path in modules)


def check_arguments(arguments: Sequence[str]) -> None:
    """Check the files that the arguments of `st-train METHOD` name.

    Values that only the method knows are left to its own parser. Raises BadInput and
    click.UsageError.
    """
    groups = option_groups(bank=True, temporal=True)
    options = [option for group in groups.values() for option in group]
    for option in options:
        if option.name == "config":
            option.expose_value, option.callback = True, None
    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    parser = click.Command("st-train", params=[*options], context_settings=settings)
    values = parser.make_context("st-train", list(arguments), resilient_parsing=True).params
    if values.get("config") is not None:
        values |= _from_toml(load_toml(values["config"]), values)
    if values.get("output") is not None:
        check_output(values["output"], bool(values.get("resume")))
    if folders := values.get("content"):
        content_files([Path(folder) for folder in folders], values.get("hold_out") or 0)
    for name in ("styles", "added"):
        style_files([str(style) for style in values.get(name) or ()])
    for folder in values.get("video") or ():
        if not Path(folder).is_dir():
            raise BadInput(f"{printable(folder)}: no such folder")
    for name in ("initial", "base"):
        if values.get(name):
            check_model(values[name])
    vgg = values.get("vgg")
    if vgg and "://" not in vgg and not Path(vgg).exists():
        raise BadInput(f"{printable(vgg)}: no such weights file")


def _from_toml(file: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The checked options in a TOML file that the command line does not give, if their types are
    valid."""
    values = {}
    for key, value in file.items():
        name = CHECKED.get(key.replace("_", "-"))
        if name is None or given.get(name):
            continue
        if name in LISTS:
            value = [value] if isinstance(value, str) else value
            if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
                continue
        elif not isinstance(value, bool if name == "resume" else int if "hold" in name else str):
            continue
        values[name] = Path(str(value)) if name == "output" else value
    return values


def check_output(output: Path, resume: bool) -> None:
    """Raises BadInput if the checkpoint could not be written, or the training not be resumed."""
    if output.suffix != ".pt" or output.is_dir():
        raise BadInput(f"-o {printable(output)}: give a file name that ends in .pt")
    if not output.parent.is_dir():
        raise BadInput(f"{printable(output.parent)}: no such folder")
    state = output.with_suffix(".resume.pt")
    if resume and not state.is_file():
        raise BadInput(f"{printable(state)}: no saved state to resume from; leave out --resume")


def check_model(source: str) -> None:
    """Raises BadInput if a checkpoint or an engine does not exist."""
    path = Path(source) if Path(source).suffix == ".pt" else engine_path(source)
    if not path.is_file():
        raise BadInput(f"{printable(source)}: no such file")
