"""A video for the people who judge: the original on the left, the redacted picture on the right.

It shows what must not be seen, so it is no segment and nothing publishes it; only a command that was asked for it by
name writes it.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streamproc.encode.pyav import TICKS_PER_S, ticks
from streamproc.errors import ConfigurationError
from streamproc.model.frame import Picture

_WIDEST = 3840  # of both together; larger ones play nowhere
_TIME_BASE = Fraction(1, TICKS_PER_S)
_GREY = 128

Plane = NDArray[np.uint8]


class Preview:
    """An MP4 file that is written, for a ``with`` statement. It is whole only once that is left without an error.

    Args:
        fps: Frames per second on average; the times of the frames are kept all the same.

    Raises:
        ConfigurationError: The file cannot be written.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self._fps = Fraction(fps).limit_denominator(1001)
        self._stream: VideoStream | None = None
        self._both: VideoFrame | None = None
        self._last = -1
        try:
            # Opened here, so that a name can never be taken for a network address.
            self._file = path.open("wb")
        except OSError as error:
            raise self._cannot(error) from None
        self._container = av.open(self._file, "w", format="mp4", options={"movflags": "faststart"})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._stream is not None and error is None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
            self._file.close()
            if self._stream is None and self.path.is_file():
                self.path.unlink()  # not one frame came
        except OSError as unwritten:
            if error is None:
                raise self._cannot(unwritten) from None

    def original(self, picture: Picture) -> None:
        """The left half of the next frame; it is copied. :meth:`redacted` must follow."""
        # An odd last row or column is left out.
        width, height = picture.width // 2 * 2, picture.height // 2 * 2
        self._both = VideoFrame(2 * width, height, picture.format.name)
        self._both.color_range, self._both.colorspace = picture.color_range, picture.colorspace
        self._fill(picture, right=False)

    def redacted(self, picture: Picture | None, time_us: int) -> None:
        """The right half, and the frame is written.

        Args:
            picture: Of the same size as the original; None for grey.
            time_us: Since the first frame.
        """
        self._fill(picture, right=True)
        both, self._both = self._both, None
        assert both is not None
        if both.width > _WIDEST:
            height = round(both.height * _WIDEST / both.width / 2) * 2
            both = both.reformat(width=_WIDEST, height=height, threads=1)
        if self._stream is None:
            self._stream = self._open_stream(both)
        self._last = max(ticks(time_us), self._last + 1)
        both.pts, both.time_base = self._last, _TIME_BASE
        try:
            self._container.mux(self._stream.encode(both))
        except OSError as error:
            raise self._cannot(error) from None

    def _fill(self, picture: Picture | None, right: bool) -> None:
        assert self._both is not None, "original() comes first"
        for index, plane in enumerate(self._both.planes):
            rows = _rows(plane)
            wide = plane.width // 2
            half = rows[:, wide : 2 * wide] if right else rows[:, :wide]
            half[...] = _GREY if picture is None else _rows(picture.planes[index])[: plane.height, :wide]

    def _open_stream(self, first: VideoFrame) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=self._fps, options={"preset": "veryfast"})
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = first.width, first.height, first.format.name
        context.color_range, context.colorspace = first.color_range, first.colorspace
        context.time_base, context.thread_count = _TIME_BASE, 1
        return stream

    def _cannot(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"--preview {self.path}: cannot be written ({error.strerror or type(error).__name__}); name another file"
        )


def _rows(plane: Any) -> Plane:
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
