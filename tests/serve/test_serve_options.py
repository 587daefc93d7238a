"""The st-webcam --serve command: its options and messages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from st.video.webcam_command import main
from tests.support import toys


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--serve", "--record", "x.mp4"], "leave --record out"),
        (["film.mp4", "--serve"], "leave SOURCE out"),
        (["--serve", "--mirror"], "leave --mirror out"),
        (["--serve", "--json"], "leave --json out"),
        (["--cert", "x.pem"], "--cert needs --serve"),
        (["--max-sessions", "2"], "--max-sessions needs --serve"),
        (["--serve", ":0", "--max-sessions", "0"], "--max-sessions"),
    ],
)
def test_conflicting_options_are_refused(arguments: list[str], words: str) -> None:
    assert words in refused(*arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--serve", "here:port"], "HOST:PORT"),
        (["--serve", ":0", "--key", "x.pem"], "a key needs its certificate"),
        (["--serve", ":0", "--cert", "x.pem"], "x.pem: no such file"),
        (["--serve", ":0", "--host-name", "http://x/"], "not a host name"),
        (["--serve", ":0", "-s", "wave"], "negative, black"),
    ],
)
def test_bad_option_values_are_refused(tmp_path: Path, arguments: list[str], words: str) -> None:
    pytest.importorskip("aiortc")
    engine = toys.tint_engine(tmp_path / "tint.onnx")
    assert words in refused(*arguments, "--engine", str(engine))


def test_a_port_in_use_gives_one_line(tmp_path: Path) -> None:
    pytest.importorskip("aiortc")
    import socket

    engine = toys.tint_engine(tmp_path / "tint.onnx")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ["--serve", f":{port}", "--engine", str(engine)]
        result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert f"127.0.0.1:{port} cannot listen there: Address already in use" in result.output


def test_without_the_extra_one_line_names_it(tmp_path: Path) -> None:
    engine = toys.tint_engine(tmp_path / "tint.onnx")
    code = f"""
import sys
sys.modules["aiortc"] = None
from st.video.webcam_command import main
main(["--serve", ":0", "--engine", {str(engine)!r}])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "Error: --serve needs an extra: pip install 'painterly[serve]'"
