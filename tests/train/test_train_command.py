"""The st-train command."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner, Result

from st.train.bank.from_engine import engine_checkpoint
from st.train.checkpoint import load_checkpoint
from st.train.command import main
from st.train.early_checks import method_names
from st.train.features.squeezenet import load_squeezenet
from st.train.methods import METHODS

Invoke = Callable[..., Result]
SMALL = {
    "texture": ["--scales", 3],
    "colorize": ["--size", 96, "--width", 8, "--critic", 8, "--encoder", "plain"],
    "diversified": ["--width", 8],
    "mgan": ["--width", 8],
    "wct": ["--levels", 3, "--width", 8],
    "adain": ["--width", 8],
    "avatarnet": ["--style-size", 32, "--width", 8],
    "styleswap": ["--style-size", 32, "--width", 8],
}  # what makes a network small


@pytest.fixture
def st_train(
    photographs: Path, paintings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Invoke:
    """Run `st-train METHOD` with pictures and settings for a training of seconds, plus these
    arguments."""
    monkeypatch.chdir(tmp_path)

    def invoke(method: str, *words: object, sizes: bool = True) -> Result:
        one = method in METHODS and METHODS[method].styles == "one"
        style = paintings / "strokes.png" if one else paintings
        given = ["--content", photographs, "--style", style, "-o", "model.pt", "--device", "cpu"]
        if sizes:
            given += ["--steps", 2, "--size", 48, "--batch", 1, "--workers", 0]
            if hasattr(METHODS[method].config, "style_scales"):
                given += ["--style-scales", 1]
            given += SMALL.get(method, [])
        return CliRunner().invoke(main, [method, *map(str, given), *map(str, words)])

    return invoke


def one_line(result: Result, exit_code: int) -> str:
    """The message of an error, which is one line."""
    assert result.exit_code == exit_code, result.output
    assert "Traceback" not in result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, result.stderr
    assert errors[0] == result.stderr.splitlines()[-1]
    return errors[0]


@pytest.mark.parametrize("name", METHODS)
def test_help(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert f"Examples:\n    {METHODS[name].example}" in result.output
    for option in ("--content", "--style", "--resume", "--steps", "--size", "--learning-rate"):
        assert option in result.output


def test_help_lists_the_methods() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "Examples:\n    st-train" in result.output
    assert all(name in result.output for name in METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_trains_previews_and_resumes(name: str, st_train: Invoke) -> None:
    words = ("--preview-every", 1, "--save-every", 1)
    result = st_train(name, *words)
    assert result.exit_code == 0, result.output
    assert "little more than gray" in result.stderr
    assert "step 1/2" in result.stderr
    assert "wrote model.pt" in result.stderr
    assert result.stdout == ""
    first = load_checkpoint(Path("model.pt"))
    assert first.card["steps"] == 2
    assert Path("model.preview.jpg").stat().st_size > 500
    more = st_train(name, *words, "--resume", "--steps", 3)
    assert more.exit_code == 0, more.output
    assert "step 1/" not in more.stderr
    assert "step 3/3" in more.stderr
    again = load_checkpoint(Path("model.pt"))
    assert again.card["steps"] == 3
    assert not all(torch.equal(first.state[k], again.state[k]) for k in first.state)


def test_training_starts_from_another_networks_weights(st_train: Invoke) -> None:
    """The transfer network of the shipped bank, for a network that will learn any style."""
    result = st_train(
        "prediction", "--shape", "deep", "--begin-with", "paintings", "--learning-rate", 1e-9
    )
    assert result.exit_code == 0, result.output
    bank = engine_checkpoint("paintings").state
    made = load_checkpoint(Path("model.pt")).state
    shared = [name for name in bank if name.startswith("transform.")]
    assert shared
    assert set(shared) == {name for name in made if name.startswith("transform.")}
    for name in shared:
        torch.testing.assert_close(made[name], bank[name], rtol=0, atol=1e-6)
    base, middle = made["style.predict.2.bias"], bank["bank"].mean(0)
    torch.testing.assert_close(base, middle, rtol=0, atol=1e-6)
    assert "no weights of this cin network fit" in one_line(
        st_train("wct", "--begin-with", "paintings"), 2
    )


def test_a_small_network_copies_a_teacher_first(st_train: Invoke, paintings: Path) -> None:
    """Then it learns the styles themselves, and takes a new one without the teacher."""
    assert st_train("cin", "-o", "teacher.pt").exit_code == 0
    words = ("--shape", "fastest", "--teacher", "teacher.pt", "--taught", 1)
    result = st_train("cin", *words, "--preview-every", 1, "--save-every", 1)
    assert result.exit_code == 0, result.output
    first, second = result.stderr.split("step 1/2")[1].split("step 2/2")
    assert "teacher" in first
    assert "style" not in first
    assert "style" in second
    made = load_checkpoint(Path("model.pt"))
    assert made.config["teacher"] == "teacher.pt"
    Path("teacher.pt").unlink()
    adding = ["cin", "--add-style", f"new={paintings / 'strokes.png'}", "--from", "model.pt"]
    sizes = [
        "--steps",
        1,
        "--size",
        48,
        "--style-scales",
        1,
        "--batch",
        1,
        "--workers",
        0,
        "--device",
        "cpu",
    ]
    photographs = ["--content", paintings, "-o", "more.pt"]
    result = CliRunner().invoke(main, [str(word) for word in (*adding, *sizes, *photographs)])
    assert result.exit_code == 0, result.output
    assert load_checkpoint(Path("more.pt")).styles == (*made.styles, "new")


def test_an_any_style_engine_is_accepted_as_teacher(st_train: Invoke) -> None:
    result = st_train("cin", "--teacher", "anything", "--taught", 1, "--save-every", 1)
    assert result.exit_code == 0, result.output
    assert "teacher" in result.stderr.split("step 1/2")[-1]


def test_unusable_teachers_are_refused(st_train: Invoke) -> None:
    assert st_train("perceptual", "-o", "one.pt").exit_code == 0
    said = one_line(st_train("cin", "--teacher", "one.pt"), 2)
    assert "the teacher one.pt has the styles strokes: give as many style pictures" in said
    assert "which is a colorizer" in one_line(st_train("cin", "--teacher", "colorize"), 2)
    said = one_line(st_train("cin", "--teacher", "paintings"), 2)
    assert "has the styles wave, the_scream" in said
    assert "no such file" in one_line(st_train("cin", "--teacher", "none.pt"), 2)


def test_adain_starts_from_the_decoder_of_wct(st_train: Invoke) -> None:
    words = ("--encoder", "vgg16", "--width", 64)
    result = st_train("wct", *words, "--levels", 4, "-o", "wct.pt")
    assert result.exit_code == 0, result.output
    result = st_train("adain", *words, "--begin-with", "wct.pt", "--learning-rate", 1e-9)
    assert result.exit_code == 0, result.output
    begun = load_checkpoint(Path("wct.pt")).state
    made = load_checkpoint(Path("model.pt")).state
    decoder = [name for name in made if name.startswith("decoder.")]
    assert decoder
    for name in decoder:
        inverse = begun[name.replace("decoder.", "decoders.4.")]
        torch.testing.assert_close(made[name], inverse, rtol=0, atol=1e-6)
    for name in made.keys() & begun.keys():
        assert torch.equal(made[name], begun[name]), "and its features are scaled alike"


def test_training_starts_from_a_finetuned_encoder(st_train: Invoke) -> None:
    """The published weights do not overwrite it."""
    words = ("--encoder", "squeezenet")
    result = st_train("colorize", *words, "--learning-rate", 1e-2, "-o", "first.pt")
    assert result.exit_code == 0, result.output
    result = st_train("colorize", *words, "--learning-rate", 1e-9, "--begin-with", "first.pt")
    assert result.exit_code == 0, result.output
    first, made = (load_checkpoint(Path(name)).state for name in ("first.pt", "model.pt"))
    published, prefix = load_squeezenet().state_dict(), "generator.encoder.squeezenet."
    own = [name for name in made if name.startswith(prefix)]
    assert own
    for name in own:
        torch.testing.assert_close(made[name], first[name], rtol=0, atol=1e-6)
        assert not torch.equal(made[name], published[name.removeprefix(prefix)])


def test_reads_pictures_in_another_process(st_train: Invoke) -> None:
    before = signal.getsignal(signal.SIGCHLD)
    result = st_train("cin", "--workers", 1)
    assert result.exit_code == 0, result.output
    assert signal.getsignal(signal.SIGCHLD) == before, "torch's handler is gone with its loader"


def test_reads_pictures_in_another_process_after_opencv_used_threads(
    photographs: Path, paintings: Path, tmp_path: Path
) -> None:
    """As --add-style does with --video. It runs in a separate process, since it once hung."""
    words = ["cin", "--content", str(photographs), "--style", str(paintings), "-o", "model.pt"]
    words += [
        "--device",
        "cpu",
        "--steps",
        "2",
        "--size",
        "48",
        "--style-scales",
        "1",
        "--batch",
        "1",
        "--workers",
        "1",
    ]
    script = f"""
