"""What comes out of a GetMedia body: fragments, tracks, blocks, and what went wrong between them.

Source of the layout: AWS, "GetMedia" API reference and "Streaming metadata"; RFC 9559 (Matroska).
All times are whole microseconds; wall-clock times count from the Unix epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

FragmentNumber = str
"""A fragment number as the service writes it: up to 128 decimal digits. Order them as integers, never as text."""


class TrackKind(Enum):
    VIDEO = "video"
    AUDIO = "audio"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Track:
    """One TrackEntry (RFC 9559, 5.1.4.1).

    Attributes:
        number: The number by which blocks name their track.
        codec_id: For instance ``V_MPEG4/ISO/AVC``.
        codec_private: The decoder's parameters (an avcC or hvcC record, or an AudioSpecificConfig); may be empty.
        width, height: Pixels as coded, 0 if not said.
        rotation: Degrees clockwise by which the decoded picture must be turned for display: 0, 90, 180 or 270.
        sampling_hz, channels: Of an audio track, 0 if not said.
    """

    number: int
    kind: TrackKind
    codec_id: str
    codec_private: bytes = field(default=b"", repr=False)
    width: int = 0
    height: int = 0
    rotation: int = 0
    sampling_hz: int = 0
    channels: int = 0


@dataclass(frozen=True, slots=True)
class Fragment:
    """One Matroska document of a stream.

    Attributes:
        number: The service's number, or "" where the body carries no AWS tags (an ordinary Matroska file).
        producer_us: Wall clock of the fragment's start by the producer's clock. It can be nonsense.
        server_us: Wall clock at which the service began to receive the fragment, 0 if not said.
        tags: The producer's own tags that stand before the media, in order; names may occur twice.
    """

    number: FragmentNumber
    producer_us: int
    server_us: int = 0
    tags: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def order(self) -> int:
        """The number as an integer, for comparison; -1 without a number."""
        return int(self.number) if self.number else -1


@dataclass(frozen=True, slots=True)
class FragmentStart:
    """A fragment's tags and tracks are known; its blocks follow."""

    fragment: Fragment
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One coded picture or one piece of sound.

    Attributes:
        track: The track's number.
        offset_us: Time since the fragment's Cluster began (producer time: ``fragment.producer_us + offset_us``).
        keyframe: As the container says; a decoder may know better.
        data: The coded bytes, as they stand in the block.
    """

    track: int
    offset_us: int
    keyframe: bool
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sound:
    """One coded piece of sound on the producer's clock, passed on as it is. Voice is personal data: off by default."""

    fragment: Fragment
    track: Track
    time_us: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class FragmentEnd:
    """No more blocks of this fragment will come.

    Attributes:
        complete: Its trailing tags were seen. False: the bytes stopped or were damaged, so blocks may be missing.
        behind_now_ms: MILLIS_BEHIND_NOW, the service's clock minus ``server_us``; None if not said.
        lost_bytes: Bytes of this fragment that had to be skipped because of damage.
        tags: The producer's own tags that stand after the media.
        reason: Why it is not complete: ``truncated``, ``damaged``, ``limit`` or ``error``; "" if it is.
        detail: The same in words, for people.
    """

    fragment: Fragment
    complete: bool
    behind_now_ms: int | None = None
    lost_bytes: int = 0
    tags: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that belong to no fragment were skipped to find the next header."""

    lost_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class ServiceError:
    """An error tag inside the body (``AWS_KINESISVIDEO_ERROR_ID`` / ``_CODE``); the session is over."""

    error_id: int
    code: str


MediaEvent = FragmentStart | Block | FragmentEnd | Damage | ServiceError
