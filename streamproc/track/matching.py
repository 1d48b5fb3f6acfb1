"""Which detection in one look is the same object as which in the next, and which might be."""

from __future__ import annotations

from collections.abc import Sequence

from streamproc.model.detection import Detection
from streamproc.model.geometry import Box, iou

# Two neighbours that a detector sees in turn overlap less than this, and a thing that moves on overlaps more.
SAME_IOU = 0.5
# What left one place and came to another might be one object: if it moved no faster than this (in its own sizes, per
# second and at most in all) and is not much larger. The face (0.15 m) of somebody who walks past at 1.4 m/s moves 9.
_FASTEST_PER_S = 12.0
_FARTHEST = 5.0
_MAX_SIZE_RATIO = 1.8  # of widths and of heights: about 3 of areas
_AT_BORDER = 0.005


def match(before: Sequence[Detection], after: Sequence[Detection]) -> list[tuple[int, int]]:
    """Pairs of indices (into ``before``, into ``after``) that are one object for sure, each index at most once.

    Only detections of one kind that overlap well are paired, the best pairs first. What is left over appeared,
    disappeared or moved far in between.
    """
    scored = [
        (overlap, i, j)
        for i, a in enumerate(before)
        for j, b in enumerate(after)
        if a.kind == b.kind and (overlap := iou(a.box, b.box)) >= SAME_IOU
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


def might_be_one(before: Detection, after: Detection, apart_us: int) -> bool:
    """Whether an object seen first as ``before`` and ``apart_us`` later as ``after`` could have moved that far."""
    a, b = before.box, after.box
    if before.kind != after.kind or a.empty or b.empty:
        return False
    # A box cut by the border of the picture says nothing about the size of its object.
    cut_x = any(box.left <= _AT_BORDER or box.right >= 1 - _AT_BORDER for box in (a, b))
    cut_y = any(box.top <= _AT_BORDER or box.bottom >= 1 - _AT_BORDER for box in (a, b))
    if not (cut_x or _alike(a.width, b.width)) or not (cut_y or _alike(a.height, b.height)):
        return False
    return distance(a, b) <= min(_FARTHEST, _FASTEST_PER_S * apart_us / 1_000_000)


def distance(a: Box, b: Box) -> float:
    """Between the centres, in sizes of the larger box; the larger of across and down."""
    dx = abs((a.left + a.right) - (b.left + b.right)) / (2 * max(a.width, b.width))
    dy = abs((a.top + a.bottom) - (b.top + b.bottom)) / (2 * max(a.height, b.height))
    return max(dx, dy)


def _alike(a: float, b: float) -> bool:
    return max(a, b) <= _MAX_SIZE_RATIO * min(a, b)
