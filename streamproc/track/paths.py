"""The way of boxes over the frames between two looks. Plain values; what moves is asked of a :class:`Motion`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from streamproc.model.geometry import Box

# Steps between frames that are compared. At 30 fps every other frame: half the work, and the motion of 1/15 s is
# followed as well; between them boxes are interpolated.
_STEP_US = 50_000


@dataclass(frozen=True, slots=True)
class Carried:
    """A box in another frame; it may reach beyond the picture.

    Attributes:
        confidence: Share of it that is known to have gone there, 0 to 1.
    """

    box: Box
    confidence: float


class Motion(Protocol):
    """What is known of how the contents of frames move."""

    def carry(self, ticket: int, to: int, boxes: Sequence[Box]) -> list[Carried]:
        """Where the boxes of one frame are in another that is near in time."""

    def still(self, ticket: int, to: int) -> bool:
        """Whether the one frame looks much like the other: the camera stood, and nothing large moved."""

    def sway(self) -> Motion:
        """What is known of how the picture as a whole moves: far cheaper, and the same for all boxes."""


class Blind:
    """Knows nothing of motion."""

    def carry(self, ticket: int, to: int, boxes: Sequence[Box]) -> list[Carried]:
        """The boxes as they are, without confidence."""
        return [Carried(box, 0.0) for box in boxes]

    def still(self, ticket: int, to: int) -> bool:
        """Never known."""
        return False

    def sway(self) -> Motion:
        """Nothing either."""
        return self


@dataclass(frozen=True, slots=True)
class Step:
    """A frame on the way."""

    ticket: int
    time_us: int


@dataclass(frozen=True, slots=True)
class Path:
    """One box over a row of frames, the one it was seen in first.

    Attributes:
        confidences: At each frame the lowest on the way there.
    """

    boxes: tuple[Box, ...]
    confidences: tuple[float, ...]


def paths(motion: Motion, steps: Sequence[Step], boxes: Sequence[Box]) -> list[Path]:
    """The ways of boxes of the first of these frames over all of them, in their order: forward or backward in time."""
    if not boxes:
        return []
    rows: list[list[Carried]] = [[Carried(box, 1.0) for box in boxes]]
    at = 0
    for knot in _knots(motion, steps):
        near = rows[at]
        far = [
            Carried(new.box, min(old.confidence, new.confidence))
            for old, new in zip(
                near, motion.carry(steps[at].ticket, steps[knot].ticket, [c.box for c in near]), strict=True
            )
        ]
        for between in range(at + 1, knot):
            share = (between - at) / (knot - at)
            rows.append([Carried(a.box.between(b.box, share), b.confidence) for a, b in zip(near, far, strict=True)])
        rows.append(far)
        at = knot
    columns = zip(*rows, strict=True)
    return [Path(tuple(c.box for c in column), tuple(c.confidence for c in column)) for column in columns]


def _knots(motion: Motion, steps: Sequence[Step]) -> list[int]:
    """Indices of the frames that are compared, each with the one before; the last frame is one of them."""
    found = [0]
    for index, step in enumerate(steps[1:], 1):
        last = steps[found[-1]]
        moves = not motion.still(last.ticket, step.ticket)
        if moves and found[-1] < index - 1:  # nothing moved up to the frame before
            found.append(index - 1)
        if moves or abs(step.time_us - last.time_us) >= _STEP_US or index == len(steps) - 1:
            found.append(index)
    return found[1:]
