"""The incremental walk through a GetMedia body: feed bytes as they come, get fragments and blocks. No I/O, no clock.

A body is a chain of Matroska documents, one per fragment::

    EBML  Segment { Info Tracks [Tags] Tags[number, times]  Cluster { Timestamp SimpleBlock... }  [Tags] Tags[token] }

The walk goes from element to element by their sizes. Segment and Cluster are entered, whatever their size says, so an
unknown size is nothing special. A block is handed out as soon as its last byte is there; a fragment ends on the tags
behind its media, not on the next header.

**Damage** is whatever cannot be an element where it stands. The walk then looks for the next *document head* (a sound
EBML header and the Segment's id; the EBML id alone may occur in a picture) and says how many bytes were lost. Where an
element is cut off and the next document follows, its size reaches into that document; so each element is checked for a
document head inside or across its end before it is believed.

The result does not depend on how the bytes were cut up for :meth:`Walker.feed`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from streamproc.ingest import ebml, elements
from streamproc.ingest.ebml import MAGIC, UNKNOWN, EbmlError
from streamproc.model.media import Block, Damage, Fragment, FragmentEnd, FragmentStart, MediaEvent, ServiceError

TRUNCATED, DAMAGED, LIMIT, ERROR = "truncated", "damaged", "limit", "error"
"""Why a fragment is not complete."""

_PARTS = {ebml.POSITION, ebml.PREV_SIZE, ebml.SILENT_TRACKS, ebml.ENCRYPTED_BLOCK}
_SKIPPED = _PARTS | {ebml.VOID, ebml.CRC_32, ebml.SEEK_HEAD, ebml.CUES, ebml.CHAPTERS, ebml.ATTACHMENTS}
_IN_CLUSTER = _PARTS | {ebml.TIMESTAMP, ebml.SIMPLE_BLOCK, ebml.BLOCK_GROUP}
_SHORT = {ebml.TIMESTAMP: 8, ebml.POSITION: 8, ebml.PREV_SIZE: 8, ebml.CRC_32: 4, ebml.EBML: 4096}
_HEAD_ONLY = {ebml.SEGMENT, ebml.CLUSTER}
_BUFFERED = {ebml.EBML, ebml.INFO, ebml.TRACKS, ebml.TAGS, ebml.TIMESTAMP, ebml.SIMPLE_BLOCK, ebml.BLOCK_GROUP}
_NUMBER = re.compile(r"[0-9]{1,128}", re.ASCII)
_AWS = "AWS_KINESISVIDEO_"
_PEEK = 1 << 18
"""While a large element is incomplete it is searched for a document after this many bytes, then at each doubling."""
_TAIL = ebml.MAX_HEADER + 16
"""So near to the end of an element, a document head may begin in it and end behind it."""

_SMALLEST = 16
"""Behind a block's first byte there must be so many for its head to be read in one go, whatever its form."""


def _block_head(first: int) -> tuple[Callable[[bytes, int], tuple[int, ...]], int, int, int] | None:
    """How to read the head of a SimpleBlock whose size begins with this byte.

    Returns:
        What gives its size (with more bits above), track (with its marker), relative timestamp and flags; the bits of
        the size; where its frame and its content begin. None for forms that nobody writes.
    """
    width = 9 - first.bit_length()
    # The element's id, or what is left of it, is read with the size where that has no width of struct's own.
    form = {1: ">xB", 2: ">xH", 3: ">I", 4: ">xI", 7: ">Q", 8: ">xQ"}.get(width)
    if form is None:
        return None
    return struct.Struct(form + "BhB").unpack_from, (1 << 7 * width) - 1, width + 5, width + 1


_BLOCK_HEADS = tuple(_block_head(first) for first in range(256))
_new = object.__new__
_set_track, _set_offset, _set_keyframe, _set_data = (
    vars(Block)[name].__set__ for name in ("track", "offset_us", "keyframe", "data")
)
_FIND_MAGIC = re.compile(re.escape(MAGIC)).search  # four times as fast as bytes.find: this one uses memchr

# Where the walk is
_START, _HEADER, _SEGMENT, _CLUSTER = range(4)


