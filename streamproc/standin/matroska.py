"""Writes fragments in the shape of a GetMedia body: one Matroska document with an unknown-size Segment each.

::

    EBML | Segment { Info Tracks [producer Tags] Tags[FN,ST,PT]
                     Cluster{Timecode Block...} [producer Tags] Tags[MBN,TOKEN] }

Sources: RFC 8794 (EBML), RFC 9559 (Matroska); AWS, "GetMedia" API reference and "Streaming metadata".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streamproc.model.media import Block, Track, TrackKind

_UNKNOWN = b"\x01\xff\xff\xff\xff\xff\xff\xff"
_TRACK_TYPES = {TrackKind.VIDEO: 1, TrackKind.AUDIO: 2, TrackKind.OTHER: 17}


@dataclass(frozen=True, slots=True)
class Layout:
    """The ways in which real bodies differ.

    Attributes:
        sized_cluster: The Cluster says its size, as in bodies of file uploads; cameras leave it unknown.
        epoch_timecodes: Cluster timecodes are milliseconds since the epoch, not since the PutMedia session's start.
        block_groups: Blocks stand in BlockGroups instead of SimpleBlocks.
    """

    sized_cluster: bool = False
    epoch_timecodes: bool = False
    block_groups: bool = False


def size_field(size: int) -> bytes:
    """``size`` as an EBML variable-length integer, as short as it goes."""
    for length in range(1, 9):
        if size < (1 << 7 * length) - 1:
            return (size | 1 << 7 * length).to_bytes(length, "big")
    raise ValueError("an EBML element cannot be that large")


def element(element_id: int, payload: bytes) -> bytes:
    """One EBML element; ``element_id`` with its length marker, as the RFC prints it."""
    return element_id.to_bytes((element_id.bit_length() + 7) // 8, "big") + size_field(len(payload)) + payload


def _uint(element_id: int, value: int) -> bytes:
    return element(element_id, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def _text(element_id: int, value: str) -> bytes:
    return element(element_id, value.encode())


def opening() -> bytes:
    """EBML header and the start of a Segment of unknown size."""
    header = b"".join((
        _uint(0x4286, 1),  # EBMLVersion
        _uint(0x42F7, 1),
        _uint(0x42F2, 4),
        _uint(0x42F3, 8),
        _text(0x4282, "matroska"),
        _uint(0x4287, 2),
        _uint(0x4285, 2),
    ))  # fmt: skip
    return element(0x1A45DFA3, header) + b"\x18\x53\x80\x67" + _UNKNOWN


def head(tracks: Sequence[Track]) -> bytes:
    """Info and Tracks."""
    info = _uint(0x2AD7B1, 1_000_000) + _text(0x4D80, "streamproc.standin") + _text(0x5741, "streamproc.standin")
    return element(0x1549A966, info) + element(0x1654AE6B, b"".join(_track(track) for track in tracks))


def _track(track: Track) -> bytes:
    entry = [
        _uint(0xD7, track.number),
        _uint(0x73C5, track.number),
        _uint(0x83, _TRACK_TYPES[track.kind]),
        _text(0x86, track.codec_id),
    ]
    if track.codec_private:
        entry.append(element(0x63A2, track.codec_private))
    if track.kind is TrackKind.VIDEO:
        video = _uint(0xB0, track.width) + _uint(0xBA, track.height)
        if track.rotation:
            # ProjectionPoseRoll turns counter-clockwise and lies in [-180, 180].
            roll = -track.rotation if track.rotation <= 180 else 360 - track.rotation
            video += element(0x7670, _uint(0x7671, 0) + element(0x7675, struct.pack(">d", float(roll))))
        entry.append(element(0xE0, video))
    if track.kind is TrackKind.AUDIO:
        audio = element(0xB5, struct.pack(">d", float(track.sampling_hz))) + _uint(0x9F, track.channels)
        entry.append(element(0xE1, audio))
    return element(0xAE, b"".join(entry))


def tags(pairs: Iterable[tuple[str, str]]) -> bytes:
    """One Tags element with one Tag that holds all pairs; nothing for no pairs."""
    simple = b"".join(element(0x67C8, _text(0x45A3, name) + _text(0x4487, value)) for name, value in pairs)
    return element(0x1254C367, element(0x7373, simple)) if simple else b""


def block(item: Block, grouped: bool = False) -> bytes:
    """A SimpleBlock, or a BlockGroup. Raises ValueError beyond the 16 bits that a block has for its time in ms."""
    offset_ms = item.offset_us // 1000
    if not -32768 <= offset_ms < 32768:
        raise ValueError("a block lies more than 32.767 s from its Cluster's start")
    prefix = size_field(item.track) + struct.pack(">h", offset_ms)
    if not grouped:
        return element(0xA3, prefix + (b"\x80" if item.keyframe else b"\x00") + item.data)
    group = element(0xA1, prefix + b"\x00" + item.data)
    if not item.keyframe:
        group += element(0xFB, b"\xff")  # ReferenceBlock: what makes it no keyframe is that it refers to another
    return element(0xA0, group)


def cluster_opening(timecode_ms: int, blocks_size: int | None) -> bytes:
    """The Cluster's header and Timecode; ``blocks_size`` None leaves its size unknown."""
    timecode = _uint(0xE7, timecode_ms)
    size = _UNKNOWN if blocks_size is None else size_field(len(timecode) + blocks_size)
    return b"\x1f\x43\xb6\x75" + size + timecode


def leading_tags(number: int, server_us: int, producer_us: int) -> bytes:
    """The tags that the service puts before the Cluster."""
    return tags((
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", str(number)),
        ("AWS_KINESISVIDEO_SERVER_TIMESTAMP", seconds(server_us)),
        ("AWS_KINESISVIDEO_PRODUCER_TIMESTAMP", seconds(producer_us)),
    ))  # fmt: skip


def trailing_tags(number: int, behind_now_ms: int) -> bytes:
    """The tags that the service puts after the Cluster."""
    return tags((
        ("AWS_KINESISVIDEO_MILLIS_BEHIND_NOW", str(behind_now_ms)),
        ("AWS_KINESISVIDEO_CONTINUATION_TOKEN", str(number)),
    ))  # fmt: skip


def error_segment(error_id: int, code: str) -> bytes:
    """A document that tells of an error inside a 200 answer: no Cluster, no timestamps."""
    pairs = (("AWS_KINESISVIDEO_ERROR_CODE", code), ("AWS_KINESISVIDEO_ERROR_ID", str(error_id)))
    return opening() + tags(pairs)


def seconds(us: int) -> str:
    """Microseconds as the service writes times: seconds with three decimals."""
    return f"{us // 1_000_000}.{us // 1000 % 1000:03d}"
