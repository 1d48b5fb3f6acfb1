"""Fragments without a time: what a camera has to send, from a video file or made by hand."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from streamproc.model.media import Block, Track, TrackKind
from streamproc.standin import matroska
from streamproc.standin.matroska import Layout

LONGEST_FRAGMENT_S = 20.0
"""What the service accepts in one fragment (quota of PutMedia)."""

_CODEC_IDS = {"h264": "V_MPEG4/ISO/AVC", "hevc": "V_MPEGH/ISO/HEVC", "aac": "A_AAC"}


@dataclass(frozen=True)
class MediaFragment:
    """What a producer puts into one fragment.

    Attributes:
        tracks: May be empty if ``head`` is given.
        blocks: In coding order; offsets in µs from the fragment's start.
        duration_us: Until the next fragment's start.
        tags_before, tags_after: The producer's own tags on either side of the media.
        head: Info and Tracks as bytes, instead of ``tracks``.
    """

    tracks: tuple[Track, ...]
    blocks: tuple[Block, ...] = field(repr=False)
    duration_us: int
    tags_before: tuple[tuple[str, str], ...] = ()
    tags_after: tuple[tuple[str, str], ...] = ()
    head: bytes = field(default=b"", repr=False)

    @functools.cached_property
    def dues_us(self) -> tuple[int, ...]:
        """When each block reaches the service at the earliest, from the fragment's start.

        A block cannot come before its own capture, nor before the block that precedes it in coding order.
        """
        latest, dues = 0, []
        for block in self.blocks:
            latest = max(latest, block.offset_us)
            dues.append(min(latest, self.duration_us))
        return tuple(dues)

    def opening(self) -> bytes:
        """The document up to and including the producer's leading tags."""
        return matroska.opening() + (self.head or matroska.head(self.tracks)) + matroska.tags(self.tags_before)

    def wire(self, layout: Layout) -> tuple[bytes, ...]:
        """The blocks as they stand in the body; computed once, since a looped camera sends them again and again."""
        if layout.block_groups not in self._wire:
            self._wire[layout.block_groups] = tuple(matroska.block(b, layout.block_groups) for b in self.blocks)
        return self._wire[layout.block_groups]

    @functools.cached_property
    def _wire(self) -> dict[bool, tuple[bytes, ...]]:
        return {}

    @functools.cached_property
    def size(self) -> int:
        """Bytes of coded media."""
        return sum(len(block.data) for block in self.blocks)


def read_media(path: str | Path, fragment_seconds: float | None = None, audio: bool = False) -> list[MediaFragment]:
    """Fragments of a video file: a recorded GetMedia body, or H.264/H.265 in MKV, MP4, MOV or TS.

    Args:
        path: The file. It is read whole.
        fragment_seconds: Length of a fragment; None for one GOP each. A recorded body keeps its own fragments.
        audio: Keep an AAC track.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no video that can be put into a stream.
    """
    from streamproc.standin.recording import read_recording

    data = Path(path).read_bytes()
    recorded = read_recording(data)
    if recorded:
        return recorded
    return fragments_of_video(io.BytesIO(data), fragment_seconds, audio)


@dataclass(frozen=True, slots=True)
class _Sample:
    track: int
    time_us: int
    key: bool
    data: bytes


def fragments_of_video(
    source: io.BytesIO, fragment_seconds: float | None = None, audio: bool = False
) -> list[MediaFragment]:
    """Cut an ordinary video into fragments without coding it anew. Raises ValueError without usable video."""
    import av
    import av.error

    try:
        with av.open(source) as container:
            tracks, samples, frame_us = _demux(container, audio)
    except av.error.FFmpegError as error:
        raise ValueError(f"not a video that can be read ({type(error).__name__})") from error
    return list(_cut(tracks, samples, frame_us, fragment_seconds))


