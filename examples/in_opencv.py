"""An OpenCV loop: a camera or a video, painted into a window or a file.

    python examples/in_opencv.py 0                      # the first camera, in a window
    python examples/in_opencv.py film.mp4 -o out.mp4    # a video, into a video (without its sound)

OpenCV's pictures are BGR, the engine's RGB: swap the channels on the way in and out, or the colors
are wrong in a way that a strong style hides. (st-webcam and st-video do this and much more.)
"""

from __future__ import annotations

import argparse
import sys

import cv2

from st.runtime import StError, Stylizer


def main() -> None:
    parser = argparse.ArgumentParser(description="Paint a camera or a video.")
    parser.add_argument("source", help="a camera's number, or a video")
    parser.add_argument("-o", "--output", help="video to write instead of a window (.mp4)")
    parser.add_argument("--style", default="wave")
    given = parser.parse_args()

    paint = Stylizer("paintings").set_style(given.style)
    capture = cv2.VideoCapture(int(given.source) if given.source.isdigit() else given.source)
    if not capture.isOpened():
        sys.exit(f"{given.source}: cannot be opened")
    writer = None
    painted = 0
    while True:
        ok, bgr = capture.read()
        if not ok:
            break
        painting = cv2.cvtColor(paint(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)), cv2.COLOR_RGB2BGR)
        painted += 1
        if given.output:
            if writer is None:
                height, width = painting.shape[:2]
                rate = capture.get(cv2.CAP_PROP_FPS) or 25
                codec = cv2.VideoWriter.fourcc(*"mp4v")
                writer = cv2.VideoWriter(given.output, codec, rate, (width, height))
            writer.write(painting)
            continue
        try:
            cv2.imshow("st: any key ends", painting)
        except cv2.error:
            sys.exit("this OpenCV has no windows (opencv-python-headless): give -o VIDEO")
        if cv2.waitKey(1) != -1:
            break
    capture.release()
    if writer is not None:
        writer.release()
    print(f"{painted} frames painted")


if __name__ == "__main__":
    try:
        main()
    except (StError, OSError, ValueError) as error:  # the video or picture cannot be read
        sys.exit(f"Error: {error}")
