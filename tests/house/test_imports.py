"""The order of the packages: imports point one way, without circles."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("engines", "runtime", "video", "train", "export")
# From the ground up: a room imports only rooms on lower floors.
RUNTIME = (
    {"errors"},
    {"system"},
    {"engine", "pictures"},
    {"backends"},
    {"painting"},
    {"style_encoder"},
    {"loaded_engine"},
    {"styles", "style_texts"},
    {"stylizer"},
    {"bench", "web"},
    {"cli"},
)
VIDEO = ({"film"}, {"jobs", "live"}, {"serve"}, {"command", "webcam_command"})


def modules() -> dict[str, Path]:
    """All modules of st, by name."""
    found = {}
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(("st", *parts)).removesuffix(".__init__")] = file
    return found


MODULES = modules()


def imported(file: Path) -> Iterator[str]:
    """The modules of st that a file imports, at any place, except for type checking only."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("st."):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else str(node.module)


GRAPH = {name: set(imported(file)) - {name} for name, file in MODULES.items()}


def room(module: str) -> str:
    """st.runtime.painting.frames -> st.runtime.painting; st.runtime.stylizer is its own room."""
    return ".".join(module.split(".")[:3])


def rooms() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for module, needs in GRAPH.items():
        found.setdefault(room(module), set()).update(room(need) for need in needs)
    return {name: needs - {name} for name, needs in found.items()}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_modules_have_no_import_circles() -> None:
    assert circle(GRAPH) == []


def test_packages_have_no_import_circles() -> None:
    assert circle(rooms()) == []


@pytest.mark.parametrize(("package", "floors"), [("runtime", RUNTIME), ("video", VIDEO)])
def test_packages_import_lower_ones_only(package: str, floors: tuple[set[str], ...]) -> None:
    floor = {f"st.{package}.{name}": n for n, names in enumerate(floors) for name in names}
    wrong = [
        (name, need)
        for name, needs in rooms().items()
        for need in needs
        if name in floor and need in floor and floor[need] >= floor[name]
    ]
    assert wrong == []
    unknown = {name for name in rooms() if name.startswith(f"st.{package}.")} - set(floor)
    assert unknown == set(), "a new room: give it its floor"


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("engines", {"engines"}),
        ("runtime", {"runtime", "engines"}),
        ("video", {"video", "runtime", "engines"}),
        ("train", {"train", "runtime", "engines"}),
        ("export", {"export", "train", "runtime", "engines"}),
    ],
)
def test_top_level_packages_import_one_way(package: str, allowed: set[str]) -> None:
    wrong = [
        (name, need)
        for name, needs in GRAPH.items()
        for need in needs
        if name.split(".")[1] == package and need.split(".")[1] not in allowed
    ]
    assert wrong == []


def test_every_folder_is_packaged() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {name for name, file in MODULES.items() if file.name == "__init__.py"}
    assert set(settings["tool"]["setuptools"]["packages"]) == packages


def test_links_in_src_lead_into_the_checkout() -> None:
    links = {path.name: path.resolve() for path in (ROOT / "src" / "st").iterdir()}
    assert links == {name: ROOT / name for name in FOLDERS}