import cv2, numpy
cv2.setNumThreads(3)
cv2.warpAffine(numpy.zeros((3000, 3000, 3), numpy.uint8), numpy.eye(2, 3), (3000, 3000))
from st.train.command import main
main({words})
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, timeout=120, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.pt").is_file()


def test_resume_keeps_the_earlier_settings(st_train: Invoke) -> None:
    assert st_train("cin", "--tv-weight", 3, "--seed", 5, "--hold-out", 100).exit_code == 0
    words = ("--resume", "--steps", 3, "--workers", 0, "--content-weight", 2)
    result = st_train("cin", *words, sizes=False)
    assert result.exit_code == 0, result.output
    saved = load_checkpoint(Path("model.pt"))
    kept = {k: saved.config[k] for k in ("size", "batch", "tv_weight", "steps", "content_weight")}
    assert kept == {"size": 48, "batch": 1, "tv_weight": 3, "steps": 3, "content_weight": 2}
    assert saved.card["seed"] == 5
    assert saved.card["hold_out"] == 100, "else it would learn what it is to be measured on"


def test_config_file(st_train: Invoke) -> None:
    Path("run.toml").write_text(
        'size = 48\nstyle_layers = ["conv1", "fire3"]\nlearning-rate = 1\nseed = 3\n'
    )
    words = ("--steps", 1, "--batch", 1, "--workers", 0, "--learning-rate", 0.5)
    result = st_train("adain", "--config", "run.toml", *words, sizes=False)
    assert result.exit_code == 0, result.output
    saved = load_checkpoint(Path("model.pt"))
    assert saved.config["size"] == 48
    assert saved.config["style_layers"] == ("conv1", "fire3")
    assert saved.config["learning_rate"] == 0.5  # what the command line says wins
    assert saved.card["seed"] == 3


