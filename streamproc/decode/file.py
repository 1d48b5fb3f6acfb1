"""Frames of a video file, in order of presentation, decoded once and one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamproc.errors import ConfigurationError
from streamproc.model.frame import Frame, FrameId
from streamproc.model.media import Fragment

_PLANAR = ("yuv420p", "yuvj420p")
_US = 1_000_000
_USUAL_FPS = 25.0


class VideoFile:
    """A video file that is open, for a ``with`` statement.

    Args:
        max_pixels: Larger pictures (width times height) are refused.

    Raises:
        ConfigurationError: The file cannot be read, or holds no video that can be decoded.
    """

    def __init__(self, path: Path, max_pixels: int) -> None:
        self.path = path
        self._max_pixels = max_pixels
        try:
            # Opened here, so that a name can never be taken for a network address or a protocol of FFmpeg's.
            self._file = path.open("rb")
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read ({error.strerror}); name a video file") from None
        try:
            self._container: InputContainer = av.open(self._file, "r")
            self._stream: VideoStream = self._container.streams.video[0]
        except (av.error.FFmpegError, ValueError, IndexError, EOFError) as error:
            self._file.close()
            why = "holds no video" if isinstance(error, IndexError) else "is no video file that can be read"
            raise ConfigurationError(
                f"{path}: {why}; name a file with H.264 or H.265 video (MP4, Matroska, ...)"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()
        self._file.close()

    @property
    def fps(self) -> float:
        """Frames per second on average, as the container says; 25 where it does not."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else _USUAL_FPS

    @property
    def expected(self) -> int:
        """About how many frames there are, for telling progress; 0 if nobody knows."""
        if self._stream.frames:
            return self._stream.frames
        duration_us = self._container.duration  # in units of 1/av.time_base, which is a microsecond
        return round(duration_us / _US * self.fps) if duration_us else 0

    def frames(self) -> Iterator[Frame]:
        """Every frame; its time counts from the first. To be called once.

        Raises:
            ConfigurationError: Nothing can be decoded, the size changes on the way, or it is over ``max_pixels``.
        """
        nothing = Fragment("", 0)
        index, first_us, size, doubt = 0, 0, (0, 0), False
        for picture, broken in self._pictures():
            doubt = (doubt or broken or picture.is_corrupt) and not (picture.key_frame and not picture.is_corrupt)
            time_us = self._time_us(picture, index)
            if index == 0:
                first_us, size = time_us, (picture.width, picture.height)
                self._check_size(*size)
            if size != (picture.width, picture.height):
                raise ConfigurationError(
                    f"{self.path}: frame {index} is {picture.width}x{picture.height} and those before it are "
                    f"{size[0]}x{size[1]}; cut the file there"
                )
            rotation = round(-picture.rotation / 90) * 90 % 360
            if picture.format.name not in _PLANAR:
                picture = picture.reformat(format="yuv420p", threads=1)
            yield Frame(FrameId(nothing, index, time_us - first_us), picture, *size, rotation, doubt)
            index += 1
        if index == 0:
            raise ConfigurationError(f"{self.path}: no frame of it can be decoded; is the file complete?")

    def _pictures(self) -> Iterator[tuple[VideoFrame, bool]]:
        """Each picture, and whether packets before it could not be decoded."""
        broken = False
        try:
            for packet in self._container.demux(self._stream):
                try:
                    pictures = packet.decode()
                except (av.error.FFmpegError, ValueError):
                    broken = True
                    continue
                for picture in pictures:
                    yield picture, broken
                    broken = False
        except (av.error.FFmpegError, EOFError):
            return  # the file is cut off here

    def _time_us(self, picture: VideoFrame, index: int) -> int:
        if picture.pts is None or picture.time_base is None:
            return round(index * _US / self.fps)
        return round(picture.pts * picture.time_base * _US)

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise ConfigurationError(
                f"{self.path}: its picture of {width}x{height} is over limits.max_pixels = {self._max_pixels}; "
                "raise that setting"
            )
