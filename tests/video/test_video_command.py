"""The st-video program with real engines, pipes, signals and full disks."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.toys import identity_engine, tint_engine
from tests.support.video import clips

PROGRAM = [sys.executable, "-c", "from st.video.command import main; main()"]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    identity_engine(folder / "identity.onnx")
    tint_engine(folder / "tint.onnx")
    return folder


def run(*words: object, stdin: bytes = b"", code: int = 0) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [*PROGRAM, *map(str, words)], input=stdin, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return done


def test_default_name_summary_and_style(engines: Path, tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mp4", sounds=1)
    done = run(source, "--engine", engines / "tint.onnx", "--quality", 0, "--json")
    summary = json.loads(done.stdout)
    assert summary["output"] == str(tmp_path / "in_stylized.mp4")
    assert (summary["frames"], summary["width"], summary["height"]) == (24, 64, 48)
    assert summary["warnings"] == []
    assert done.stderr == b""  # quiet where there is no terminal
    painted = clips.read(tmp_path / "in_stylized.mp4")
    for one, two in zip(clips.read(source), painted, strict=True):
        inverse = 255.0 - one.to_ndarray(format="rgb24")
        assert np.abs(two.to_ndarray(format="rgb24") - inverse).mean() < 3
    weaker = tmp_path / "weaker.mkv"
    run(source, "--engine", engines / "tint.onnx", "-s", "black", "--strength", 0.5, "-o", weaker)
    assert (
        clips.planes(clips.read(weaker)[0])[0].mean()
        < clips.planes(clips.read(source)[0])[0].mean()
    )


def test_pipes_carry_matroska(engines: Path, tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mkv", sounds=1)
    engine = engines / "identity.onnx"
    done = run("-", "-o", "-", "--engine", engine, stdin=source.read_bytes())
    with av.open(io.BytesIO(done.stdout)) as film:
        assert film.format.name == "matroska,webm"
        assert [s.type for s in film.streams] == ["video", "audio"]
        assert len(list(film.decode(video=0))) == 24
    again = run("-", "-o", tmp_path / "out.mp4", "--engine", engine, stdin=done.stdout)
    assert len(clips.read(tmp_path / "out.mp4")) == 24
    assert again.stdout.startswith(str(tmp_path / "out.mp4").encode())


def test_pipes_carry_bare_frames(engines: Path, tmp_path: Path) -> None:
    frames = np.stack([clips.scene(i) for i in range(5)])
    words = ["--engine", engines / "tint.onnx", "--raw", "64x48@10"]
    done = run("-", "-o", "-", *words, stdin=frames.tobytes() + b"half a frame")
    np.testing.assert_array_equal(
        np.frombuffer(done.stdout, np.uint8).reshape(frames.shape), 255 - frames
    )
    run("-", "-o", tmp_path / "out.mp4", *words, stdin=frames.tobytes())
    assert [f.time for f in clips.read(tmp_path / "out.mp4")] == [0, 0.1, 0.2, 0.3, 0.4]
    slow = clips.film(tmp_path / "in.mp4")  # 24 frames a second, one second
    assert len(run(slow, "-o", "-", *words).stdout) == 10 * 64 * 48 * 3


def test_frames_are_written_and_read_as_pictures(engines: Path, tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mp4", sounds=1)
    engine = ["--engine", engines / "identity.onnx"]
    pattern = tmp_path / "frames" / "f%04d.png"
    done = run(source, "-o", pattern, *engine)
    assert done.stderr.count(b"\n") == 1  # the sound is named
    names = sorted(p.name for p in pattern.parent.iterdir())
    assert names == [f"f{i:04d}.png" for i in range(1, 25)]
    run(source, "-o", pattern, *engine, code=2)  # not over pictures that are there
    run(pattern.parent, "-o", tmp_path / "again.mkv", "--codec", "lossless", "--fps", 12, *engine)
    again = clips.read(tmp_path / "again.mkv")
    assert again[1].time == pytest.approx(1 / 12, abs=0.001)
    first = av.open(str(pattern.parent / "f0001.png"))
    np.testing.assert_array_equal(
        again[0].to_ndarray(format="rgb24"), next(first.decode()).to_ndarray(format="rgb24")
    )
    run(pattern, *engine)
    assert len(list((tmp_path / "frames_stylized").iterdir())) == 24


WRONG = [
    ("missing.mp4",),
    ("folder.txt",),
    ("in.mp4", "-o", "in.mp4"),
    ("in.mp4", "-o", "link.mp4"),
    ("in.mp4", "-o", "out.xyz"),
    ("in.mp4", "-o", "nowhere/out.mp4"),
    ("in.mp4", "--codec", "prores", "-o", "out.mp4"),
    ("in.mp4", "--codec", "cinepak"),
    ("in.mp4", "--quality", "99"),
    ("in.mp4", "--quality", "1", "--codec", "lossless"),
    ("in.mp4", "--preset", "warp"),
    ("in.mp4", "--size", "1x"),
    ("in.mp4", "--size", "0"),
    ("in.mp4", "--start", "soon"),
    ("in.mp4", "--start", "100"),
    ("in.mp4", "--duration", "0"),
    ("in.mp4", "--raw", "64x48@25"),
    ("in.mp4", "-o", "-", "--json"),
    ("in.mp4", "--strength", "2"),
    ("in.mp4", "--fps", "0"),
    ("-",),
    ("-", "-o", "out.mp4"),
    ("empty/", "-o", "out.mp4"),
    ("in.mp4", "--no-such-option"),
]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage_gives_one_line_and_exit_code_2(
    words: tuple[str, ...],
    engines: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from click.testing import CliRunner

    from st.video.command import main

    monkeypatch.chdir(tmp_path)
    source = clips.film(Path("in.mp4"), frames=2)
    Path("empty").mkdir()
    Path("link.mp4").symlink_to("in.mp4")
    Path("folder.txt").mkdir()
    before, data = sorted(Path().iterdir()), source.read_bytes()
    engine = ["--engine", str(engines / "identity.onnx")]
    done = CliRunner().invoke(main, [*words, *engine], input=b"no video at all")
    assert done.exit_code == 2, done.output
    assert done.stderr.count("\n") <= (4 if "Usage" in done.stderr else 1), done.stderr
    assert sorted(Path().iterdir()) == before
    assert source.read_bytes() == data


def test_control_characters_never_reach_the_terminal(engines: Path, tmp_path: Path) -> None:
    source = tmp_path / "a\x1b[31m\nb.mkv"
    clips.film(source, attachment=b"x")
    target = tmp_path / "c\x1b]0;x\x07.mp4"
    done = run(source, "-o", target, "--engine", engines / "identity.onnx")
    assert target.exists()
    for stream in (done.stdout, done.stderr):
        assert b"\x1b" not in stream
        assert stream.count(b"\n") == 1
    run(tmp_path / "\x1b[2J.mp4", "--engine", engines / "identity.onnx", code=2)


SLOW = """
import time
import st.video.command as command
from st.runtime import Stylizer
class Slow(Stylizer):
    def __call__(self, frame, progress=None):
        time.sleep(0.05)
        return frame
