"""Frames, before and after redaction. A :class:`RedactedFrame` is not a :class:`Frame`: a leak is a type error."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from streamproc.model.geometry import Box
from streamproc.model.media import Fragment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Plane = NDArray[np.uint8]
    """One plane of a YUV 4:2:0 picture, shape (height, width), writable, 0..255."""

Picture = Any
"""A decoded YUV 4:2:0 picture, as the codec library holds it. Only decode, redact and encode look inside."""


class Decision(Enum):
    """Why a frame may be published. There is no other way to publish one."""

    SEEN = "seen"  # a detector looked at this very frame
    CARRIED = "carried"  # between two frames that a detector looked at
    EXTENDED = "extended"  # some region is held beyond the first or last sighting of its object
    WHOLE = "whole"  # covered whole: no answer in time, a failed one, or doubt
    WITHHELD = "withheld"  # not published


@dataclass(frozen=True, slots=True)
class Region:
    """What is covered in one frame.

    Attributes:
        box: In shares of the coded picture, margins included.
        kind: Of the object, ``face`` or ``plate``; ``frame`` for a frame covered whole.
        origin: How the region came to be.
    """

    box: Box
    kind: str
    origin: Decision


@dataclass(frozen=True, slots=True)
class Cover:
    """The decision about one frame, and the regions that follow from it."""

    decision: Decision
    regions: tuple[Region, ...] = ()


@dataclass(slots=True)
class Stamps:
    """Wall-clock times (µs, our own clock) at which a frame passed each stage; the lag is their differences."""

    arrived_us: int = 0
    decoded_us: int = 0
    decided_us: int = 0


@dataclass(frozen=True, slots=True)
class FrameId:
    """Identity of a frame in its stream: the fragment, and the frame's place in it in order of presentation.

    Attributes:
        fragment: The fragment it came in.
        index: 0 for the fragment's first frame.
        time_us: Producer's wall clock: ``fragment.producer_us`` plus the block's offset.
    """

    fragment: Fragment
    index: int
    time_us: int

    @property
    def server_us(self) -> int:
        """The same moment on the service's clock, 0 if the service did not say."""
        server = self.fragment.server_us
        return server + self.time_us - self.fragment.producer_us if server else 0


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded picture that nobody has decided about. It must not leave the process.

    Attributes:
        rotation: Degrees clockwise by which it must be turned for display: 0, 90, 180 or 270.
        damaged: The decoder says that part of the picture is made up; a detector's answer about it proves nothing.
    """

    id: FrameId
    picture: Picture = field(repr=False)
    width: int
    height: int
    rotation: int
    damaged: bool = False
    stamps: Stamps = field(repr=False, default_factory=Stamps)


@dataclass(frozen=True, slots=True)
class RedactedFrame:
    """A picture covered as ``cover`` says. Only ``redact`` builds it (a test keeps that); encoders want it."""

    id: FrameId
    picture: Picture = field(repr=False)
    width: int
    height: int
    rotation: int
    cover: Cover
    stamps: Stamps = field(repr=False, default_factory=Stamps)
