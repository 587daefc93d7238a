"""The distribution: its name on PyPI, and its declared packages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from st.runtime.errors import DISTRIBUTION

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TEXTS = {".py", ".md", ".toml", ".js", ".html", ".ipynb", ".yml", ".yaml", ".txt", ""}
# Packages whose import name is not their name on PyPI.
ON_PYPI = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "pygame": "pygame-ce",
    "tensorrt": "tensorrt-cu13",
}
# `pip install st`, `pip install 'st[live]'`, `uv add st>=1`, and a bare requirement 'st[live]'.
INSTALLS_ST = re.compile(
    r"""(?:\b(?:pip3?|pipx|uv|uvx|poetry|conda)\s+(?:install|add|run)\b[^#\n]*?[\s'"`]st(?=['"`\[=<>~!\s]|$))"""
    r"""|(?:^|[\s'"`])st\[[a-z-]+(?:,[a-z-]+)*\]""",
    re.MULTILINE,
)


def texts() -> list[Path]:
    """The text files that git tracks."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip("the checkout is no git repository")
    files = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    return [file for file in files if file.suffix in TEXTS and file.is_file()]


@pytest.mark.parametrize(
    "text",
    [
        "pip install st",
        "pip install 'st[scale]'",
        "pip install -U st>=1",
        'x = ["st[dev]"]',
        "`st[a,b]`",
    ],
)
def test_the_pattern_matches_commands_that_install_st(text: str) -> None:
    assert INSTALLS_ST.search(text)


@pytest.mark.parametrize(
    "text", ["pip install .  # then st runs", "pip install 'painterly[scale]'", "pip install st-x"]
)
def test_the_pattern_matches_nothing_else(text: str) -> None:
    assert not INSTALLS_ST.search(text)


def test_no_text_says_to_install_st_from_pypi() -> None:
    """`st` on PyPI is another project."""
    found = [
        f"{file.relative_to(ROOT)}: {match[0]}"
        for file in texts()
        if file != Path(__file__)
        for match in INSTALLS_ST.finditer(file.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_the_constant_equals_the_name_in_pyproject() -> None:
    assert PROJECT["name"] == DISTRIBUTION != "st"


def third_party(folder: str) -> set[str]:
    """The third-party packages that the modules of a folder import."""
    names = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - {"st"} - set(sys.stdlib_module_names)


@pytest.mark.parametrize("folder", ["engines", "runtime", "video", "train", "export"])
def test_every_imported_package_is_declared(folder: str) -> None:
    requirements = [*PROJECT["dependencies"]]
    for extra, wanted in PROJECT["optional-dependencies"].items():
        requirements += wanted if extra not in ("dev", "test") else []
    declared = {re.split(r"[^A-Za-z0-9._-]", text)[0].replace("-", "_") for text in requirements}
    imported = {ON_PYPI.get(name, name).replace("-", "_") for name in third_party(folder)}
    assert imported - declared == set()