def test_config_file_can_name_the_pictures(
    photographs: Path, paintings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text(
        f'content = "{photographs}"\nstyle = ["{paintings}"]\noutput = "bank.pt"\n'
        'steps = 1\nsize = 48\nstyle_scales = [1.0]\nbatch = 1\nworkers = 0\ndevice = "cpu"\n'
    )
    result = CliRunner().invoke(main, ["cin", "--config", "run.toml"])
    assert result.exit_code == 0, result.output
    assert load_checkpoint(Path("bank.pt")).styles == ("dashes", "strokes")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("size = ", "config"),
        ("sizes = 3", "'sizes'"),
        ("size = 'big'", "'big'"),
        ("[cin]\nsize = 3", "'cin'"),
        ("config = 'run.toml'", "'config'"),
        ("size = 8", "8"),
        ("shape = 'huge'", "'huge'"),
    ],
)
def test_config_file_errors(st_train: Invoke, text: str, problem: str) -> None:
    Path("run.toml").write_text(text)
    assert problem in one_line(st_train("cin", "--config", "run.toml", sizes=False), 2)
    assert not Path("model.pt").exists()


def test_invalid_config_files_are_refused(st_train: Invoke) -> None:
    assert "absent.toml" in one_line(st_train("cin", "--config", "absent.toml"), 2)
    Path("noise.toml").write_bytes(b"\xff\xfe\x00")
    assert "noise.toml" in one_line(st_train("cin", "--config", "noise.toml"), 2)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--content", "absent"], "absent: no such folder"),
        (["--style", "absent.png"], "absent.png: no such style"),
        (["-o", "model.onnx"], "ends in .pt"),
        (["-o", "absent/model.pt"], "absent: no such folder"),
        (["--resume"], "no saved state to resume from"),
        (["--size", 30], "--size"),
        (["--size", 34], "multiple of 4"),
        (["--steps", 0], "--steps"),
        (["--batch", -1], "--batch"),
        (["--learning-rate", "nan"], "learning_rate"),
        (["--shape", "huge"], "huge"),
        (["--content-layer", "relu9_9"], "relu9_9"),
        (["--style-layers", "conv"], "conv"),
        (["--vgg", __file__], "--vgg is for vgg16"),
        (["--loss-network", "vgg16", "--vgg", "absent.pth"], "absent.pth: no such weights"),
        (["--style-scales", 0.5], "too small for fire7"),
        (["--device", "abacus"], "abacus"),
        (["--precision", "8"], "--precision"),
    ],
)
def test_wrong_usage(st_train: Invoke, words: list[object], problem: str) -> None:
    assert problem in one_line(st_train("cin", *words), 2)
    assert list(Path().glob("*.pt")) == []