def _demux(container: Any, audio: bool) -> tuple[tuple[Track, ...], list[_Sample], int]:
    if not container.streams.video:
        raise ValueError("the file has no video track")
    video = container.streams.video[0]
    codec = video.codec_context.name
    if codec not in ("h264", "hevc"):
        raise ValueError(f"the video is {codec}; only H.264 and H.265 can be put into a stream")
    sound = next((s for s in container.streams.audio if s.codec_context.name == "aac"), None) if audio else None
    if bytes(video.codec_context.extradata or b"")[:1] != b"\x01":
        return _demux(_as_mp4(container, video, sound), audio)
    chosen = {video.index: 1} | ({sound.index: 2} if sound else {})
    samples, rotation = [], None
    for packet in container.demux([video, *([sound] if sound else [])]):
        if packet.pts is None or packet.size == 0:
            continue
        if rotation is None and packet.stream is video and packet.is_keyframe:
            rotation = _rotation(packet)
        time_us = round(packet.pts * packet.time_base * 1_000_000)
        samples.append(_Sample(chosen[packet.stream.index], time_us, packet.is_keyframe, bytes(packet)))
    if not any(s.track == 1 for s in samples):
        raise ValueError("the video track is empty")
    context = video.codec_context
    tracks = [
        Track(
            1,
            TrackKind.VIDEO,
            _CODEC_IDS[codec],
            bytes(context.extradata),
            context.width,
            context.height,
            rotation or 0,
        )
    ]
    if sound:
        inner = sound.codec_context
        private = bytes(inner.extradata or b"")
        tracks.append(
            Track(
                2, TrackKind.AUDIO, _CODEC_IDS["aac"], private, sampling_hz=inner.sample_rate, channels=inner.channels
            )
        )
    rate = video.average_rate or video.guessed_rate
    return tuple(tracks), samples, round(1_000_000 / rate) if rate else 33_333


def _as_mp4(container: Any, video: Any, sound: Any) -> Any:
    """The same media with length-prefixed NAL units and parameter sets in the header: FFmpeg's MP4 writer knows how."""
    import av

    copy = io.BytesIO()
    with av.open(copy, "w", format="mp4") as output:
        pairs = {s.index: output.add_stream_from_template(s) for s in (video, sound) if s}
        for packet in container.demux([s for s in (video, sound) if s]):
            if packet.pts is None or packet.dts is None:
                continue
            packet.stream = pairs[packet.stream.index]
            output.mux(packet)
    copy.seek(0)
    return av.open(copy)


def _rotation(packet: Any) -> int:
    """Degrees clockwise for display, from the first picture; FFmpeg counts counter-clockwise."""
    import av.error

    try:
        frames = packet.decode()
        frames += packet.stream.codec_context.decode(None) if not frames else []
        packet.stream.codec_context.flush_buffers()
    except (av.error.FFmpegError, EOFError):
        return 0
    return -frames[0].rotation % 360 if frames else 0


def _cut(
    tracks: tuple[Track, ...], samples: Sequence[_Sample], frame_us: int, fragment_seconds: float | None
) -> Iterator[MediaFragment]:
    target_us = (fragment_seconds or 0) * 1e6
    longest_us = min(target_us * 1.5 or LONGEST_FRAGMENT_S * 1e6, LONGEST_FRAGMENT_S * 1e6)
    groups: list[list[_Sample]] = []
    sound = sorted((s for s in samples if s.track != 1), key=lambda s: s.time_us)
    start = 0
    for sample in samples:
        if sample.track != 1:
            continue
        elapsed = sample.time_us - start
        if not groups or (sample.key and elapsed >= target_us - frame_us / 2) or elapsed >= longest_us:
            groups.append([])
            start = sample.time_us
        groups[-1].append(sample)
    # Whole milliseconds on the file's own clock, as the container has no finer: nothing drifts over fragments or loops.
    starts = [min(s.time_us for s in group) // 1000 for group in groups]
    ends = [*starts[1:], (max(s.time_us for s in groups[-1]) + frame_us) // 1000]
    for index, group in enumerate(groups):
        lower = starts[index] * 1000 if index else None
        upper = ends[index] * 1000 if index + 1 < len(groups) else None
        heard = [s for s in sound if (lower is None or s.time_us >= lower) and (upper is None or s.time_us < upper)]
        yield _fragment(tracks, group, heard, starts[index], ends[index])


def _fragment(
    tracks: tuple[Track, ...], seen: list[_Sample], heard: list[_Sample], start_ms: int, end_ms: int
) -> MediaFragment:
    reach, ordered = 0, []
    for sample in seen:  # sound goes in behind the picture that has reached its time
        reach = max(reach, sample.time_us)
        ordered.append((reach, 0, sample))
    ordered += [(s.time_us, 1, s) for s in heard]
    ordered.sort(key=lambda entry: entry[:2])
    blocks = tuple(Block(s.track, (s.time_us // 1000 - start_ms) * 1000, s.key, s.data) for _, _, s in ordered)
    return MediaFragment(tracks, blocks, max(1, end_ms - start_ms) * 1000)


def last_frame_us(blocks: Sequence[Block]) -> int:
    """A guess at the length of the last picture: the usual distance of two."""
    times = sorted(b.offset_us for b in blocks)
    gaps = sorted(b - a for a, b in pairwise(times) if b > a)
    return gaps[len(gaps) // 2] if gaps else 33_000