command._painter = lambda *choices: (Slow(), 1, 1)
command.main()
"""


def interrupted(source: Path, target: Path, number: int) -> tuple[int, str]:
    """Start a slow st-video and send it a signal while it works; returns (exit code, stderr)."""
    words = [sys.executable, "-c", SLOW, str(source), "-o", str(target), "--preset", "ultrafast"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    until = time.monotonic() + 60
    while not list(target.parent.glob(f".{target.name}.st-parts/film*")):
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < until, "it never started"
        time.sleep(0.02)
    time.sleep(0.8)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sigterm_leaves_a_playable_partial_video(number: int, tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mp4", frames=240, sounds=1)
    target = tmp_path / "out" / "out.mp4"
    target.parent.mkdir()
    code, errors = interrupted(source, target, number)
    assert code == 1
    assert errors.count("\n") == 1
    assert "stopped after" in errors
    kept_as = target.with_name("out_partial.mp4")
    assert [p for p in target.parent.iterdir() if not p.name.startswith(".")] == [kept_as]
    assert str(kept_as) in errors
    kept = clips.read(kept_as)
    assert 2 <= len(kept) < 240
    sound = clips.packets(kept_as, "audio")[-1][0]
    assert sound == pytest.approx(float(kept[-1].time or 0), abs=0.6)


def test_sigterm_keeps_the_existing_output(tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mp4", frames=240)
    target = tmp_path / "out" / "out.mp4"
    target.parent.mkdir()
    target.write_bytes(b"a good video")
    code, errors = interrupted(source, target, signal.SIGINT)
    assert code == 1
    assert "out_partial.mp4" in errors
    assert target.read_bytes() == b"a good video"
    assert 2 <= len(clips.read(tmp_path / "out" / "out_partial.mp4")) < 240


def test_sigkill_leaves_no_file_under_the_output_name(tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mp4", frames=240)
    (tmp_path / "out").mkdir()
    code, _ = interrupted(source, tmp_path / "out" / "out.mp4", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (tmp_path / "out" / "out.mp4").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov", "frames/"])
def test_a_full_disk_gives_one_line_and_no_file(name: str, engines: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "st-test", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not allow mounting")
    try:
        source = clips.film(tmp_path / "in.mp4", size=(240, 320), frames=30)
        choices = [] if name == "frames/" else ["--quality", 0]
        done = run(
            source, "-o", f"{disk}/{name}", *choices, "--engine", engines / "identity.onnx", code=1
        )
        assert done.stderr.count(b"\n") == 1
        assert b"No space left" in done.stderr
        if name != "frames/":
            assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_failing_engine_leaves_no_file(tmp_path: Path) -> None:
    from tests.support.video.golden import stylize

    source = clips.film(tmp_path / "in.mp4")
    target = tmp_path / "out.mp4"
    target.write_bytes(b"a good video")
    for moment in (1, 2, 7, 24):
        calls = iter(range(1, 100))

        def paint(frame: np.ndarray, calls=calls, moment=moment) -> np.ndarray:
            if next(calls) == moment:
                raise RuntimeError("out of luck")
            return frame

        with pytest.raises(RuntimeError, match="out of luck"):
            stylize(source, target, paint)
        assert target.read_bytes() == b"a good video"
        assert len(list(tmp_path.iterdir())) == 2


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Only a few frames wait for the painter, however slow it is."""
    from st.video.film.image_sequence import ImageSequenceSink
    from st.video.jobs.job import Job, open_reader
    from st.video.jobs.pipeline import run as pipeline

    source = clips.film(tmp_path / "in.mp4", frames=60)
    reader = open_reader(Job(source))
    seen, ahead = [], []
    items = reader.items

    def counted():
        for item in items():
            seen.append(item)
            yield item

    def paint(frame: np.ndarray) -> np.ndarray:
        time.sleep(0.002)
        return frame

    written = iter(range(1, 100))
    reader.items = counted  # type: ignore[method-assign]
    sink = ImageSequenceSink(tmp_path / "frames", reader.video_format)
    pipeline(reader, sink, paint, 2, lambda: ahead.append(len(seen) - next(written)))
    assert max(ahead) <= 7
    assert len(ahead) == 60
