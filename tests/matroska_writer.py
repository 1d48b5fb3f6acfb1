"""A small Matroska writer for the tests: documents as the service sends them, and as it never would."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from streamproc.ingest import ebml

UNKNOWN_8 = b"\x01" + b"\xff" * 7


def size(n: int, width: int = 0) -> bytes:
    if not width:
        width = next(w for w in range(1, 9) if n < (1 << 7 * w) - 1)
    return (n | 1 << 7 * width).to_bytes(width, "big")


def unknown(width: int) -> bytes:
    return ((1 << 7 * width + 1) - 1).to_bytes(width, "big")


def el(id_: int, content: bytes | int | str | float = b"", width: int = 0) -> bytes:
    if isinstance(content, int):
        content = content.to_bytes(max(1, (content.bit_length() + 7) // 8), "big")
    elif isinstance(content, float):
        content = struct.pack(">d", content)
    elif isinstance(content, str):
        content = content.encode()
    return id_.to_bytes((id_.bit_length() + 7) // 8, "big") + size(len(content), width) + content


def open_el(id_: int, content: bytes, width: int = 8) -> bytes:
    return id_.to_bytes(4, "big") + unknown(width) + content


def header(doc_type: str = "matroska") -> bytes:
    inner = el(0x4286, 1) + el(0x42F7, 1) + el(0x42F2, 4) + el(0x42F3, 8) + el(0x4282, doc_type)
    return el(ebml.EBML, inner + el(0x4287, 2) + el(0x4285, 2))


def tags(pairs: Iterable[tuple[str, str]], one_per_tag: bool = False, pad: bytes = b"") -> bytes:
    simple = [
        el(ebml.SIMPLE_TAG, el(ebml.TAG_NAME, name) + el(ebml.TAG_STRING, value.encode() + pad))
        for name, value in pairs
    ]
    groups = [[s] for s in simple] if one_per_tag else [simple]
    return el(ebml.TAGS, b"".join(el(ebml.TAG, el(0x63C0) + b"".join(group)) for group in groups))


def track(
    number: int = 1,
    kind: int = 1,
    codec: str = "V_MPEG4/ISO/AVC",
    private: bytes = b"\x01\x4d",
    width: int = 640,
    height: int = 360,
    video: bytes = b"",
    more: bytes = b"",
) -> bytes:
    inside = el(ebml.TRACK_NUMBER, number) + el(ebml.TRACK_TYPE, kind) + el(ebml.CODEC_ID, codec)
    inside += el(ebml.CODEC_PRIVATE, private)
    if kind == 1:
        inside += el(ebml.VIDEO, el(ebml.PIXEL_WIDTH, width) + el(ebml.PIXEL_HEIGHT, height) + video)
    return el(ebml.TRACK_ENTRY, inside + more)


def block_body(data: bytes, ticks: int = 0, number: int = 1, flags: int = 0x80) -> bytes:
    return size(number) + struct.pack(">h", ticks) + bytes([flags]) + data


def block(data: bytes, ticks: int = 0, number: int = 1, flags: int = 0x80, width: int = 0) -> bytes:
    return el(ebml.SIMPLE_BLOCK, block_body(data, ticks, number, flags), width)


def group(data: bytes, ticks: int = 0, number: int = 1, keyframe: bool = True, flags: int = 0) -> bytes:
    inner = el(ebml.BLOCK, block_body(data, ticks, number, flags)) + el(0x9B, 33)
    return el(ebml.BLOCK_GROUP, inner + (b"" if keyframe else el(ebml.REFERENCE_BLOCK, b"\xff")))


def cluster(blocks: bytes, ticks: int = 0, sized: bool = True, width: int = 8, before: bytes = b"") -> bytes:
    inside = el(ebml.TIMESTAMP, ticks) + before + blocks
    return el(ebml.CLUSTER, inside) if sized else open_el(ebml.CLUSTER, inside, width)


def leading(number: str, producer: str = "100.000", server: str = "200.000") -> list[tuple[str, str]]:
    return [
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", number),
        ("AWS_KINESISVIDEO_SERVER_TIMESTAMP", server),
        ("AWS_KINESISVIDEO_PRODUCER_TIMESTAMP", producer),
    ]


def trailing(number: str, behind: int = 1500) -> list[tuple[str, str]]:
    return [
        ("AWS_KINESISVIDEO_MILLIS_BEHIND_NOW", str(behind)),
        ("AWS_KINESISVIDEO_CONTINUATION_TOKEN", number),
    ]


@dataclass
class Doc:
    """One fragment of the service, with everything that can be varied."""

    number: str = "9134385233"
    payloads: Sequence[bytes] = (b"k" * 40, b"p" * 21, b"q" * 30)
    start_ticks: int = 0
    step: int = 33
    sized: bool = True
    segment: bytes = UNKNOWN_8
    scale: int = 1_000_000
    producer: str = "100.000"
    server: str = "200.000"
    before: bytes = b""  # in the segment, before the service's tags
    after: bytes = b""  # between the cluster and the last tags
    tracks: bytes = field(default_factory=track)
    complete: bool = True

    def build(self) -> bytes:
        blocks = b"".join(
            block(data, i * self.step, flags=0x80 if i == 0 else 0) for i, data in enumerate(self.payloads)
        )
        return self.framed(blocks)

    def framed(self, blocks: bytes) -> bytes:
        """The document with these blocks."""
        out = header() + b"\x18\x53\x80\x67" + self.segment
        out += el(ebml.INFO, el(ebml.TIMESTAMP_SCALE, self.scale)) + el(ebml.TRACKS, self.tracks) + self.before
        out += tags(leading(self.number, self.producer, self.server))
        out += cluster(blocks, self.start_ticks, self.sized) + self.after
        return out + (tags(trailing(self.number)) if self.complete else b"")


def error_document(error_id: str = "4000", code: str = "FRAGMENT_NOT_FOUND") -> bytes:
    pairs = [("AWS_KINESISVIDEO_ERROR_CODE", code), ("AWS_KINESISVIDEO_ERROR_ID", error_id)]
    return header() + open_el(ebml.SEGMENT, tags(pairs))
