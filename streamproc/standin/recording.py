"""Reads a recorded GetMedia body back into fragments, to be sent again under fresh numbers and times."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from streamproc.model.media import Block
from streamproc.standin.media import MediaFragment, last_frame_us

_EBML, _SEGMENT, _CLUSTER, _TAGS = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0x1254C367
_INFO, _TRACKS, _TIMECODE, _SIMPLE, _GROUP, _BLOCK = 0x1549A966, 0x1654AE6B, 0xE7, 0xA3, 0xA0, 0xA1
_ENTERED = {_SEGMENT, _CLUSTER, _GROUP, 0x7373, 0x67C8}


@dataclass
class _Draft:
    head: bytes = b""
    timecode_ms: int = 0
    blocks: list[Block] = field(default_factory=list)
    before: list[tuple[str, str]] = field(default_factory=list)
    after: list[tuple[str, str]] = field(default_factory=list)
    clusters: int = 0
    ours: bool = False


def read_recording(data: bytes) -> list[MediaFragment]:
    """Fragments of a recorded body, in order; empty if these bytes are something else.

    What is cut off at the end is left out. The service's own tags are dropped, the producer's kept where they stood.
    """
    drafts: list[_Draft] = []
    if data[:4] != b"\x1a\x45\xdf\xa3":
        return []
    try:
        for draft in _documents(data):
            drafts.append(draft)
    except (IndexError, ValueError, struct.error):
        pass  # damaged from here on; what came before is whole
    if not any(d.ours for d in drafts):
        return []
    fragments = []
    for index, draft in enumerate(drafts):
        if not draft.blocks:
            continue
        own = max(b.offset_us for b in draft.blocks) + last_frame_us(draft.blocks)
        following = drafts[index + 1].timecode_ms * 1000 if index + 1 < len(drafts) else 0
        step = following - draft.timecode_ms * 1000
        duration = step if 0 < step < 2 * own else own
        fragments.append(
            MediaFragment((), tuple(draft.blocks), duration, tuple(draft.before), tuple(draft.after), draft.head)
        )
    return fragments


def _documents(data: bytes) -> Iterator[_Draft]:
    draft: _Draft | None = None
    name = ""
    keyless = False
    for element_id, raw, payload in _elements(data):
        if element_id == _EBML:
            if draft is not None:
                yield draft
            draft = _Draft()
        elif draft is None:
            raise ValueError("no EBML header")
        elif element_id in (_INFO, _TRACKS):
            draft.head += raw
        elif element_id == _CLUSTER:
            draft.clusters += 1
            if draft.clusters > 1:
                raise ValueError("an ordinary file: several Clusters in one document")
        elif element_id == _TIMECODE:
            draft.timecode_ms = int.from_bytes(payload, "big")
        elif element_id == _GROUP:
            keyless = b"\xfb" in payload[-3:]
        elif element_id in (_SIMPLE, _BLOCK):
            draft.blocks.append(_block(payload, None if element_id == _SIMPLE else not keyless))
        elif element_id == 0x45A3:
            name = payload.decode()
        elif element_id == 0x4487:
            if name.startswith("AWS_"):
                draft.ours = True
            else:
                (draft.after if draft.clusters else draft.before).append((name, payload.decode(errors="replace")))
    if draft is not None:
        yield draft


def _block(payload: bytes, keyframe: bool | None) -> Block:
    track, at = _number(payload, 0)
    (offset_ms,) = struct.unpack_from(">h", payload, at)
    if payload[at + 2] & 0x06:
        raise ValueError("lacing")
    key = bool(payload[at + 2] & 0x80) if keyframe is None else keyframe
    return Block(track, offset_ms * 1000, key, payload[at + 3 :])


def _elements(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Every element with its bytes and payload; Segment, Cluster, BlockGroup and Tag are entered."""
    at = 0
    while at < len(data):
        length = 9 - data[at].bit_length()
        element_id = int.from_bytes(data[at : at + length], "big")
        size, body = _number(data, at + length)
        unknown = size == (1 << 7 * (body - at - length)) - 1
        if unknown and element_id not in (_SEGMENT, _CLUSTER):
            raise ValueError("unknown size")
        if element_id not in (_SEGMENT, _CLUSTER) and body + size > len(data):
            return
        entered = element_id in _ENTERED or element_id == _TAGS
        payload = b"" if element_id in (_SEGMENT, _CLUSTER) else data[body : body + size]
        yield element_id, data[at : body + len(payload)], payload
        at = body if entered else body + size


def _number(data: bytes, at: int) -> tuple[int, int]:
    length = 9 - data[at].bit_length()
    if length > 8:
        raise ValueError("not an EBML number")
    return int.from_bytes(data[at : at + length], "big") & (1 << 7 * length) - 1, at + length
