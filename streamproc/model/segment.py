"""Segments, how far a stream has been published, and the holes in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamproc.model.frame import Cover, FrameId, Stamps
from streamproc.model.media import FragmentNumber


@dataclass(frozen=True, slots=True)
class Position:
    """How far a stream has been published: everything up to and including this.

    Attributes:
        fragment: Number of the fragment.
        frames: How many of its frames, in order of presentation, are published; None for all of them.
        server_us: Server timestamp of the fragment behind ``after``, to begin there where that is not known.
        after: Number of the fragment to resume after, so that everything behind the position can be decoded (GetMedia
            sends the next one whole): where fragments refer to earlier ones, an earlier one than ``fragment``. "" if
            it is not known.
    """

    fragment: FragmentNumber
    frames: int | None
    server_us: int = 0
    after: FragmentNumber = ""

    @property
    def order(self) -> tuple[int, float]:
        """For comparison: of two positions of one stream, the one further on is the larger."""
        return int(self.fragment or -1), float("inf") if self.frames is None else self.frames

    def covers(self, frame: FrameId) -> bool:
        """Whether this frame lies at or before the position, so that publishing it again would repeat it."""
        return (frame.fragment.order, frame.index) < self.order


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """What the audit record keeps of one published frame."""

    id: FrameId
    cover: Cover
    stamps: Stamps = field(repr=False)


@dataclass(frozen=True, slots=True)
class Segment:
    """One complete fragmented MP4 and what is in it.

    Attributes:
        start: Identity of its first frame; with the stream's name it makes the key.
        end: The stream's position once this segment is published.
        duration_us: From the first frame to the end of the last.
        data: The object's bytes: ``ftyp`` and ``moov`` (``init_bytes`` long), then ``moof`` and ``mdat``.
        discontinuity: A gap, or a change of coding, stands before it (RFC 8216, 4.3.2.3).
        encoded_us: Wall clock at which ``data`` was complete.
        origin_us: Producer's wall clock that is time zero of its timeline.
        opened: Where the position stood when it was opened, None for ``start``: see :attr:`place`.
    """

    start: FrameId
    end: Position
    duration_us: int
    width: int
    height: int
    data: bytes = field(repr=False)
    init_bytes: int
    frames: tuple[FrameRecord, ...] = field(repr=False)
    discontinuity: bool = False
    encoded_us: int = 0
    origin_us: int | None = None
    opened: FrameId | None = None

    @property
    def place(self) -> FrameId:
        """What the segment is known by: the first frame that could stand in it, whether or not it could be decoded.

        A decoder that begins anew may lose frames that one in the middle of the stream does not; the key must be the
        same for both.
        """
        return self.opened or self.start


@dataclass(frozen=True, slots=True)
class PublishedSegment:
    """A segment as the playlist knows it.

    Attributes:
        key: Of the media object, relative to the output's root.
        time_us: Producer's wall clock of the first frame.
        init_bytes: Length of the initialisation section at the head of the object.
        init_digest: SHA-256 of that section in hex: equal digests share one EXT-X-MAP.
    """

    key: str
    time_us: int
    duration_us: int
    bytes: int
    init_bytes: int
    init_digest: str
    discontinuity: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """Something of the stream was never seen, and why. Never silent, never twice.

    Attributes:
        reason: ``retention`` (no longer kept by the service), ``truncated`` (the fragment's end never came),
            ``damaged`` (bytes could not be parsed), ``undecodable`` (blocks gave no picture), ``unsupported`` (codec),
            ``limit`` (over a limit on size or duration).
        after: Last fragment before the hole, "" if unknown.
        fragment: The fragment that is damaged or lost, "" if it is not known which.
        frames: Blocks or frames lost, None if nobody can know.
        at_us: Wall clock at which it was noticed.
    """

    reason: str
    after: FragmentNumber
    fragment: FragmentNumber
    frames: int | None
    at_us: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything a new process needs to go on where the last one stopped.

    Attributes:
        stream: The stream's name.
        created: The stream's creation time as the service says it ("" if unknown): a stream made anew under the same
            name does not inherit.
        position: None before the first segment.
        origin_us: Producer's wall clock that is time zero of the output's timeline (``tfdt``).
        last_end_us: End of the last published frame on the producer's clock: a jump from there is a discontinuity.
        segments: How many have been published.
        media_sequence: EXT-X-MEDIA-SEQUENCE of ``window``'s first segment.
        discontinuity_sequence: EXT-X-DISCONTINUITY-SEQUENCE of the same.
        window: The live playlist's segments, oldest first.
    """

    stream: str
    created: str = ""
    position: Position | None = None
    origin_us: int | None = None
    last_end_us: int | None = None
    segments: int = 0
    media_sequence: int = 0
    discontinuity_sequence: int = 0
    window: tuple[PublishedSegment, ...] = ()