@dataclass(frozen=True, slots=True)
class Limits:
    """So that no input can exhaust memory. The walker holds an element, the last Tracks, and what one ``feed`` brought.

    The limits on a fragment hold for fragments of the service; an ordinary Matroska file may be as long as it likes.

    Attributes:
        element_bytes: Of one block, Tracks or Tags element. Beyond it is damage.
        fragment_bytes: Of one fragment, all its elements together (the service allows 50 MB).
        fragment_us: From its first Cluster to its last block (the service allows 20 s).
        max_pixels: Width times height of a video track.
        tags: Tags of one fragment (the service allows 10 of the producer's; recordings hold up to 60).
        tracks: Tracks of one fragment (the service allows 3).
    """

    element_bytes: int = 16 << 20
    fragment_bytes: int = 64 << 20
    fragment_us: int = 60_000_000
    max_pixels: int = 8192 * 4320
    tags: int = 1024
    tracks: int = 64


class _OverLimit(Exception):
    """The fragment is over a limit."""


class _Swallowed(Exception):
    """An element reaches into the next document, which begins at ``args[0]``."""


@dataclass(slots=True)
class _Document:
    """What is known of the document at hand."""

    begin: int  # offset of its first byte in the body
    in_segment: bool = False
    segment_end: int | None = None
    info: elements.Info = field(default_factory=elements.Info)
    codings: dict[int, elements.Coding] | None = None
    plain: dict[int, int] = field(
        default_factory=dict
    )  # first byte of a block -> track, if its frames stand as they are
    number: str = ""
    producer_us: int = 0
    server_us: int = 0
    behind_now_ms: int | None = None
    token: bool = False
    error_id: int | None = None
    error_code: str | None = None
    tags: list[tuple[str, str]] = field(default_factory=list)
    tag_count: int = 0
    clustered: bool = False
    first_ticks: int | None = None
    cluster_ticks: int = 0
    fragment: Fragment | None = None
    ended: bool = False


def _next_magic(data: bytes, pos: int, end: int) -> int:
    """Where, at ``pos`` or later, the EBML id stands, or may stand once more bytes are there; ``end`` if nowhere.

    Its first byte alone, as the last one of all, counts for nothing (see :meth:`Walker._reaches`).
    """
    found = _FIND_MAGIC(data, pos, end)
    if found is not None:
        return found.start()
    for width in (3, 2):
        if data.endswith(MAGIC[:width]):
            return max(pos, end - width)
    return end


