"""Where two looks do not agree, one more between them is worth its price: which frame to ask about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamproc.model.geometry import Box
from streamproc.track.matching import distance
from streamproc.track.paths import Path, Step

# Ways from both sides that stand further apart than this, in sizes of the object, are not the same way.
_APART = 0.30
# An object lower than this share of the picture is not worth a question: at 720p it has 20 pixels.
_LEAST_HEIGHT = 0.03


@dataclass(frozen=True, slots=True)
class Ends:
    """What the looks at both ends of an interval say.

    Attributes:
        alone: Boxes that were seen at one end, and not at the other.
        lost: Boxes that were seen at both, but could not be followed from one to the other.
        both: The ways of the rest, onward from the first frame and backward from the last.
    """

    alone: Sequence[Box] = ()
    lost: Sequence[Box] = ()
    both: Sequence[tuple[Path, Path]] = ()


def question(steps: Sequence[Step], ends: Ends, least_us: int) -> int | None:
    """Index of the frame to ask about, None if the ends agree or stand too close for another look between them.

    Args:
        steps: The frames of the interval with both ends, in order of time.
        least_us: No two looks stand closer than this; 0 asks nothing.
    """
    begin_us, end_us = steps[0].time_us, steps[-1].time_us
    inside = [i for i, s in enumerate(steps) if least_us <= s.time_us - begin_us and least_us <= end_us - s.time_us]
    if least_us <= 0 or not inside:
        return None
    if any(box.height >= _LEAST_HEIGHT for box in (*ends.alone, *ends.lost)):
        return min(inside, key=lambda i: abs(2 * steps[i].time_us - begin_us - end_us))
    worst, at = max(((_apart(pair, i), i) for i in inside for pair in ends.both), default=(0.0, 0))
    return at if worst > _APART else None


def _apart(ways: tuple[Path, Path], at: int) -> float:
    a, b = ways[0].boxes[at], ways[1].boxes[-1 - at]
    return 0.0 if a.empty or b.empty or max(a.height, b.height) < _LEAST_HEIGHT else distance(a, b)
