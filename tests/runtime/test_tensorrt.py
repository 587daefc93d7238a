"""TensorRT engines: on a recorded fake of TensorRT, PyCUDA and the driver (fake_tensorrt.py), on
the real libraries up to where a driver is needed, and on a GPU where there is one."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner

from st.runtime import BadControl, BadEngine, MissingExtra, StError, Stylizer, Unavailable
from st.runtime.backends import tensorrt as backend
from st.runtime.backends import tensorrt_requirements
from st.runtime.backends.gpu import Gpu
from st.runtime.backends.tensorrt_cache import cache_file
from st.runtime.backends.tensorrt_library import load_cuda_driver, load_tensorrt
from st.runtime.cli.engines import main as engines
from st.runtime.cli.image import main as image
from st.runtime.engine.onnx_file import read_engine
from st.runtime.engine.trt_file import Build, read_trt, write_trt
from st.video.command import main as video
from tests.support import toys
from tests.support.fake_cuda_bindings import fake_bindings
from tests.support.fake_tensorrt import Machine

SIZES = ((16, 16), (64, 64), (256, 256))


def make_trt(onnx: Path, flavor: str = "tensorrt", data: bytes = b"", **changes: Any) -> Path:
    """Wrap an .onnx file as a .trt with its description; the fake runs the .onnx."""
    model, metadata = read_engine(onnx)
    data = data or model
    build = Build(
        flavor,  # pyright: ignore[reportArgumentType]
        "11.4.0.106",
        (89,),
        False,
        "any",
        SIZES,
        len(data),
        hashlib.sha256(data).hexdigest(),
    )
    path = onnx.with_suffix(".trt")
    metadata = replace(metadata, sizes=(SIZES[0], SIZES[2]))
    write_trt(path, data, metadata, replace(build, **changes))
    return path


def install(monkeypatch: pytest.MonkeyPatch, machine: Machine, *libraries: str) -> None:
    """Install these libraries for the CUDA driver on the fake machine."""
    fakes = {"cuda.bindings.driver": fake_bindings(machine), "pycuda.driver": machine.cuda}
    for module, fake in fakes.items():
        monkeypatch.setitem(sys.modules, module, fake if module in libraries else None)


@pytest.fixture(params=["cuda.bindings.driver", "pycuda.driver"])
def machine(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Machine:
    """A fake RTX 4090, with each library for the CUDA driver in turn."""
    made = Machine()
    install(monkeypatch, made, request.param)
    monkeypatch.setattr(backend, "load_tensorrt", lambda flavor: made.trt)
    monkeypatch.setattr(tensorrt_requirements, "find_gpu", lambda: Gpu("Fake RTX 4090", 89, 13000))
    monkeypatch.setattr(backend, "_driver", lambda: made.driver)
    monkeypatch.setenv("ST_CACHE", str(tmp_path / "cache"))
    return made


def picture(height: int = 32, width: int = 48, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("flavor", ["tensorrt", "tensorrt-rtx"])
def test_tensorrt_paints_what_onnx_runtime_paints(
    machine: Machine, tmp_path: Path, flavor: str
) -> None:
    onnx = toys.tint_engine(tmp_path / "tint.onnx")
    with Stylizer(make_trt(onnx, flavor)) as fast, Stylizer(onnx, device="cpu") as plain:
        assert fast.device == "tensorrt"
        for seed, size in enumerate([(32, 48), (31, 17), (200, 100), (5, 9), (32, 48), (32, 48)]):
            frame = picture(*size, seed)
            fast.set_style({"negative": 0.7, "black": 0.3})
            plain.set_style({"negative": 0.7, "black": 0.3})
            assert np.array_equal(fast(frame), plain(frame))


def test_style_pictures_use_the_trt_encoder_companion(machine: Machine, tmp_path: Path) -> None:
    onnx = toys.code_engine(tmp_path / "any.onnx")
    make_trt(tmp_path / "any.encoder.onnx")
    with Stylizer(make_trt(onnx)) as fast, Stylizer(onnx, device="cpu") as plain:
        style = picture(40, 40, 9)
        frame = picture()
        assert np.array_equal(fast.set_style(style)(frame), plain.set_style(style)(frame))


def test_a_run_copies_computes_copies_and_synchronizes_once(
    machine: Machine, tmp_path: Path
) -> None:
    paint = Stylizer(make_trt(toys.tint_engine(tmp_path / "tint.onnx")))
    paint(picture())
    steps = machine.told("htod", "execute", "dtoh", "synchronize")
    assert [step[0] for step in steps] == ["htod", "htod", "execute", "dtoh", "synchronize"]
    assert sorted(step[1] for step in steps[:2]) == [8, 32 * 48 * 3]  # weights, bytes of a picture
    assert steps[3][1] == 32 * 48 * 3
    assert len({step[-1] for step in steps}) == 1  # one stream
    order = [call[0] for call in machine.calls]
    assert order.index("set_input_shape") < order.index("set_tensor_address")
    assert order.index("set_tensor_address") < order.index("execute")


def test_device_memory_is_reused_and_only_grows(machine: Machine, tmp_path: Path) -> None:
    paint = Stylizer(make_trt(toys.identity_engine(tmp_path / "same.onnx")))
    paint(picture(100, 100))
    made = len(machine.told("mem_alloc", "pagelocked_empty"))
    paint(picture(32, 48))
    paint(picture(100, 99))
    assert len(machine.told("mem_alloc", "pagelocked_empty")) == made
    paint(picture(101, 100))
    assert len(machine.told("mem_alloc", "pagelocked_empty")) == 2 * made
    assert len(machine.memory) == 2  # the smaller ones are freed
    paint.close()
    assert not machine.memory
    paint.close()


def test_a_result_is_not_overwritten_by_the_next(machine: Machine, tmp_path: Path) -> None:
    paint = Stylizer(make_trt(toys.identity_engine(tmp_path / "same.onnx")))
    frames = [picture(seed=seed) for seed in range(6)]
    results = [paint(frame) for frame in frames]
    for frame, result in zip(frames, results, strict=True):
        assert np.array_equal(frame, result)


def test_a_repeated_size_is_captured_as_a_cuda_graph(machine: Machine, tmp_path: Path) -> None:
    paint = Stylizer(make_trt(toys.tint_engine(tmp_path / "tint.onnx"))).set_style("negative")
    for seed in range(6):
        frame = picture(seed=seed)
        assert np.array_equal(paint(frame), 255 - frame)
    assert len(machine.told("begin capture")) == len(machine.told("end capture")) == 1
    assert len(machine.told("launch")) == 4  # the third captures and launches
    assert len(machine.told("execute")) == 3  # two alone, one captured
    assert np.array_equal(paint(picture(64, 64, 1)), 255 - picture(64, 64, 1))
    assert len(machine.told("destroy")) == 2  # a graph is of one size
    for seed in range(4):
        frame = picture(64, 64, seed)
        assert np.array_equal(paint(frame), 255 - frame)
    assert len(machine.told("begin capture")) == 2
    paint.close()
    assert len(machine.told("destroy")) == 4


def test_a_failed_graph_capture_falls_back_to_launches(machine: Machine, tmp_path: Path) -> None:
    machine.refuses_capture = True
    paint = Stylizer(make_trt(toys.identity_engine(tmp_path / "same.onnx")))
    for seed in range(6):
        assert np.array_equal(paint(picture(seed=seed)), picture(seed=seed))
    assert len(machine.told("begin capture")) == 1  # and is not tried again
    assert len(machine.told("execute")) == 6


def test_tensorrt_rtx_captures_by_itself(machine: Machine, tmp_path: Path) -> None:
    path = make_trt(toys.identity_engine(tmp_path / "same.onnx"), "tensorrt-rtx")
    paint = Stylizer(path)
    for seed in range(5):
        paint(picture(seed=seed))
    assert not machine.told("begin capture")
    ((_, config),) = machine.told("context")
    assert config.cuda_graph_strategy == "whole graph"


def test_two_runs_overlap_and_others_wait(machine: Machine, tmp_path: Path) -> None:
    """The barrier opens only for two: both slots compute at the same time."""
    machine.together = threading.Barrier(2)
    paint = Stylizer(make_trt(toys.identity_engine(tmp_path / "same.onnx")))
    frames = [picture(seed=seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(paint, frames))
    for frame, result in zip(frames, results, strict=True):
        assert np.array_equal(frame, result)
    assert machine.max_running == 2
    assert len(machine.told("context")) == len(machine.told("Stream")) == 2


def test_one_thread_needs_one_slot(machine: Machine, tmp_path: Path) -> None:
    paint = Stylizer(make_trt(toys.identity_engine(tmp_path / "same.onnx")))
    for seed in range(3):
        paint(picture(seed=seed))
    assert len(machine.told("context")) == 1


def test_closing_waits_for_running_calls_and_refuses_waiting_ones(
    machine: Machine, tmp_path: Path
) -> None:
    machine.together = threading.Barrier(3)  # two slots, and this test
    paint = Stylizer(make_trt(toys.identity_engine(tmp_path / "same.onnx")))
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(paint, picture(seed=seed)) for seed in range(3)]
        while machine.running < 2:
            threading.Event().wait(0.005)
        threading.Event().wait(0.3)  # until the third waits for a slot: nothing shows that
        closing = pool.submit(paint.close)
        threading.Event().wait(0.05)
        assert not closing.done()
        machine.together.wait(timeout=30)
        closing.result(timeout=30)
        outcomes = [future.exception(timeout=30) for future in running]
    assert sum(outcome is None for outcome in outcomes) == 2
    assert sum("closed" in str(outcome) for outcome in outcomes if outcome) == 1
    assert not machine.memory
    with pytest.raises(StError, match="closed"):
        paint(picture())


def test_the_runtime_cache_is_kept_between_runs(machine: Machine, tmp_path: Path) -> None:
    path = make_trt(toys.identity_engine(tmp_path / "same.onnx"), "tensorrt-rtx")
    kept = cache_file(read_trt(path)[2])
    assert read_trt(path)[2].sha256[:32] in kept.name
    assert "11.4.0.106" in kept.name
    assert kept.parent == tmp_path / "cache"
    paint = Stylizer(path)
    assert not machine.told("cache.deserialize")
    paint(picture())
    assert kept.read_bytes() == b"kernels"  # at once: a killed program has it, too
    before = kept.stat().st_mtime_ns
    paint(picture(seed=1))
    paint.close()
    assert kept.stat().st_mtime_ns == before
    with Stylizer(path):
        assert machine.told("cache.deserialize") == [("cache.deserialize", b"kernels")]
    kept.write_bytes(b"of another driver")
    with Stylizer(path) as paint:
        paint(picture())
    assert kept.read_bytes() == b"kernels"
    assert [f.name for f in kept.parent.iterdir()] == [kept.name]  # no partial files


def test_tensorrt_needs_no_runtime_cache(machine: Machine, tmp_path: Path) -> None:
    with Stylizer(make_trt(toys.identity_engine(tmp_path / "same.onnx"))) as paint:
        paint(picture())
    assert not list((tmp_path / "cache").glob("*"))


def test_an_unwritable_runtime_cache_is_not_an_error(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ST_CACHE", str(tmp_path / "file" / "cache"))
    path = make_trt(toys.identity_engine(tmp_path / "same.onnx"), "tensorrt-rtx")
    with Stylizer(path) as paint:
        assert np.array_equal(paint(picture()), picture())


HERE = f"{platform.system().lower()}-{platform.machine().lower()}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "11.3.0.99"}, r"is for TensorRT 11\.3\.0\.99, not 11\.4\.0\.106: export"),
        ({"capabilities": (86, 120)}, r"8\.6, 12\.0; Fake RTX 4090 has 8\.9: export it for"),
        ({"capabilities": (90,), "later": True}, r"capability 9\.0 and later; Fake"),
        ({"platform": "windows-amd64"}, rf"is for windows-amd64, not {HERE}"),
    ],
)
def test_incompatible_engines_are_refused_before_tensorrt_reads_them(
    machine: Machine, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = make_trt(toys.identity_engine(tmp_path / "same.onnx"), **changes)
    with pytest.raises(Unavailable, match=message):
        Stylizer(path)
    assert not machine.calls


def test_compatible_engines_are_accepted(machine: Machine, tmp_path: Path) -> None:
    onnx = toys.identity_engine(tmp_path / "same.onnx")
    for changes in (
        {"version": "11.4.0.107"},
        {"capabilities": (80,), "later": True},
        {"platform": HERE},
    ):
        Stylizer(make_trt(onnx, **changes)).close()


def test_an_engine_that_tensorrt_rejects_gives_one_line(machine: Machine, tmp_path: Path) -> None:
    onnx = toys.identity_engine(tmp_path / "same.onnx")
    with pytest.raises(Unavailable, match="does not load it: Magic tag does not match"):
        Stylizer(make_trt(onnx, data=b"damaged beyond its hash"))


def test_a_size_outside_the_profile_is_refused_by_name(machine: Machine, tmp_path: Path) -> None:
    opened = backend.TensorRtBackend(make_trt(toys.identity_engine(tmp_path / "same.onnx")))
    content = np.zeros((1, 512, 64, 3), np.uint8)
    with pytest.raises(BadEngine, match="built for content of 16×16 to 256×256, not 64×512"):
        opened.run({"content": content}, ["stylized"])
    assert not machine.told("execute")


def test_failures_of_a_run_leave_the_engine_usable(machine: Machine, tmp_path: Path) -> None:
    paint = Stylizer(make_trt(toys.identity_engine(tmp_path / "same.onnx")))
    machine.out_of_memory = True
    with pytest.raises(StError, match="out of GPU memory"):
        paint(picture())
    machine.out_of_memory = False
    machine.refuses_to_run = True
    with pytest.raises(StError, match="failed on this picture: the fake refuses to run"):
        paint(picture())
    machine.refuses_to_run = False
    for seed in range(5):
        assert np.array_equal(paint(picture(seed=seed)), picture(seed=seed))
    assert len(machine.told("context")) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_gets_a_clear_error(machine: Machine, tmp_path: Path) -> None:
    paint = Stylizer(make_trt(toys.identity_engine(tmp_path / "same.onnx")))
    paint(picture())
    child = os.fork()
    if child == 0:
        try:
            paint(picture())
        except StError as error:
            os._exit(0 if "fork" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_devices_must_match_the_suffix(tmp_path: Path) -> None:
    onnx = toys.identity_engine(tmp_path / "same.onnx")
    path = make_trt(onnx)
    with pytest.raises(BadControl, match=r"\.trt engines run on tensorrt, not on cpu"):
        Stylizer(path, device="cpu")
    with pytest.raises(BadControl, match=r"\.onnx engines run on cpu, .* not on tensorrt"):
        Stylizer(onnx, device="tensorrt")


def test_without_a_library_for_the_driver_both_extras_are_named(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, machine)
    both = r"pip install 'painterly\[cuda-python\]' or 'painterly\[pycuda\]'"
    with pytest.raises(MissingExtra, match=both):
        Stylizer(make_trt(toys.identity_engine(tmp_path / "same.onnx")))


def test_cuda_python_is_preferred(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, machine, "cuda.bindings.driver", "pycuda.driver")
    assert load_cuda_driver().name == "cuda-python"


@pytest.mark.parametrize(
    "function", ["cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent"]
)
def test_a_driver_failure_at_startup_gives_one_line(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    install(monkeypatch, machine, "cuda.bindings.driver")
    machine.fails[function] = "CUDA_ERROR_NO_DEVICE"
    path = make_trt(toys.identity_engine(tmp_path / "same.onnx"))
    with pytest.raises(Unavailable, match=f"{function} failed: CUDA_ERROR_NO_DEVICE") as caught:
        Stylizer(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "function",
    [
        "cuCtxPushCurrent",
        "cuStreamCreate",
        "cuMemAlloc",
        "cuMemHostAlloc",
        "cuMemcpyHtoDAsync",
        "cuMemcpyDtoHAsync",
        "cuStreamSynchronize",
    ],
)
def test_a_driver_failure_in_a_run_gives_one_line(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    install(monkeypatch, machine, "cuda.bindings.driver")
    paint = Stylizer(make_trt(toys.identity_engine(tmp_path / "same.onnx")))
    machine.fails[function] = "CUDA_ERROR_ILLEGAL_ADDRESS"
    with pytest.raises(
        StError, match=f"on this picture: {function} failed: CUDA_ERROR_ILLEGAL_ADDRESS$"
    ):
        paint(picture())
    machine.fails.clear()
    assert np.array_equal(paint(picture()), picture())


def test_cuda_python_frees_everything(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, machine, "cuda.bindings.driver")
    paint = Stylizer(make_trt(toys.identity_engine(tmp_path / "same.onnx")))
    paint(picture())
    paint(picture(100, 100))
    paint.close()
    assert not machine.memory
    assert len(machine.told("free pinned")) == len(machine.told("pagelocked_empty")) == 4
    assert len(machine.told("stream freed")) == 1
    assert machine.calls[-1] == ("detach",)


def test_commands_play_trt_engines(machine: Machine, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(picture(40, 60)).save(tmp_path / "in.png")
    path = make_trt(toys.tint_engine(tmp_path / "tint.onnx"))
    arguments = [str(tmp_path / "in.png"), "--engine", str(path), "-o", str(tmp_path / "out.png")]
    done = CliRunner().invoke(image, arguments)
    assert done.exit_code == 0, done.output
    painted = np.asarray(Image.open(tmp_path / "out.png").convert("RGB"))
    assert np.array_equal(painted, 255 - picture(40, 60))
    assert machine.told("execute")


def test_videos_are_painted_with_trt_engines(machine: Machine, tmp_path: Path) -> None:
    film = tmp_path / "in.mkv"
    with av.open(str(film), "w") as target:
        stream = target.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 64, 48
        for seed in range(6):
            frame = av.VideoFrame.from_ndarray(picture(48, 64, seed), format="rgb24")
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    path = make_trt(toys.tint_engine(tmp_path / "tint.onnx"))
    made = tmp_path / "out.mkv"
    done = CliRunner().invoke(video, [str(film), "--engine", str(path), "-o", str(made)])
    assert done.exit_code == 0, done.output
    with av.open(str(made)) as source:
        assert sum(1 for _ in source.decode(video=0)) == 6
    assert len(machine.told("execute", "launch")) >= 6


def has_gpu() -> bool:
    from st.runtime.backends.gpu import find_gpu

    try:
        find_gpu()
    except Unavailable:
        return False
    return True


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_without_a_gpu_one_line_says_so(tmp_path: Path) -> None:
    """The real library, up to the point where it needs a driver."""
    try:
        version = load_tensorrt("tensorrt-rtx").__version__
    except StError as error:
        pytest.skip(str(error))
    onnx = toys.identity_engine(tmp_path / "same.onnx")
    path = make_trt(onnx, "tensorrt-rtx", version=version)
    with pytest.raises(Unavailable, match=r"NVIDIA driver|GPU") as raised:
        Stylizer(path)
    assert "\n" not in str(raised.value)
    done = CliRunner().invoke(engines, ["check", str(path)])
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    assert "an NVIDIA driver" in done.output


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_onnx_runtimes_provider_without_a_driver_gives_one_line(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_ep_nv_tensorrt_rtx", reason="needs the extra tensorrt-rtx")
    with pytest.raises(Unavailable, match="NVIDIA driver") as raised:
        Stylizer(toys.identity_engine(tmp_path / "same.onnx"), device="rtx")
    assert "\n" not in str(raised.value)


def test_onnx_runtimes_provider_without_its_wheel_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", None)
    with pytest.raises(MissingExtra, match=r"pip install 'painterly\[tensorrt-rtx\]'"):
        Stylizer(toys.identity_engine(tmp_path / "same.onnx"), device="rtx")


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_a_real_library_refuses_a_real_engine_without_a_driver(tmp_path: Path) -> None:
    """Deserializing fails cleanly, without a crash or a bare CUDA error number."""
    try:
        trt = load_tensorrt("tensorrt-rtx")
    except StError as error:
        pytest.skip(str(error))
    log = backend._logger(trt)
    assert trt.Runtime(log).deserialize_cuda_engine(b"no engine at all" * 100) is None
    assert log.last() != "no error message"
    assert "\n" not in log.last()


gpu = pytest.mark.skipif(not has_gpu(), reason="needs an NVIDIA GPU")


def build_here(onnx: Path, flavor: str) -> Path:
    """A real engine, built by this machine's library for its GPU."""
    from st.runtime.backends.gpu import find_gpu

    trt: Any = load_tensorrt(flavor)  # pyright: ignore[reportArgumentType]
    log = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    assert parser.parse(onnx.read_bytes()), [parser.get_error(i) for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("content", *((1, *size, 3) for size in SIZES))
    config.add_optimization_profile(profile)
    data = bytes(builder.build_serialized_network(network, config))
    capability = find_gpu().capability
    return make_trt(onnx, flavor, data, version=trt.__version__, capabilities=(capability,))


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("flavor", ["tensorrt", "tensorrt-rtx"])
def test_on_a_gpu_tensorrt_paints_what_onnx_runtime_paints(
    tmp_path: Path, flavor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New sizes, graphs, two threads and a second start on a real GPU."""
    monkeypatch.setenv("ST_CACHE", str(tmp_path / "cache"))
    onnx = toys.tint_engine(tmp_path / "tint.onnx")
    path = build_here(onnx, flavor)
    frames = [picture(h, w, i) for i, (h, w) in enumerate([(32, 48)] * 6 + [(200, 90)] * 6)]
    with Stylizer(onnx, device="cpu") as plain:
        wanted = [plain(frame).astype(int) for frame in frames]
    for _ in range(2):
        with Stylizer(path) as paint, ThreadPoolExecutor(4) as pool:
            for made, want in zip(map(paint, frames), wanted, strict=True):
                assert np.abs(made - want).max() <= 1
            for made, want in zip(pool.map(paint, frames), wanted, strict=True):
                assert np.abs(made - want).max() <= 1
    if flavor == "tensorrt-rtx":
        assert cache_file(read_trt(path)[2]).exists()


@gpu
@pytest.mark.gpu
def test_on_a_gpu_the_provider_of_onnx_runtime_paints_the_same(tmp_path: Path) -> None:
    onnx = toys.tint_engine(tmp_path / "tint.onnx")
    with Stylizer(onnx, device="rtx") as fast, Stylizer(onnx, device="cpu") as plain:
        assert fast.device == "rtx"
        assert np.abs(fast(picture()).astype(int) - plain(picture())).max() <= 1
