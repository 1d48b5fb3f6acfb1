"""What a detector says about one looked-at picture: seen, or failed. A failure is never an empty list."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from streamproc.model.geometry import Box


@dataclass(frozen=True, slots=True)
class Detection:
    """One object in one looked-at picture.

    Attributes:
        box: In shares of the picture, clipped to it.
        kind: What it is: ``face``, ``plate``, ``person``. Never who it is or what it says.
        confidence: In [0, 1].
    """

    box: Box
    kind: str = "face"
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Seen:
    """The detector has looked: these objects, and no others."""

    detections: tuple[Detection, ...] = ()


class Failure(Enum):
    """Why a look gave no answer. The frames that needed it are covered whole."""

    THROTTLED = "throttled"
    FAILED = "failed"  # refused, 5xx, connection lost
    LATE = "late"  # no answer before the frame's deadline
    NONSENSE = "nonsense"  # an answer that cannot be true
    SHED = "shed"  # never sent: no room before the deadline, or no budget


@dataclass(frozen=True, slots=True)
class Failed:
    """The detector has not looked, or nobody knows what it saw."""

    reason: Failure


Answer = Seen | Failed
