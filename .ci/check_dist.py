"""Check that the wheel and the sdist in a folder hold every package and data file.

python .ci/check_dist.py dist
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

FOLDERS = ("engines", "export", "runtime", "train", "video")


def tracked() -> set[str]:
    """The files of the packages that git follows: every one of them is code or data."""
    done = subprocess.run(
        ["git", "ls-files", "-z", *FOLDERS], capture_output=True, text=True, check=True
    )
    return {name for name in done.stdout.split("\0") if name}


def main(folder: Path) -> int:
    wheel, sdist = next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))
    expected = tracked()
    with zipfile.ZipFile(wheel) as archive:
        packed = {name.removeprefix("st/") for name in archive.namelist()}
    with tarfile.open(sdist) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    problems = [f"{wheel.name} lacks {name}" for name in sorted(expected - packed)]
    problems += [f"{sdist.name} lacks {name}" for name in sorted(expected - source)]
    metadata = {name for name in packed if ".dist-info/" in name}
    problems += [f"{wheel.name} has {name}" for name in sorted(packed - expected - metadata)]
    print("\n".join(problems) or f"{wheel.name} and {sdist.name}: {len(expected)} files each")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