def test_unusable_files_are_refused(st_train: Invoke, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert "no pictures" in one_line(st_train("cin", "--content", "photos"), 2)
    (tmp_path / "photos" / "broken.jpg").write_text("no picture")
    assert "broken.jpg" in one_line(st_train("cin", "--style", "photos/broken.jpg"), 2)
    Path("model.resume.pt").write_text("no checkpoint")
    assert "not a checkpoint" in one_line(st_train("cin", "--resume"), 2)


def test_an_unknown_method_is_refused() -> None:
    result = CliRunner().invoke(main, ["gan", "--help"])
    assert result.exit_code == 2
    assert "gan" in result.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_a_missing_device_gives_one_line(st_train: Invoke) -> None:
    assert "cuda" in one_line(st_train("cin", "--device", "cuda"), 1)


def test_divergence_gives_one_line(st_train: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("st.train.loop.trainer.WARM_UP", 1)
    words = ("--learning-rate", 1e30, "--steps", 6, "--save-every", 1)
    assert "lower the learning rate" in one_line(st_train("cin", *words), 1)
    assert not Path("model.pt").exists()


def test_vgg_from_a_folder_is_refused(st_train: Invoke, tmp_path: Path) -> None:
    one_line(st_train("cin", "--loss-network", "vgg16", "--vgg", tmp_path), 1)


def test_every_setting_has_an_option() -> None:
    for method in METHODS.values():
        command = main.get_command(click.Context(main), method.name)
        assert command is not None
        names = {parameter.name for parameter in command.params}
        assert set(method.config.__dataclass_fields__) < names


def test_input_errors_are_raised_before_importing_torch(photographs: Path, tmp_path: Path) -> None:
    script = """
import sys
from click.testing import CliRunner
from st.train.command import main
for words in (["--content", "absent"], ["--style", "absent.png"], ["-o", "x.onnx"],
              ["-o", "x.pt", "--resume"], ["--begin-with", "absent.pt"], ["--config", "absent"]):
    result = CliRunner().invoke(main, ["cin", *words])
    assert result.exit_code == 2 and "absent" in result.stderr + "absent" * ("-o" in words), words
assert "torch" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_method_names_are_those_of_the_modules() -> None:
    assert method_names() == sorted(METHODS)


def test_pause_says_how_to_continue(st_train: Invoke) -> None:
    result = st_train("cin", "--pause-after", 1e-9)
    assert result.exit_code == 0, result.output
    assert "paused: model.resume.pt is saved" in result.stderr
    assert not Path("model.pt").exists()
    result = st_train("cin", "--resume", "--learning-rate", 1e-3)
    assert result.exit_code == 0, result.output
    assert "resumed with changed learning rate: 0.002 before, 0.001 now" in result.stderr
    assert Path("model.pt").exists()


def test_ctrl_c_during_the_imports_gives_one_line(photographs: Path, tmp_path: Path) -> None:
    script = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
from st.runtime.system.signals import quick_interrupt
with quick_interrupt():
    from st.train.command import main
    os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (130, "Aborted!\n")
