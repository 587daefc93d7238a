"""The st-webcam command in scripts: exit codes, one-line errors, summaries, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from st.video.webcam_command import main
from tests.support.toys import identity_engine, tint_engine
from tests.support.video import clips
from tests.support.video.streams import MjpegServer, free_port, wait_for

PROGRAM = [sys.executable, "-c", "from st.video.webcam_command import main; main()"]
NO_CAMERA = not any(Path("/dev").glob("video*"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tint_engine(tmp_path_factory.mktemp("engines") / "tint.onnx")


def run(*words: object, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if "DISPLAY" not in k} | more
    done = subprocess.run(
        [*PROGRAM, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_headless_writes_frames_a_video_and_a_summary(engine: Path, tmp_path: Path) -> None:
    film = clips.film(tmp_path / "in.mp4")
    target = tmp_path / "out.mp4"
    words = ("--engine", engine, "-s", "black", "--headless", "--loop", "--json")
    done = run(film, *words, "--frames", 30, "--record", target, "--target-fps", 20)
    summary = json.loads(done.stdout)
    assert summary["frames"] == 30
    assert (summary["width"], summary["height"]) == (64, 48)
    assert summary["style"] == "black"
    assert 2 < summary["frames_per_second"] < 21.5
    assert 0 < summary["delay_ms"] <= summary["delay_ms_95"] < 5000
    assert 2 <= summary["recorded"] <= 30
    frames = clips.read(target)
    assert len(frames) == summary["recorded"]
    assert frames[-1].to_ndarray(format="rgb24").max() < 12
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_the_recording_is_playable(
    number: signal.Signals, engine: Path, tmp_path: Path
) -> None:
    film, target = clips.film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    target.write_bytes(b"older")
    words = [film, "--engine", engine, "--headless", "--loop", "--record", target]
    program = subprocess.Popen(
        [*PROGRAM, *map(str, words)], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert program.stderr
    assert "64×48 at 24 frames/s, in a loop" in program.stderr.readline()
    began = time.monotonic()
    wait_for(lambda: list(tmp_path.glob(".out-*.mp4")))
    time.sleep(1.5)
    program.send_signal(number)
    assert program.wait(30) == 0, program.stderr.read()
    ended = time.monotonic()
    program.stderr.close()
    with av.open(str(target)) as made:
        seconds = made.duration / 1e6
        assert sum(1 for _ in made.decode(video=0)) > 3
    assert 0.8 < seconds < ended - began + 0.2
    assert not list(tmp_path.glob(".out*"))


def test_a_full_disk(engine: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "st-test", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        film = clips.film(tmp_path / "in.mp4", size=(240, 320))
        words = ("--engine", engine, "--headless", "--loop", "--frames", 60)
        done = run(film, *words, "--record", disk / "out.mkv", code=1)
        assert f"Error: {disk}/out.mkv could not be recorded: No space" in done.stderr
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_lost_stream_is_reopened_and_finally_given_up(engine: Path, tmp_path: Path) -> None:
    """The loss is reported, the stream is opened again, and finally given up; the video contains
    both parts."""
    with MjpegServer(lambda number: np.full((48, 64, 3), 55, np.uint8)) as server:
        target = tmp_path / "out.mkv"
        words = [server.url, "--engine", engine, "--headless", "--record", target, "--give-up", 5]
        program = subprocess.Popen([*PROGRAM, *map(str, words)], stderr=subprocess.PIPE, text=True)
        assert program.stderr
        assert "64×48, mjpeg" in program.stderr.readline()
        server.drop()
        lost = program.stderr.readline()
        assert lost.startswith("warning: http://127.0.0.1:")
        assert "trying again" in lost
        assert program.stderr.readline().startswith("back: http://127.0.0.1:")
        server.refused.set()
        server.drop()
        assert program.wait(40) == 1
        assert "gave up after 5 s" in program.stderr.read()
        program.stderr.close()
    frames = clips.read(target)
    assert abs(frames[-1].to_ndarray(format="rgb24").astype(int) - 200).max() < 8


def test_frames_are_sent_to_a_stream(engine: Path, tmp_path: Path) -> None:
    film = clips.film(tmp_path / "in.mp4")
    url = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    frames: list[np.ndarray] = []

    def receive() -> None:
        with av.open(url, timeout=30) as stream:
            for frame in stream.decode(video=0):
                frames.append(frame.to_ndarray(format="rgb24"))
                if len(frames) == 5:
                    return

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    words = [film, "--engine", engine, "-s", "black", "--headless", "--loop", "-o", url]
    program = subprocess.Popen([*PROGRAM, *map(str, words)], stderr=subprocess.DEVNULL)
    thread.join(40)
    program.terminate()
    assert program.wait(30) == 0
    assert len(frames) == 5
    assert frames[-1].max() < 12


@pytest.mark.skipif(not NO_CAMERA, reason="this machine has video devices")
def test_a_missing_camera_gives_one_line() -> None:
    done = run(code=1)
    assert done.stderr == "Error: no camera 0: no camera is connected\n"
    assert run("--list-cameras").stdout == ""


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["none.mp4"], 2, "none.mp4: no such file"),
        (["text.md"], 2, "no video that st can read"),
        (["FILM", "--style", "wave"], 2, "this engine has negative, black"),
        (["FILM", "--record", "out.txt"], 2, ".mp4"),
        (
            ["FILM", "-o", "out.mp4"],
            2,
            "Error: -o: out.mp4: not a stream address",
        ),
        (["FILM"], 1, "cannot open a window (DISPLAY is not set)"),
    ],
)
def test_wrong_webcam_usage_gives_one_line(
    words: list[str],
    code: int,
    error: str,
    engine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "text.md").write_text("no video")
    film = str(clips.film(tmp_path / "in.mp4"))
    monkeypatch.chdir(tmp_path)
    given = [film if word == "FILM" else word for word in words]
    done = CliRunner().invoke(main, [*given, "--engine", str(engine)])
    assert done.exit_code == code
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert error in lines[0]
    assert done.stdout == ""


def test_missing_libraries_are_named(tmp_path: Path) -> None:
    """In this process, pygame and pyvirtualcam cannot be imported."""
    film = clips.film(tmp_path / "in.mp4")
    engine = identity_engine(tmp_path / "identity.onnx")
    code = (
        "import sys; sys.modules['pygame'] = sys.modules['pyvirtualcam'] = None\n"
        "from click.testing import CliRunner\n"
        "from st.video.webcam_command import main\n"
        f"film, engine = {str(film)!r}, ['--engine', {str(engine)!r}]\n"
        "for more in ([], ['--headless', '--virtual-camera']):\n"
        "    print(CliRunner().invoke(main, [film, *engine, *more]).output)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "Error: a window needs an extra: pip install 'painterly[live]'" in done.stdout
    assert "Error: a virtual camera needs an extra: pip install 'painterly[live]'" in done.stdout


def test_help_lists_the_keys() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    assert "st-webcam film.mp4 --headless --frames 200 --json" in text
    assert "blend with the next style" in text
