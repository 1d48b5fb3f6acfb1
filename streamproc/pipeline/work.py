"""What the parts of one stream's pipeline hand to each other, and the options they share."""

from __future__ import annotations

from dataclasses import dataclass

from streamproc.decode.pyav import Decoded
from streamproc.encode.pyav import EncodeOptions
from streamproc.model.frame import Cover, Frame
from streamproc.model.media import Fragment, FragmentEnd, FragmentNumber, FragmentStart, Sound, Track
from streamproc.model.segment import Gap, Position, Segment
from streamproc.redact.effects import Effect


@dataclass(frozen=True, slots=True)
class CoverOptions:
    """What the rule of covering is told.

    Attributes:
        calls_per_second: Looks per second of video.
        lookahead_us: Longest wait of a frame for the look behind it.
        margin: Width and height of each region are ``1 + margin`` times the object's.
        extend_us: How long a region is held beyond its object's last sighting.
        every_us: Time between regular looks; 0 for as often as ``calls_per_second`` allows.
        ask_us: Where two looks do not agree, one more is made between them, no closer than this to either; 0 for never.
        calm_us: While nothing changes, regular looks are left out for so long; 0 for never.
    """

    calls_per_second: float
    lookahead_us: int
    margin: float
    extend_us: int
    every_us: int = 0
    ask_us: int = 0
    calm_us: int = 0


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What one stream's pipeline is told. Durations in the unit of the name."""

    segment_s: float
    cover: CoverOptions
    deadline_s: float
    long_side_px: int
    jpeg_quality: int
    effect: Effect
    encode: EncodeOptions
    keep_audio: bool
    max_pixels: int
    until_idle_s: float | None = None
    drain_s: float = 25.0


# The reader sends, beside frames:
@dataclass(frozen=True, slots=True)
class Quiet:
    """Nothing came for a while."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come.

    Attributes:
        error: Why, if it was not asked for.
    """

    error: Exception | None = None


Read = Decoded | FragmentStart | FragmentEnd | Gap | Quiet | Ended


# The decider sends, in the order of presentation:
@dataclass(frozen=True, slots=True)
class Decided:
    """A frame, and what is to be covered in it."""

    frame: Frame
    cover: Cover


@dataclass(frozen=True, slots=True)
class FragmentOver:
    """All frames of a fragment stand before this.

    Attributes:
        after: The fragment to resume after from here on.
    """

    fragment: Fragment
    after: FragmentNumber


@dataclass(frozen=True, slots=True)
class Entry:
    """The frames that follow can be decoded from here on; see :class:`~streamproc.model.segment.Position`."""

    after: FragmentNumber
    server_us: int


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """The sound that follows belongs to this track; None for no sound."""

    track: Track | None


@dataclass(frozen=True, slots=True)
class Hole:
    """Something is missing here."""

    gap: Gap


@dataclass(frozen=True, slots=True)
class Flush:
    """Close the open segment."""


Work = Decided | Entry | FragmentOver | AudioTrack | Sound | Hole | Flush

# The encoder sends:
Done = Segment | Position | Gap
