"""Where one segment ends and the next begins, and where the output's timeline breaks. Without codec or clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from streamproc.model.frame import FrameId

# A segment may grow by this much to end where a fragment ends, so that no sliver is left over; not where fragments are
# longer than that anyway.
_STRETCH = 1.25
# Frames further apart than this, and than this many frame lengths, have a hole between them.
_GAP_US = 500_000
_GAP_FRAMES = 2.5
_DEFAULT_FRAME_US = 33_333


class Cut(Enum):
    """What must happen before a frame is added."""

    NONE = "none"
    SEGMENT = "segment"  # a new segment, the timeline goes on
    DISCONTINUITY = "discontinuity"  # a new segment, and the player must be told (RFC 8216, 4.3.2.3)


@dataclass(frozen=True, slots=True)
class Shape:
    """What may not change within a segment."""

    width: int
    height: int
    rotation: int
    format: str


class Segmenter:
    """Decides the cuts of one stream.

    Args:
        seconds: Wanted length of a segment.
    """

    def __init__(self, seconds: float) -> None:
        self._target_us = round(seconds * 1_000_000)
        self._first_us: int | None = None
        self._last_us: int | None = None
        self._shape: Shape | None = None
        self._fragment_start_us = 0
        self._fragment: str | None = None
        self._long_fragments = False
        self._broken = False
        self._step_us = 0
        self.frame_us = _DEFAULT_FRAME_US

    @property
    def open(self) -> bool:
        return self._first_us is not None

    @property
    def end_us(self) -> int | None:
        """Producer time at which the last frame ends, as far as one can know; None before the first frame."""
        return None if self._last_us is None else self._last_us + self.frame_us

    def resume(self, end_us: int) -> None:
        """The last published frame ended at ``end_us``, before this process was born."""
        self._last_us = end_us - self.frame_us

    def mark_gap(self) -> None:
        """Something between the last frame and the next is known to be lost."""
        self._broken = True

    def before(self, frame: FrameId, shape: Shape) -> Cut:
        """What must happen before this frame is added."""
        if self._breaks(frame.time_us) or (self._shape is not None and shape != self._shape):
            return Cut.DISCONTINUITY
        longest_us = self._target_us if self._long_fragments else self._target_us * _STRETCH
        if self._first_us is not None and frame.time_us - self._first_us >= longest_us:
            return Cut.SEGMENT
        return Cut.NONE

    def add(self, frame: FrameId, shape: Shape) -> None:
        """The frame was added, after the cut that :meth:`before` asked for."""
        if self._last_us is not None:
            step = frame.time_us - self._last_us
            if step and not self._breaks(frame.time_us):
                self.frame_us = step
            self._step_us = max(0, step)
        if self._fragment != frame.fragment.number:
            if self._fragment is not None and self._last_us is not None:
                self._long_fragments = self._last_us - self._fragment_start_us >= self._target_us * _STRETCH
            self._fragment, self._fragment_start_us = frame.fragment.number, frame.time_us
        elif frame.time_us - self._fragment_start_us >= self._target_us * _STRETCH:
            self._long_fragments = True
        if self._first_us is None:
            self._first_us = frame.time_us
        self._last_us, self._shape, self._broken = frame.time_us, shape, False

    def ends_with_fragment(self) -> bool:
        """Whether the segment ends here, where a fragment is over.

        It does when it is long enough, and also when another fragment of this length would make it too long; unless it
        is still shorter than half of what is wanted.
        """
        if self._first_us is None or self.end_us is None:
            return False
        length = self.end_us - self._first_us
        fragment = self.end_us - self._fragment_start_us
        if length >= self._target_us - self.frame_us:
            return True
        return length * 2 >= self._target_us and length + fragment > self._target_us * _STRETCH

    def closed(self) -> None:
        """The open segment was closed."""
        self._first_us = None

    def _breaks(self, time_us: int) -> bool:
        if self._last_us is None:
            return False
        step = time_us - self._last_us
        # The step before counts even if it was a hole itself: where steps are alike, the camera is just slow. Some
        # cameras give several frames one time; that is no break.
        return self._broken or step < 0 or step > max(_GAP_US, max(self.frame_us, self._step_us) * _GAP_FRAMES)