class Walker:
    """Feed it a body; see the module's docstring. One walker per session."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._pending = bytearray()
        self._need = 1  # so many bytes must be pending before the walk can get on
        self._base = 0  # offset in the body of the first byte not yet walked over
        self._where = _START
        self._document: _Document | None = None
        self._cluster_end: int | None = None
        self._numbered = False
        self._tracks: tuple[bytes, dict[int, elements.Coding]] = (b"", {})
        self._skip: int | None = None  # bytes still to skip, UNKNOWN while looking for the next document
        self._skip_from = 0
        self._why = ("", "")
        self._last_byte = False  # the last block ended with the first byte of the EBML id
        self._at_end = False
        self._magic = -1  # the first place at or after the walk, in the bytes at hand, where a document may begin
        self._out: list[MediaEvent] = []

    def feed(self, data: bytes | bytearray | memoryview) -> list[MediaEvent]:
        """What has become known with these bytes. Never raises for what is in them."""
        if len(self._pending) + len(data) < self._need:
            self._pending += data
            return []
        if not self._pending:
            return self._walk(bytes(data))  # no copy of bytes
        return self._walk(b"".join((self._pending, data)))

    def close(self) -> list[MediaEvent]:
        """The body has ended. An open fragment of the service ends incomplete."""
        self._at_end = True
        out: list[MediaEvent] = []
        whole, self._pending = bytes(self._pending), bytearray()
        while whole:
            out += self._walk(whole)
            whole, self._pending = bytes(self._pending), bytearray()
            if whole:
                self._lose(self._base, TRUNCATED, "the body ends inside an element")
        self._out = []
        self._found(self._base)
        return out + self._out

    # The walk

    def _walk(self, data: bytes) -> list[MediaEvent]:
        self._out, self._magic = [], -1
        pos, end = 0, len(data)
        while True:
            try:
                if self._skip is not None:
                    step = self._seek(data, pos, end)
                else:
                    if self._where == _CLUSTER:
                        pos = self._plain_blocks(data, pos, end)
                    step = self._element(data, pos, end)
            except EbmlError as error:
                if self._last_byte and data[pos : pos + 3] == MAGIC[1:]:
                    # The block before it had swallowed the first byte of the next document.
                    data = MAGIC[:1] + data[pos:]
                    self._base += pos - 1
                    pos, end, self._magic = 0, len(data), -1
                self._lose(self._base + pos, DAMAGED, str(error))
                continue
            except _Swallowed as found:
                self._lose(self._base + pos, TRUNCATED, "an element reaches into the next document")
                step = int(found.args[0])
                self._found(self._base + step)
            except _OverLimit as over:
                self._end(False, LIMIT, str(over))
                continue
            if step is None:
                break
            pos = step
        self._base += pos
        self._pending = bytearray(memoryview(data)[pos:])
        return self._out

    def _plain_blocks(self, data: bytes, pos: int, end: int) -> int:
        """Walk over as many blocks as are wholly there and have nothing special about them.

        :meth:`_element` would do the same to them; this does nothing but make it fast (2 to 4 times on recordings).
        Whatever it does not like it leaves to that. Returns the position after the last block.
        """
        document, limits, base = self._document, self._limits, self._base
        if document is None or document.fragment is None or document.ended or document.first_ticks is None:
            return pos
        if pos + _SMALLEST > end or data[pos] != ebml.SIMPLE_BLOCK:
            return pos
        if self._magic <= pos:
            self._magic = _next_magic(data, pos + 1, end)
        highest = min(end, self._magic)  # no document begins before it
        if self._cluster_end is not None:
            highest = min(highest, self._cluster_end - base)
        tick_us, odd = divmod(document.info.scale_ns, 1000)
        zero_us = (document.cluster_ticks - document.first_ticks) * tick_us
        if document.number:
            highest = min(highest, document.begin + limits.fragment_bytes - base)
            if abs(zero_us) + 0x8000 * tick_us > limits.fragment_us:
                return pos
        if odd or highest - pos > limits.element_bytes:
            return pos
        first, last, plain, out = pos, end - _SMALLEST, document.plain, self._out
        while pos <= last and data[pos] == ebml.SIMPLE_BLOCK:
            form = _BLOCK_HEADS[data[pos + 1]]
            if form is None:
                break
            unpack, bits, before, width = form
            size, number, relative, flags = unpack(data, pos)
            size &= bits
            stop = pos + width + size
            if stop > highest or flags & 6 or not 4 <= size < bits or (track := plain.get(number)) is None:
                break
            # What Block(...) does takes three times as long, because a frozen dataclass sets its fields by name.
            block = _new(Block)
            _set_track(block, track)
            _set_offset(block, zero_us + relative * tick_us)
            _set_keyframe(block, flags >= 0x80)
            _set_data(block, data[pos + before : stop])
            out.append(block)
            pos = stop
        if pos > first:
            self._last_byte = data[pos - 1] == MAGIC[0]
        return pos

    def _element(self, data: bytes, pos: int, end: int) -> int | None:
        """Walk over one element. Returns the position after it, or None if more bytes are needed."""
        head = ebml.read_head(data, pos, end)
        if head is None:
            return self._wait(end - pos + 1)
        id_, size, start = head
        here = self._base + pos
        if self._cluster_end is not None and here >= self._cluster_end:
            self._leave_cluster()
        self._check_place(id_, size)
        if id_ in _HEAD_ONLY:
            if not self._clear(data, pos, start, end) and self._reaches(data, pos + 1, start, end, ahead=1) is None:
                return self._wait(end - pos + 1)
            self._last_byte = False
            self._enter(id_, size, self._base + start)
            return start
        if size == UNKNOWN:
            raise EbmlError("an element of unknown size that cannot have one")
        if size > _SHORT.get(id_, size):
            raise EbmlError("an element is larger than its kind can be")
        cluster_end = self._cluster_end
        if cluster_end is not None and self._base + start + size > cluster_end and id_ in _IN_CLUSTER:
            raise EbmlError("an element reaches beyond its cluster")
        if id_ in _SKIPPED:
            self._last_byte = False
            self._skip, self._skip_from = size, here
            return start
        if size > self._limits.element_bytes:
            raise EbmlError(f"an element of {size} bytes is over the limit of {self._limits.element_bytes}")
        stop = start + size
        if id_ != ebml.EBML and self._over_bytes(self._base + stop):
            raise _OverLimit(f"more than {self._limits.fragment_bytes} bytes")
        if id_ == ebml.SIMPLE_BLOCK:
            if size < 4:
                raise EbmlError("a block is too short")
            if end < stop and end < start + 4:
                return self._wait(start + 4 - pos)
            coding, at = self._coding(data, start, stop)
            if end < stop:
                return self._incomplete(data, pos, stop, end)
            if not self._clear(data, pos, stop, end) and self._reaches(data, pos + 1, stop, end, ahead=0) is None:
                return self._wait(end - pos + 1)
            # The flag is judged with the frame: bit 7 says keyframe (RFC 9559, 10.2).
            self._block(data, at, stop, coding, keyframe=bool(data[at + 2] & 0x80))
            self._last_byte = data[stop - 1] == MAGIC[0]
            return stop
        if end < stop:
            return self._incomplete(data, pos, stop, end)
        if not self._clear(data, pos, stop, end) and self._reaches(data, pos + 1, stop, end, ahead=1) is None:
            return self._wait(end - pos + 1)
        self._last_byte = False
        self._read(id_, data, here, start, stop)
        return stop

    def _over_bytes(self, offset: int) -> bool:
        document = self._document
        if document is None or not document.number or document.ended:
            return False
        return offset - document.begin > self._limits.fragment_bytes

    def _wait(self, need: int) -> int | None:
        """Get on once so many bytes are pending."""
        self._need = need
        return None

    def _incomplete(self, data: bytes, pos: int, stop: int, end: int) -> int | None:
        """An element's last byte is not there yet. A wrong size must not hold up the next documents until then."""
        if end - pos >= _PEEK:
            self._reaches(data, pos + 1, end, end, ahead=0)
        return self._wait(min(stop - pos, max(_PEEK, 2 * (end - pos))))

    def _check_place(self, id_: int, size: int) -> None:
        """Raise unless an element of this kind may stand here (RFC 9559, 5.1)."""
        where = self._where
        if where == _CLUSTER:
            if id_ in _IN_CLUSTER or id_ in (ebml.VOID, ebml.CRC_32):
                return
            # Also before the end that the cluster claims: the producer may have stopped in the middle of it.
        elif id_ in _IN_CLUSTER:
            raise EbmlError("a block, or what belongs to it, stands outside of a cluster")
        if id_ == ebml.EBML:
            if size == UNKNOWN:
                raise EbmlError("an EBML header of unknown size")
        elif where == _START:
            raise EbmlError("there is no EBML header where a document should begin")
        elif where == _HEADER:
            if id_ not in (ebml.SEGMENT, ebml.VOID, ebml.CRC_32):
                raise EbmlError("there is no Segment after the EBML header")
        elif id_ == ebml.SEGMENT or not (id_ in _BUFFERED or id_ in _SKIPPED or id_ == ebml.CLUSTER):
            raise EbmlError("an element of a kind that Matroska does not have here")
        elif id_ in (ebml.TRACKS, ebml.INFO, ebml.CLUSTER) and self._document is not None:
            if id_ == ebml.CLUSTER and self._document.ended and self._document.token:
                raise EbmlError("a cluster after the end of its fragment")
            if id_ != ebml.CLUSTER and self._document.clustered:
                raise EbmlError("tracks or times are defined after the media they belong to")

    def _clear(self, data: bytes, pos: int, stop: int, end: int) -> bool:
        """Whether certainly no document begins in ``data[pos + 1 : stop]``; :meth:`_reaches` answers if it is not."""
        if self._magic <= pos:
            self._magic = _next_magic(data, pos + 1, end)
        return stop <= self._magic and stop < end

    def _reaches(self, data: bytes, low: int, high: int, end: int, ahead: int) -> bool | None:
        """Raise ``_Swallowed`` if a document begins in ``data[low:high]``; None if more bytes are needed to know.

        With ``ahead`` 0, the first byte of an EBML id as the very last one counts for nothing: one block in 256 ends
        with it, and it would have to wait for the next block.
        """
        near = max(low, high - _TAIL)
        if near > low:
            at = data.find(b"matroska", low, high)  # a longer text is found faster: the header's DocType, not its id
            while at >= 0:
                begin = data.rfind(MAGIC, max(low, at - _TAIL), at)
                if begin >= 0 and begin < near and ebml.document_at(data, begin, end):
                    raise _Swallowed(begin)
                at = data.find(b"matroska", at + 1, high)
        at = data.find(MAGIC[:2], near, high + ahead)
        while at >= 0:
            verdict = ebml.document_at(data, at, end)
            if verdict:
                raise _Swallowed(at)
            if verdict is None and not self._at_end:
                return None
            at = data.find(MAGIC[:2], at + 1, high + ahead)
        if ahead and high == end and high > low and data[high - 1] == MAGIC[0] and not self._at_end:
            return None
        return False

    def _seek(self, data: bytes, pos: int, end: int) -> int | None:
        """Skip an element without keeping it, or everything up to the next document."""
        assert self._skip is not None
        lost = self._skip == UNKNOWN
        limit = end if lost else min(end, pos + self._skip)
        at = data.find(MAGIC, pos, min(end, limit + 3))
        while at >= 0:
            verdict = ebml.document_at(data, at, end)
            if verdict:
                if not lost:
                    self._lose(self._skip_from, TRUNCATED, "an element reaches into the next document")
                self._found(self._base + at)
                return at
            if verdict is None and not self._at_end:
                limit = at
                break
            at = data.find(MAGIC, at + 1, min(end, limit + 3))
        else:
            if not self._at_end:
                for width in (3, 2, 1):
                    if pos <= end - width < limit and data[end - width : end] == MAGIC[:width]:
                        limit = end - width
                        break
        if not lost:
            self._skip -= limit - pos
            if self._skip == 0:
                self._skip = None
                return limit
        return limit if limit > pos else self._wait(end - pos + 1)

    # Damage

    def _lose(self, offset: int, why: str, detail: str) -> None:
        """From this offset on nothing can be believed until the next document."""
        if self._skip != UNKNOWN:
            self._skip, self._skip_from, self._why = UNKNOWN, offset, (why, detail)
        self._last_byte = False

    def _found(self, offset: int) -> None:
        """A document begins here, or the body has ended: close the one at hand."""
        lost, why, detail = 0, "", ""
        if self._skip == UNKNOWN:
            lost, (why, detail) = offset - self._skip_from, self._why
        elif self._skip:
            why, detail = TRUNCATED, "the body ends inside an element"
        self._skip = None
        self._close_document(offset, lost, why, detail)
        self._where, self._cluster_end = _START, None

    # Documents

    def _enter(self, id_: int, size: int, offset: int) -> None:
        document = self._document
        assert document is not None
        if id_ == ebml.SEGMENT:
            self._where = _SEGMENT
            document.in_segment = True
            document.segment_end = None if size == UNKNOWN else offset + size
            return
        self._where = _CLUSTER
        self._cluster_end = None if size == UNKNOWN else offset + size
        document.clustered = True
        document.cluster_ticks = 0
        if document.number:
            self._start()

    def _leave_cluster(self) -> None:
        if self._where == _CLUSTER:
            self._where = _SEGMENT
        self._cluster_end = None

    def _read(self, id_: int, data: bytes, here: int, start: int, stop: int) -> None:
        """Take in an element that is wholly there."""
        if id_ == ebml.EBML:
            self._close_document(here, 0, "", "")
            self._document = _Document(begin=here)
            self._where, self._cluster_end = _HEADER, None
            return
        document = self._document
        assert document is not None
        if id_ == ebml.TIMESTAMP:
            document.cluster_ticks = ebml.unsigned(data, start, stop)
            if document.first_ticks is None:
                document.first_ticks = document.cluster_ticks
            self._start()
        elif id_ == ebml.BLOCK_GROUP:
            first, last, keyframe = elements.read_group(data, start, stop)
            if last - first < 4:
                raise EbmlError("a block is too short")
            coding, at = self._coding(data, first, last)
            self._block(data, at, last, coding, keyframe)
        else:
            self._leave_cluster()
            if id_ == ebml.INFO:
                document.info = elements.read_info(data, start, stop)
            elif id_ == ebml.TRACKS:
                raw = data[start:stop]
                if raw != self._tracks[0]:  # mostly the same from one fragment to the next
                    codings = elements.read_tracks(data, start, stop)
                    if len(codings) > self._limits.tracks:
                        raise EbmlError(f"more than {self._limits.tracks} tracks")
                    self._tracks = raw, {coding.track.number: coding for coding in codings}
                document.codings = self._tracks[1]
                document.plain = {0x80 | n: n for n, c in document.codings.items() if n < 0x7F and not c.prefix}
            elif id_ == ebml.TAGS:
                self._tags(document, elements.read_tags(data, start, stop))

    def _tags(self, document: _Document, tags: list[tuple[str, str]]) -> None:
        document.tag_count += len(tags)
        if document.tag_count > self._limits.tags:
            raise EbmlError(f"more than {self._limits.tags} tags")
        for name, value in tags:
            if not name.startswith(_AWS):
                document.tags.append((name, value))
                continue
            match name.removeprefix(_AWS):
                case "FRAGMENT_NUMBER":
                    if not document.number and document.fragment is None and _NUMBER.fullmatch(value.strip()):
                        document.number = value.strip()
                        self._numbered = True
                case "PRODUCER_TIMESTAMP" | "PRODUCER_SIDE_TIMESTAMP":
                    document.producer_us = elements.read_seconds(value) or 0
                case "SERVER_TIMESTAMP" | "SERVER_SIDE_TIMESTAMP":
                    document.server_us = elements.read_seconds(value) or 0
                case "MILLIS_BEHIND_NOW":
                    micros = elements.read_seconds(value)
                    document.behind_now_ms = None if micros is None else micros // 1_000_000
                case "CONTINUATION_TOKEN":
                    document.token = True
                case "ERROR_ID":
                    document.error_id = int(value) if _NUMBER.fullmatch(value) else 0
                case "ERROR_CODE" | "EXCEPTION_ERROR_CODE":
                    document.error_code = value
                    if document.error_id is None and _NUMBER.fullmatch(value):
                        document.error_id = int(value)
                    elif name.endswith("EXCEPTION_ERROR_CODE"):
                        document.error_id = document.error_id or 0
                case "EXCEPTION_MESSAGE" | "EXCEPTION_ERROR_MESSAGE":
                    document.error_code = document.error_code or value
        if document.error_id is not None and document.error_code is not None:
            self._service_error(document)
        if document.token and document.clustered and document.number:
            self._end(True)

    def _service_error(self, document: _Document) -> None:
        if document.fragment is not None:
            self._end(False, ERROR, "the service ended the stream")
        document.ended = True
        self._out.append(ServiceError(document.error_id or 0, document.error_code or ""))
        document.error_id = document.error_code = None

    def _start(self) -> None:
        """Hand out the fragment's start, unless that is done already."""
        document = self._document
        if document is None or document.fragment is not None or document.ended:
            return
        producer_us = document.producer_us
        if not document.number and not producer_us:
            # An ordinary file: its own time line, or the time of day if it tells one.
            producer_us = document.info.date_us + self._micros(document.first_ticks or 0)
        tags, document.tags = tuple(document.tags), []
        document.fragment = Fragment(document.number, producer_us, document.server_us, tags)
        tracks = tuple(coding.track for coding in (document.codings or {}).values())
        self._out.append(FragmentStart(document.fragment, tracks))
        largest = max((track.width * track.height for track in tracks), default=0)
        if largest > self._limits.max_pixels:
            self._end(False, LIMIT, f"a picture of {largest} pixels is over the limit of {self._limits.max_pixels}")

    def _end(self, complete: bool, reason: str = "", detail: str = "", lost: int = 0) -> None:
        """Hand out the fragment's end, unless that is done already."""
        document = self._document
        if document is None or document.ended:
            return
        self._start()
        if document.ended:
            return
        assert document.fragment is not None
        document.ended = True
        self._out.append(
            FragmentEnd(
                document.fragment,
                complete,
                document.behind_now_ms,
                lost,
                tuple(document.tags),
                reason,
                detail,
            )
        )
        document.tags = []

    def _close_document(self, offset: int, lost: int, why: str, detail: str) -> None:
        """The next document begins at ``offset``, or the body ends there. ``why``: damage at the end of this one."""
        document = self._document
        if document is None or document.ended:
            self._document = None
            if lost:
                self._out.append(Damage(lost, detail))
            return
        if document.error_id is not None or document.error_code is not None:
            self._service_error(document)
        elif document.number or document.fragment is not None:
            if not why and not document.token and not self._whole(document, offset):
                why, detail = TRUNCATED, "its last tags never came"
            self._end(not why, why, detail, lost)
        elif not why and document.in_segment and (document.tags or document.codings) and not self._numbered:
            # Without media: an ordinary file's, or the beginning of one of the service's. Only its size can tell.
            whole = document.segment_end is not None and offset >= document.segment_end
            self._end(whole, "" if whole else TRUNCATED, "" if whole else "it has no media")
        else:
            lost, detail = offset - document.begin, detail or "a document ends before its media"
            if lost:
                self._out.append(Damage(lost, detail))
            lost = 0
        if document.ended and lost and document.fragment is None:
            self._out.append(Damage(lost, detail))
        self._document = None

    def _whole(self, document: _Document, offset: int) -> bool:
        """Whether an ordinary document has everything that it announced."""
        if document.number or self._numbered:
            return False
        return offset >= max(document.segment_end or 0, self._cluster_end or 0)

    # Blocks

    def _coding(self, data: bytes, start: int, stop: int) -> tuple[elements.Coding, int]:
        """The track of the block at ``start``, and where its relative timestamp is (RFC 9559, 10.1)."""
        codings = self._document.codings if self._document else None
        first = data[start]
        if first & 0x80:
            number, at = first & 0x7F, start + 1
        else:
            number, at = ebml.read_vint(data, start, min(stop, start + 4))
        coding = codings.get(number) if codings else None
        if coding is None:
            raise EbmlError("a block names a track that was not announced")
        if at + 3 > stop:
            raise EbmlError("a block is too short")
        return coding, at

    def _micros(self, ticks: int) -> int:
        scale = self._document.info.scale_ns if self._document else 1_000_000
        return (ticks * scale + 500) // 1000

    def _block(self, data: bytes, at: int, stop: int, coding: elements.Coding, keyframe: bool) -> None:
        document = self._document
        assert document is not None
        if document.fragment is None:
            if document.first_ticks is None:
                document.first_ticks = document.cluster_ticks
            self._start()
        if document.ended:
            return
        relative = (data[at] << 8 | data[at + 1]) ^ 0x8000
        offset_us = self._micros(document.cluster_ticks - (document.first_ticks or 0) + relative - 0x8000)
        if document.number and not -self._limits.fragment_us <= offset_us <= self._limits.fragment_us:
            raise _OverLimit(f"longer than {self._limits.fragment_us / 1e6:g} s")
        lacing = data[at + 2] >> 1 & 3
        track = coding.track.number
        if not lacing and not coding.prefix:
            self._out.append(Block(track, offset_us, keyframe, data[at + 3 : stop]))
            return
        frames = elements.unlace(data, at + 3, stop, lacing) if lacing else [data[at + 3 : stop]]
        for index, frame in enumerate(frames):
            offset = offset_us + index * coding.duration_ns // 1000
            self._out.append(Block(track, offset, keyframe, coding.prefix + frame))
