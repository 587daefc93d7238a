"""st-video with several videos: a folder, a glob, a list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from st.runtime.errors import BadInput
from st.video.command import main
from st.video.jobs.batch import films_of
from tests.support.toys import identity_engine
from tests.support.video import clips


@pytest.fixture
def holiday(tmp_path: Path) -> Path:
    folder = tmp_path / "holiday"
    folder.mkdir()
    clips.film(folder / "a.mp4", frames=4)
    clips.film(folder / "b.mkv", frames=5)
    (folder / "notes.txt").write_text("sea, sun")
    identity_engine(tmp_path / "identity.onnx")
    return folder


def st_video(tmp_path: Path, *words: object, code: int = 0) -> str:
    chosen = ["--engine", str(tmp_path / "identity.onnx")]
    result = CliRunner().invoke(main, [*map(str, words), *chosen])
    assert result.exit_code == code, result.output
    return result.output


def test_a_folder_of_videos_is_painted(holiday: Path, tmp_path: Path) -> None:
    out = tmp_path / "painted"
    said = st_video(tmp_path, holiday, "-o", out, "--json").strip().splitlines()
    assert [json.loads(line)["frames"] for line in said] == [4, 5]
    assert sorted(p.name for p in out.iterdir()) == ["a.mp4", "b.mkv"]
    assert len(clips.read(out / "b.mkv")) == 5


def test_outputs_of_globs_and_lists_are_beside_the_inputs(holiday: Path, tmp_path: Path) -> None:
    st_video(tmp_path, holiday / "*.mp4", holiday / "b.mkv")
    assert (holiday / "a_stylized.mp4").is_file()
    assert (holiday / "b_stylized.mkv").is_file()


def test_a_bad_video_in_a_batch_is_skipped(holiday: Path, tmp_path: Path) -> None:
    (holiday / "aa.mp4").write_bytes(b"no video at all")
    said = st_video(tmp_path, holiday, "-o", tmp_path / "out", code=2)
    assert "aa.mp4" in said
    assert "1 of 3 videos could not be painted" in said
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.mp4", "b.mkv"]


def test_videos_of_equal_names_get_different_outputs(holiday: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    clips.film(other / "a.mp4", frames=6)
    st_video(tmp_path, holiday / "a.mp4", other / "a.mp4", "-o", tmp_path / "out")
    frames = [len(clips.read(tmp_path / "out" / name)) for name in ("a.mp4", "a-2.mp4")]
    assert frames == [4, 6]


def test_no_output_has_the_name_of_another_input(holiday: Path, tmp_path: Path) -> None:
    second = clips.film(holiday / "a_stylized.mp4", frames=7)
    before = second.read_bytes()
    st_video(tmp_path, holiday / "a.mp4", second)
    assert second.read_bytes() == before
    assert len(clips.read(holiday / "a_stylized-2.mp4")) == 4
    assert len(clips.read(holiday / "a_stylized_stylized.mp4")) == 7


def test_names_and_folders_that_count_as_one_video(holiday: Path, tmp_path: Path) -> None:
    assert films_of(["-"]) == ["-"]
    assert films_of([str(tmp_path / "frames/%05d.png")]) == [str(tmp_path / "frames/%05d.png")]
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for number in range(3):
        (mixed / f"{number}.png").write_bytes(b"")
    (mixed / "a.mp4").write_bytes(b"")
    assert films_of([str(mixed)]) == [str(mixed)], "pictures that count up are a video"
    (mixed / "2.png").rename(mixed / "poster.png")
    assert films_of([str(mixed)]) == [str(mixed / "a.mp4")], "a poster is no video beside one"
    (mixed / "a.mp4").unlink()
    assert films_of([str(mixed)]) == [str(mixed)], "pictures alone are a video"
    odd = tmp_path / "take[1].mp4"
    odd.write_bytes(b"")
    assert films_of([str(odd), str(odd)]) == [str(odd)], "a file wins over a glob"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["*.nothing"], "nothing matches"),
        (["-", "a.mp4"], "cannot be mixed"),
        (["a.mp4", "b.mkv", "-o", "all.mp4"], "several videos need a folder"),
        (["a.mp4", "b.mkv", "-o", "-"], "several videos need a folder"),
    ],
)
def test_wrong_usage_gives_one_line(
    words: list[str],
    message: str,
    holiday: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(holiday)
    said = st_video(tmp_path, *words, code=2)
    assert message in said
    assert said.count("\n") == 1


def test_an_unmatched_glob_is_bad_input() -> None:
    with pytest.raises(BadInput):
        films_of(["/nowhere/*.mp4"])
