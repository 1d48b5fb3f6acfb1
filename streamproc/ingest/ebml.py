"""EBML as bytes: element ids, variable-length integers, values. No I/O, no state.

Source: RFC 8794 (EBML) and RFC 9559 (Matroska).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

EBML = 0x1A45DFA3
DOC_TYPE = 0x4282
SEGMENT = 0x18538067

# Children of the Segment
SEEK_HEAD = 0x114D9B74
INFO = 0x1549A966
TRACKS = 0x1654AE6B
CHAPTERS = 0x1043A770
CLUSTER = 0x1F43B675
CUES = 0x1C53BB6B
ATTACHMENTS = 0x1941A469
TAGS = 0x1254C367

# Children of Info
TIMESTAMP_SCALE = 0x2AD7B1
DATE_UTC = 0x4461

# Children of Tracks
TRACK_ENTRY = 0xAE
TRACK_NUMBER = 0xD7
TRACK_TYPE = 0x83
CODEC_ID = 0x86
CODEC_PRIVATE = 0x63A2
DEFAULT_DURATION = 0x23E383
VIDEO = 0xE0
PIXEL_WIDTH = 0xB0
PIXEL_HEIGHT = 0xBA
PROJECTION = 0x7670
PROJECTION_POSE_ROLL = 0x7675
AUDIO = 0xE1
SAMPLING_FREQUENCY = 0xB5
CHANNELS = 0x9F
CONTENT_ENCODINGS = 0x6D80
CONTENT_ENCODING = 0x6240
CONTENT_ENCODING_SCOPE = 0x5032
CONTENT_ENCODING_TYPE = 0x5033
CONTENT_COMPRESSION = 0x5034
CONTENT_COMP_ALGO = 0x4254
CONTENT_COMP_SETTINGS = 0x4255

# Children of a Cluster
TIMESTAMP = 0xE7
SILENT_TRACKS = 0x5854
POSITION = 0xA7
PREV_SIZE = 0xAB
SIMPLE_BLOCK = 0xA3
ENCRYPTED_BLOCK = 0xAF
BLOCK_GROUP = 0xA0
BLOCK = 0xA1
REFERENCE_BLOCK = 0xFB

# Children of Tags
TAG = 0x7373
SIMPLE_TAG = 0x67C8
TAG_NAME = 0x45A3
TAG_STRING = 0x4487

# Anywhere
VOID = 0xEC
CRC_32 = 0xBF

MAGIC = EBML.to_bytes(4, "big")
UNKNOWN = -1
"""A size whose data bits are all ones: the element ends where something begins that cannot be inside it."""

MAX_HEADER = 256
"""An EBML header is about 40 bytes long; one longer than this is not taken for one while resynchronising."""

_WIDTH = tuple(9 - byte.bit_length() for byte in range(256))
_BITS = (*((1 << 7 * width) - 1 for width in range(9)), 0)  # of a size, by its width; 9 is no width
_TOO_LARGE = "an element is larger than the one it is in"
_SEGMENT_ID = SEGMENT.to_bytes(4, "big")


class EbmlError(ValueError):
    """These bytes are not EBML. The message says what is wrong, never what the bytes are."""


def read_vint(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """A variable-length integer without its marker bit, and the position after it (RFC 8794, 4).

    Raises:
        EbmlError: It has no marker bit, or ends beyond ``end``.
    """
    width = _WIDTH[data[pos]] if pos < end else 9
    if width > 8 or pos + width > end:
        raise EbmlError("an integer has no length marker")
    return int.from_bytes(data[pos : pos + width], "big") & ((1 << 7 * width) - 1), pos + width


def read_head(data: bytes, pos: int, end: int) -> tuple[int, int, int] | None:
    """An element's id (marker included), its size (or :data:`UNKNOWN`) and where its content begins.

    Returns:
        None if the head is not complete before ``end``.

    Raises:
        EbmlError: No element begins like this.
    """
    if pos >= end:
        return None
    at = pos + _WIDTH[data[pos]]
    if at > pos + 4:
        raise EbmlError("no element id begins with this byte")
    if at >= end:
        return None
    start = at + _WIDTH[data[at]]
    bits = _BITS[start - at]
    if not bits:
        raise EbmlError("no element size begins with this byte")
    if start > end:
        return None
    size = int.from_bytes(data[at:start], "big") & bits
    return int.from_bytes(data[pos:at], "big"), UNKNOWN if size == bits else size, start


def children(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The elements in ``data[start:end]``, each as (id, start of content, end of content).

    Raises:
        EbmlError: They do not fill it exactly.
    """
    pos = start
    while pos < end:  # as read_head does it, which would take half of the time for its calls
        at = pos + _WIDTH[data[pos]]
        if at >= end or at > pos + 4:
            raise EbmlError(_TOO_LARGE)
        begin = at + _WIDTH[data[at]]
        size = int.from_bytes(data[at:begin], "big") & (bits := _BITS[begin - at])
        after = begin + size
        if after > end or size == bits:
            raise EbmlError(_TOO_LARGE)
        yield int.from_bytes(data[pos:at], "big"), begin, after
        pos = after


def unsigned(data: bytes, start: int, end: int) -> int:
    """An unsigned integer of 0 to 8 bytes. Raises ``EbmlError`` if it is longer."""
    if end - start > 8:
        raise EbmlError("an integer is longer than 8 bytes")
    return int.from_bytes(data[start:end], "big")


def signed(data: bytes, start: int, end: int) -> int:
    """A signed integer of 0 to 8 bytes. Raises ``EbmlError`` if it is longer."""
    if end - start > 8:
        raise EbmlError("an integer is longer than 8 bytes")
    return int.from_bytes(data[start:end], "big", signed=True)


def floating(data: bytes, start: int, end: int) -> float:
    """A float of 0, 4 or 8 bytes. Raises ``EbmlError`` if it has another length."""
    form = {0: "", 4: ">f", 8: ">d"}.get(end - start)
    if form is None:
        raise EbmlError("a float has neither 4 nor 8 bytes")
    return float(struct.unpack(form, data[start:end])[0]) if form else 0.0


def text(data: bytes, start: int, end: int) -> str:
    """A string; it ends at the first NUL (RFC 8794, 7.4: writers may pad). What is not UTF-8 is replaced."""
    return data[start:end].split(b"\0", 1)[0].decode("utf-8", "replace")


def document_at(data: bytes, pos: int, end: int) -> bool | None:
    """Whether a Matroska document begins at ``pos``: a whole, sound EBML header and then the Segment's id.

    The four bytes of the EBML id alone prove nothing, as they may occur in a picture.

    Returns:
        None if the bytes up to ``end`` may be the beginning of one.
    """
    if not MAGIC.startswith(data[pos : min(pos + 4, end)]):
        return False
    try:
        head = read_head(data, pos, end)
        if head is None:
            return None
        _, size, start = head
        if size == UNKNOWN or size > MAX_HEADER:
            return False
        stop = start + size
        if start < end and data[start] not in (0x42, VOID, CRC_32):
            return False
        if end < stop + 4:
            return None
        kinds = [text(data, a, b) for id_, a, b in children(data, start, stop) if id_ == DOC_TYPE]
    except EbmlError:
        return False
    return kinds in (["matroska"], ["webm"]) and data[stop : stop + 4] == _SEGMENT_ID
