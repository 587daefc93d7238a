"""Print pyproject.toml's lower bounds as exact versions, one requirement a line.

A constraints file for pip: `pip install -e '.[test]' --constraint FILE`. torch is left out.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

EXTRAS = ("cpu", "train", "export", "openvino", "live", "serve")
BOUND = re.compile(r"([A-Za-z0-9_.-]+)>=([0-9.]+)")


def bounds() -> dict[str, str]:
    """The oldest release of each dependency of the light core and of the tested extras."""
    text = Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    requirements = list(project["dependencies"])
    for extra in EXTRAS:
        requirements += project["optional-dependencies"][extra]
    matches = (BOUND.match(requirement) for requirement in requirements)
    found = {match[1]: match[2] for match in matches if match}
    return {name: version for name, version in found.items() if name != "torch"}


if __name__ == "__main__":
    for name, version in bounds().items():
        print(f"{name}=={version}")
