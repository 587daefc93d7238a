"""st-webcam: a camera, stream or video, painted live."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import cv2

from st.runtime.cli.base import SIZE, check_overwrite, command, for_option, option_group, say
from st.runtime.cli.control_options import PaintOptions, control_options
from st.runtime.cli.engine_options import open_stylizer, stylizer_options
from st.runtime.errors import BadInput, printable
from st.runtime.system.cpus import usable_cpus
from st.runtime.system.signals import stoppable
from st.video.live.camera import list_cameras
from st.video.live.keys import HELP
from st.video.live.recorder import check_target
from st.video.live.session import Show, play
from st.video.live.source import opener_of
from st.video.live.stream_output import check_url
from st.video.live.style_state import LiveStyle
from st.video.serve.options import check_options, serve_visitors, server_options

EXAMPLES = """
st-webcam                                     the first camera
st-webcam "Logitech" --size 1920x1080 --fps 30
st-webcam rtsp://10.0.0.7/live -s wave -s scream
st-webcam film.mp4 --loop --record painted.mp4
st-webcam --virtual-camera -o rtmp://live.example.org/app/key
st-webcam film.mp4 --headless --frames 200 --json
st-webcam --serve                             a page for this machine's browser
st-webcam --serve 0.0.0.0:8765                for phones in the same network
"""
EPILOG = "\b\nKeys in the window:\n" + "\n".join(f"  {keys:22}{what}" for keys, what in HELP)

source_options = option_group(
    "Source",
    click.option(
        "--size",
        type=SIZE,
        help="Size to request from a camera [1280x720]; videos and streams are scaled down to it.",
    ),
    click.option(
        "--fps",
        type=click.FloatRange(0.1, 1000),
        metavar="N",
        help="Frame rate to request from a camera. [default: 30]",
    ),
    click.option("--no-mjpg", is_flag=True, help="Use the camera's default format, not MJPG."),
    click.option("--loop", is_flag=True, help="Play a video in a loop."),
    click.option("--list-cameras", "list_them", is_flag=True, help="List the cameras and exit."),
    click.option(
        "--give-up",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Exit with an error when a source has been lost for this long. [default: never]",
    ),
)
speed_options = option_group(
    "Speed",
    click.option(
        "--target-fps",
        type=click.FloatRange(0.1, 240),
        metavar="N",
        help="Frame rate to sustain, by painting smaller if necessary, and never to exceed. "
        "[default: the source's, at most 30]",
    ),
)
window_options = option_group(
    "Window",
    click.option("--mirror", is_flag=True, help="Mirror the picture."),
    click.option("--full-screen", is_flag=True, help="Start in full screen."),
    click.option(
        "--folder",
        type=click.Path(path_type=Path),
        default=Path(),
        metavar="DIR",
        help="Folder where the keys s and r save. [default: the current one]",
    ),
    click.option(
        "--headless", is_flag=True, help="Open no window: for scripts, servers, -o and --record."
    ),
)
output_options = option_group(
    "Output",
    click.option(
        "--record",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Record what is shown, in real time (.mp4 .mov .mkv .webm .ts).",
    ),
    click.option(
        "-o", "--output", metavar="URL", help="Stream to rtmp://… srt://… udp://… rtsp://…"
    ),
    click.option(
        "--bitrate",
        type=click.FloatRange(0.1, 200),
        default=4.0,
        show_default=True,
        metavar="MBIT",
        help="Maximum bit rate of -o, in megabits per second.",
    ),
    click.option(
        "--virtual-camera", is_flag=True, help="Output to a virtual camera for other programs."
    ),
    click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Stop after N frames."),
    click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON."),
)


@command(name="st-webcam", examples=EXAMPLES, epilog=EPILOG, writes=True)
@click.argument("source", metavar="[SOURCE]", default="0")
@source_options
@stylizer_options
@speed_options
@window_options
@output_options
@server_options
@control_options
def main(
    source: str,
    list_them: bool,
    serve: str | None,
    paint_options: PaintOptions,
    **given: Any,
) -> None:
    """Paint a camera, a stream or a video live.

    SOURCE is a camera's number or a part of its name [0], a URL (rtsp, http, rtmp, srt, udp), or
    a video's file. Only the newest frame is painted; frames are never queued. A source
    that is lost is opened again.

    Two --style options blend two styles; keys change the blend. --threads and --target-fps limit
    the load on the machine. Ctrl-C stops and completes recordings.
    """
    if list_them:
        _list()
        return
    check_options(click.get_current_context(), serve is not None)
    paint_size, paint_options = _live_size(paint_options)
    if serve is None:
        _play(source, paint_size, paint_options, given)
    else:
        _serve(serve, paint_size, paint_options, given)


def _serve(
    serve: str, paint_size: int | None, paint_options: PaintOptions, given: Mapping[str, Any]
) -> None:
    """Serve visitors until Ctrl-C. given: the values of the options, by their names."""
    names = ("threads", "size", "target_fps", "cert", "key", "names", "max_sessions", "max_pixels")
    engine, device, threads = given["engine"], given["device"], given["threads"]
    with open_stylizer(engine, (), 1.0, device, threads, videos=True) as stylizer:
        paint_options.apply(stylizer, bool(given["styles"]))
        style = LiveStyle(stylizer, given["styles"], given["strength"], needs_style=False)
        chosen = {name: given[name] for name in names}
        chosen |= {"serve": serve, "paint_size": paint_size, "color": paint_options.color}
        serve_visitors(stylizer, style, click.echo, **chosen)


def _play(
    source: str, paint_size: int | None, paint_options: PaintOptions, given: Mapping[str, Any]
) -> None:
    """Play a source, and print a summary. given: the values of the options, by their names."""
    opener = opener_of(source, given["size"], given["fps"], not given["no_mjpg"], given["loop"])
    show = _show(source, paint_size, given)
    threads = given["threads"]
    cv2.setNumThreads(threads or usable_cpus())
    opened = open_stylizer(given["engine"], (), 1.0, given["device"], threads, videos=True)
    with opened as stylizer, stoppable() as stop:
        paint_options.apply(stylizer, bool(given["styles"]))
        style = LiveStyle(stylizer, given["styles"], given["strength"])
        summary = play(show, opener, stylizer, style, stop, say)
    if given["as_json"]:
        click.echo(json.dumps(asdict(summary)))
    else:
        rate = f"{summary.frames_per_second:.1f} frames/s"
        delay = f"delay {summary.delay_ms:.0f} ms"
        say(f"{summary.frames} frames, {rate} on {summary.device}, {delay}")


def _show(source: str, paint_size: int | None, given: Mapping[str, Any]) -> Show:
    """Raises BadInput: an output that cannot be written."""
    if given["record"] is not None:
        check_target(given["record"])
        check_overwrite(given["record"])
    if given["output"] is not None:
        with for_option("-o"):
            check_url(given["output"])
    if not given["folder"].is_dir():
        raise BadInput(f"--folder {printable(given['folder'])}: no such folder")
    same = ("target_fps", "mirror", "full_screen", "record", "virtual_camera", "folder", "frames")
    return Show(
        title=f"st-webcam: {printable(source, 80)}",
        longest=paint_size,
        window=not given["headless"],
        stream=given["output"],
        bitrate=round(given["bitrate"] * 1_000_000),
        give_up=given["give_up"],
        **{name: given[name] for name in same},
    )


def _live_size(options: PaintOptions) -> tuple[int | None, PaintOptions]:
    """(paint size, None for one that holds the frame rate; the other options)."""
    size = options.paint_size
    if size == "full":
        raise BadInput("--paint-size full: give pixels, or auto to hold the frame rate")
    return size if isinstance(size, int) else None, replace(options, paint_size=None)


def _list() -> None:
    cameras = list_cameras()
    for camera in cameras:
        click.echo(f"{camera.index}  {printable(camera.name)}".rstrip())
    if not cameras:
        click.echo("no camera is connected", err=True)
