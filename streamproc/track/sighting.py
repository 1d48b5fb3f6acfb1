"""Where an object may be at a moment at which nobody looked, from one sighting of it."""

from __future__ import annotations

from dataclasses import dataclass

from streamproc.model.detection import Detection
from streamproc.model.geometry import Box

# Nobody knows where an object went: its box grows each way by this share of its size per second.
_GROWTH_PER_S = 1.0
# An object that was seen once may be on the way in any direction: faster at first, up to this share.
_UNKNOWN_GROWTH_PER_S = 3.0
_UNKNOWN_GROWTH = 0.6
# Most of those come and go across the border of the picture, if one is within that many sizes.
_BORDER_PER_S = 6.0
_BORDER_WITHIN = 1.5
# Times between two sightings, µs: below the first they show no motion, up to the second not motion alone.
_NO_MOTION_US = 20_000
_SURE_MOTION_US = 150_000


@dataclass(frozen=True, slots=True)
class Drift:
    """How the four edges of a box move, in shares of the picture per second."""

    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0


@dataclass(frozen=True, slots=True)
class Sighting:
    """An object at the last look that saw it.

    Attributes:
        drift: How it moved up to then; None if it was seen only once.
        explained: It is known why it came or went, and that was not across a border of the picture.
    """

    detection: Detection
    seen_us: int
    drift: Drift | None = None
    explained: bool = False

    def reach(self, time_us: int) -> Box:
        """Where it may be at ``time_us``: still here, or moved on as it did, or anything between; not clipped."""
        here = box = self.detection.box
        s = abs(time_us - self.seen_us) / 1_000_000
        grow = _GROWTH_PER_S * s
        if self.drift is None:
            grow = max(grow, min(_UNKNOWN_GROWTH_PER_S * s, _UNKNOWN_GROWTH))
            if not self.explained:
                box = _towards_border(here, _BORDER_PER_S * s)
        elif time_us > self.seen_us:
            box = box.hull(_moved(here, self.drift, s))
        dx, dy = here.width * grow, here.height * grow
        return box.hull(Box(box.left - dx, box.top - dy, box.right + dx, box.bottom + dy))


def drift(before: Sighting, box: Box, time_us: int) -> Drift | None:
    """How the object of ``before`` moved, if at ``time_us`` it is at ``box``; None if that cannot be said."""
    apart_us = time_us - before.seen_us
    if apart_us < _NO_MOTION_US:
        return before.drift
    here, s = before.detection.box, apart_us / 1_000_000
    new = Drift(
        (box.left - here.left) / s,
        (box.top - here.top) / s,
        (box.right - here.right) / s,
        (box.bottom - here.bottom) / s,
    )
    if before.drift is None or apart_us >= _SURE_MOTION_US:
        return new
    # Detectors are not exact, and over a short time that looks like speed.
    old, much = before.drift, apart_us / _SURE_MOTION_US
    return Drift(
        old.left + (new.left - old.left) * much,
        old.top + (new.top - old.top) * much,
        old.right + (new.right - old.right) * much,
        old.bottom + (new.bottom - old.bottom) * much,
    )


def predicted(sighting: Sighting, time_us: int) -> Box:
    """Where the object is at ``time_us`` if it moves on as it did."""
    s = (time_us - sighting.seen_us) / 1_000_000
    return _moved(sighting.detection.box, sighting.drift or Drift(), s)


def _moved(box: Box, by: Drift, s: float) -> Box:
    return Box(box.left + by.left * s, box.top + by.top * s, box.right + by.right * s, box.bottom + by.bottom * s)


def _towards_border(box: Box, share: float) -> Box:
    """The box drawn out by ``share`` of its size towards the nearest border, if one is near."""
    w, h = box.width, box.height
    gaps = (box.left / w, box.top / h, (1 - box.right) / w, (1 - box.bottom) / h) if w > 0 and h > 0 else ()
    nearest = min(gaps, default=_BORDER_WITHIN)
    if nearest >= _BORDER_WITHIN:
        return box
    side = gaps.index(nearest)
    return Box(
        box.left - w * share if side == 0 else box.left,
        box.top - h * share if side == 1 else box.top,
        box.right + w * share if side == 2 else box.right,
        box.bottom + h * share if side == 3 else box.bottom,
    )
