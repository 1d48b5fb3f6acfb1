"""Detections on every frame become a reference: which of them are one face, and which are none.

A detector misses faces on single frames and sees some where there are none. A face is believed if it was seen with
confidence in a few frames; it is followed through weaker ones, and through short gaps, which are filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from streamproc.batch.reference import DETECTED, FILLED, WEAK, Face, Reference
from streamproc.model.detection import Detection
from streamproc.model.geometry import Box, iou

_SURE = 0.5
_FEWEST_SURE = 3  # frames in which a face was seen with that confidence
_LONGEST_GAP = 5  # frames
_SAME_IOU = 0.2
_SAME_DISTANCE = 0.6  # between the centres, in sizes of the larger box
_SAME_SIZE = 1.8


@dataclass(slots=True)
class _Track:
    frames: list[int] = field(default_factory=list)
    found: list[Detection] = field(default_factory=list)


def link(seen: Sequence[Sequence[Detection]], cuts: Sequence[int], width: int, height: int, fps: float) -> Reference:
    """The reference that follows from what a detector saw in each frame.

    Args:
        cuts: Frames that show another scene than the one before; no face is followed across.
        width, height: Of the coded picture, in pixels.
        fps: Frames per second on average, more than 0.
    """
    tracks: list[_Track] = []
    alive: list[_Track] = []
    starts = set(cuts)
    for index, detections in enumerate(seen):
        alive = [] if index in starts else [t for t in alive if index - t.frames[-1] <= _LONGEST_GAP + 1]
        left = list(range(len(detections)))
        pairs = [
            (-_likeness(track.found[-1].box, detections[j].box), i, j) for i, track in enumerate(alive) for j in left
        ]
        taken: set[int] = set()
        for likeness, i, j in sorted(pairs):
            if likeness < 0 and i not in taken and j in left:
                taken.add(i)
                left.remove(j)
                alive[i].frames.append(index)
                alive[i].found.append(detections[j])
        for j in left:
            alive.append(_Track([index], [detections[j]]))
            tracks.append(alive[-1])
    believed = [t for t in tracks if sum(d.confidence >= _SURE for d in t.found) >= _FEWEST_SURE]
    frames: list[list[Face]] = [[] for _ in seen]
    for number, track in enumerate(believed):
        for index, face in _faces(track, number):
            frames[index].append(face)
    return Reference(width, height, fps, tuple(map(tuple, frames)))


def _likeness(a: Box, b: Box) -> float:
    """Above 0 if these may be one face in frames that nearly follow each other; the more, the likelier."""
    overlap = iou(a, b)
    if overlap >= _SAME_IOU:
        return 1.0 + overlap
    wide, high = max(a.width, b.width), max(a.height, b.height)
    if wide > _SAME_SIZE * min(a.width, b.width) or high > _SAME_SIZE * min(a.height, b.height):
        return 0.0
    dx = abs((a.left + a.right) - (b.left + b.right)) / 2 / wide
    dy = abs((a.top + a.bottom) - (b.top + b.bottom)) / 2 / high
    return max(0.0, _SAME_DISTANCE - max(dx, dy))


def _faces(track: _Track, number: int) -> list[tuple[int, Face]]:
    """Its face in each frame from the first to the last, gaps filled on straight lines."""
    made: list[tuple[int, Face]] = []
    for i, (index, found) in enumerate(zip(track.frames, track.found, strict=True)):
        if i:
            before, last = track.found[i - 1], track.frames[i - 1]
            for gap in range(last + 1, index):
                box = before.box.between(found.box, (gap - last) / (index - last))
                made.append((gap, Face(number, box, min(before.confidence, found.confidence), FILLED)))
        kind = DETECTED if found.confidence >= _SURE else WEAK
        made.append((index, Face(number, found.box, found.confidence, kind)))
    return made
