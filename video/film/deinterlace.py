"""Deinterlace videos: an engine would paint the comb artifacts of interlaced frames."""

from __future__ import annotations

from collections.abc import Iterator

from av.error import FFmpegError
from av.filter import Graph
from av.video.frame import VideoFrame


class Deinterlacer:
    """Passes frames through until the first interlaced one, and from there on through FFmpeg's
    bwdif, which returns one frame for each and leaves frames marked progressive unchanged."""

    def __init__(self) -> None:
        self.used = False
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def push(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        shape = (frame.width, frame.height, frame.format.name)
        if self._graph is not None and shape != self._shape:
            yield from self.flush()
        if self._graph is None:
            if not frame.interlaced_frame:
                yield frame
                return
            self._graph, self._shape, self.used = _graph(frame), shape, True
        self._graph.vpush(frame)
        yield from self._pull()

    def flush(self) -> Iterator[VideoFrame]:
        """Yield the last frame, which bwdif still holds."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pull()
            self._graph = None

    def _pull(self) -> Iterator[VideoFrame]:
        assert self._graph is not None
        while True:
            try:
                frame = self._graph.vpull()
            except (FFmpegError, EOFError):
                return
            # bwdif halves the time base, to allow one frame per field.
            if frame.pts is not None:
                frame.pts //= 2
            yield frame


def _graph(frame: VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    filters = [
        source,
        graph.add("bwdif", mode="send_frame", deint="interlaced"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*filters)
    graph.configure()
    return graph
