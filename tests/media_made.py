"""Small coded clips for the tests: H.264 and H.265, made by PyAV, every picture with its own number in it.

The number stands in the top rows as sixteen black or white fields, so that a published picture says which one it is.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from streamproc.model.media import Block, Fragment, FragmentEnd, FragmentStart, MediaEvent, Track, TrackKind

T0 = 1_795_095_371_123_000
BITS = 16
BAR_HEIGHT = 16
STEP_US = 40_000
CODEC_IDS = {"h264": "V_MPEG4/ISO/AVC", "hevc": "V_MPEGH/ISO/HEVC"}
_MS = Fraction(1, 1000)


@dataclass(frozen=True)
class Coded:
    """One coded picture, in order of decoding."""

    number: int
    time_us: int
    keyframe: bool
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Clip:
    codec: str
    private: bytes = field(repr=False)
    width: int
    height: int
    pictures: tuple[Coded, ...] = field(repr=False)

    @property
    def track(self) -> Track:
        return Track(1, TrackKind.VIDEO, CODEC_IDS[self.codec], self.private, self.width, self.height)


def drawn(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """I420 planes as one array: the number's fields over a texture that moves."""
    y, x = np.mgrid[0:height, 0:width]
    luma = (96 + 50 * np.sin((x + 3 * number) / 9) + 40 * np.sin((y - 2 * number) / 7)).astype(np.uint8)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        luma[:BAR_HEIGHT, left:right] = 220 if number >> bit & 1 else 30
    half = (height // 2, width // 2)
    chroma = [np.full(half, 100 + (number * 5 + 30 * i) % 60, np.uint8) for i in range(2)]
    planes = [luma.reshape(-1), *(c.reshape(-1) for c in chroma)]
    return np.concatenate(planes).reshape(height * 3 // 2, width)


def number_in(luma: NDArray[np.uint8]) -> int:
    """The number that stands in a picture."""
    width = luma.shape[1]
    fields = (luma[2 : BAR_HEIGHT - 2, b * width // BITS + 2 : (b + 1) * width // BITS - 2] for b in range(BITS))
    return sum(1 << bit for bit, place in enumerate(fields) if place.mean() > 125)


def luma_of(picture: Any) -> NDArray[np.uint8]:
    plane = picture.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


@lru_cache(maxsize=64)
def clip(
    codec: str = "h264",
    count: int = 36,
    size: tuple[int, int] = (160, 120),
    *,
    gop: int = 12,
    bframes: int = 0,
    open_gop: bool = False,
    pix_fmt: str = "yuv420p",
    annex_b: bool = False,
    first: int = 0,
    times_us: tuple[int, ...] = (),
    draw: Callable[[int, int, int], NDArray[np.uint8]] = drawn,
) -> Clip:
    """A coded clip.

    Args:
        first: Number of the first picture.
        times_us: Time of each picture since the clip's begin; else 25 a second.
        draw: Draws a picture by its number, width and height.
        annex_b: Start codes and parameters inside the pictures instead of length fields and a record.
    """
    params = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={bframes}:b-adapt=0:open-gop={int(open_gop)}"
    name = "libx265" if codec == "hevc" else "libx264"
    options = {"preset": "ultrafast", "crf": "20"}
    options["x265-params" if codec == "hevc" else "x264-params"] = params + (
        ":log-level=none:pools=1:frame-threads=1" if codec == "hevc" else ":b-pyramid=none"
    )
    buffer = io.BytesIO()
    container = av.open(buffer, "w", format="h264" if annex_b and codec == "h264" else codec if annex_b else "matroska")
    stream: Any = container.add_stream(name, rate=25, options=options)
    stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
    context = stream.codec_context
    context.time_base, context.thread_count = _MS, 1
    if pix_fmt.startswith("yuvj"):
        context.color_range = 2
    packets = []
    for i in range(count):
        frame = av.VideoFrame.from_ndarray(draw(first + i, *size), format="yuv420p")
        if pix_fmt not in ("yuv420p", "yuvj420p"):
            frame = frame.reformat(format=pix_fmt, threads=1)
        elif pix_fmt == "yuvj420p":
            frame = _as_full_range(frame)
        frame.pts, frame.time_base = i * 40, _MS
        packets += stream.encode(frame)
    packets += stream.encode(None)
    if annex_b:
        coded = [(p.pts, p.is_keyframe, bytes(p)) for p in packets]
        private = b""
        container.close()
    else:
        container.mux(packets)
        container.close()
        buffer.seek(0)
        with av.open(buffer) as source:
            private = bytes(source.streams.video[0].codec_context.extradata or b"")
            coded = [(p.pts, p.is_keyframe, bytes(p)) for p in source.demux(video=0) if p.size]
    base = min(pts for pts, _, _ in coded)
    pictures = []
    for pts, keyframe, data in coded:
        i = round((pts - base) / 40)
        pictures.append(Coded(first + i, times_us[i] if times_us else i * STEP_US, keyframe, data))
    return Clip(codec, private, *size, tuple(pictures))


def _as_full_range(frame: av.VideoFrame) -> av.VideoFrame:
    """The same numbers, told to be of the full range."""
    full = av.VideoFrame(frame.width, frame.height, "yuvj420p")
    for target, source in zip(full.planes, frame.planes, strict=True):
        rows = np.frombuffer(source, np.uint8).reshape(source.height, source.line_size)[:, : source.width]
        np.frombuffer(target, np.uint8).reshape(target.height, target.line_size)[:, : target.width] = rows
    full.color_range = 2
    return full


@dataclass(frozen=True)
class Piece:
    """A fragment and its pictures in order of decoding."""

    fragment: Fragment
    pictures: tuple[Coded, ...]
    track: Track

    @property
    def shown(self) -> list[tuple[str, int, int, int]]:
        """What must come out: (fragment, index, producer's time, number in the picture)."""
        ordered = sorted(self.pictures, key=lambda p: p.time_us)
        return [
            (self.fragment.number, i, self.fragment.producer_us + self.offset_us(p), p.number)
            for i, p in enumerate(ordered)
        ]

    def offset_us(self, picture: Coded) -> int:
        return picture.time_us - self.pictures[0].time_us

    def events(self, blocks: int | None = None, complete: bool = True) -> Iterator[MediaEvent]:
        """The fragment as it arrives; ``blocks`` of it if it is cut."""
        yield FragmentStart(self.fragment, (self.track,))
        for picture in self.pictures[:blocks]:
            yield Block(1, self.offset_us(picture), picture.keyframe, picture.data)
        yield FragmentEnd(self.fragment, complete, reason="" if complete else "truncated")


def pieces(source: Clip, cuts: Sequence[int] | None = None, first: int = 100, t0: int = T0) -> list[Piece]:
    """The clip as fragments: one for each keyframe, or cut before the blocks of these places."""
    pictures = source.pictures
    if cuts is None:
        cuts = [i for i, p in enumerate(pictures) if p.keyframe and i]
    edges = [0, *cuts, len(pictures)]
    made = []
    for number, (a, b) in enumerate(pairwise(edges)):
        start_us = t0 + pictures[a].time_us
        fragment = Fragment(str(first + number), start_us, start_us + 40_000)
        made.append(Piece(fragment, pictures[a:b], source.track))
    return made
