"""Which detection in one look is the same object as which in the next."""

from __future__ import annotations

from collections.abc import Sequence

from streamproc.model.detection import Detection
from streamproc.model.geometry import Box, iou

_MIN_IOU = 0.1
# Two boxes that no longer touch are still the same object if their centres lie within this share of their mean size
# and neither is much larger: at five looks a second a passing face moves about its own width.
_MAX_DISTANCE = 1.2
_MAX_AREA_RATIO = 2.5


def match(before: Sequence[Detection], after: Sequence[Detection]) -> list[tuple[int, int]]:
    """Pairs of indices (into ``before``, into ``after``), each index at most once, best pairs first.

    Only detections of one kind are paired. What is left over appeared or disappeared in between.
    """
    scored = [
        (score, i, j)
        for i, a in enumerate(before)
        for j, b in enumerate(after)
        if a.kind == b.kind and (score := _likeness(a.box, b.box)) > 0
    ]
    pairs: list[tuple[int, int]] = []
    used_before: set[int] = set()
    used_after: set[int] = set()
    for _, i, j in sorted(scored, key=lambda s: (-s[0], s[1], s[2])):
        if i not in used_before and j not in used_after:
            used_before.add(i)
            used_after.add(j)
            pairs.append((i, j))
    return pairs


def _likeness(a: Box, b: Box) -> float:
    """Above 1 for boxes that overlap (1 + IoU), in (0, 1) for near ones, 0 for boxes that cannot be one object."""
    overlap = iou(a, b)
    if overlap >= _MIN_IOU:
        return 1.0 + overlap
    if a.area <= 0 or b.area <= 0 or max(a.area, b.area) > _MAX_AREA_RATIO * min(a.area, b.area):
        return 0.0
    dx = abs((a.left + a.right) - (b.left + b.right)) / (a.width + b.width)
    dy = abs((a.top + a.bottom) - (b.top + b.bottom)) / (a.height + b.height)
    distance = max(dx, dy)
    return 1.0 - distance / _MAX_DISTANCE if distance < _MAX_DISTANCE else 0.0
