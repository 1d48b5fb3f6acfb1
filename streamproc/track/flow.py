"""Carrying boxes from frame to frame by what their pixels do: pyramidal Lucas-Kanade on the reduced luma plane.

A grid of points in each box is followed, and followed back; points that do not come home are not believed (Kalal et
al., "Forward-Backward Error", 2010). What is left says how the box shifts and grows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model.geometry import Box
from streamproc.track.paths import Blind, Carried, Motion

Luma = NDArray[np.uint8]
Points = NDArray[np.float32]

_WIDTH = 320
_ROWS = 180
_GRID = 5
_GRID_SHARE = 0.85
_WINDOW = (15, 15)
_LEVELS = 3
_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 12, 0.03)
_LEAST_ERROR_PX, _ERROR_SHARE = 0.5, 0.03
_MOST_SCALE = 0.06
_FEWEST_POINTS = 4
_STILL = 4.0  # grey levels, mean
_SHIFT_RESPONSE = 0.05
_COARSE = 3  # a shift is measured on a plane this much smaller
_LEAST_SHIFT = 1.0  # pixels there


class Flow:
    """The motion of one stream's frames. Implements :class:`~streamproc.track.paths.Motion`.

    Of a frame that is forgotten already nothing is known: it may have been decided because its time was up.
    """

    def __init__(self) -> None:
        self._frames: dict[int, Luma] = {}
        self._shifts: dict[tuple[int, int], tuple[float, float]] = {}

    def frame(self, ticket: int, small: Luma) -> None:
        """The next frame, as :func:`reduced` makes it."""
        self._frames[ticket] = small

    def forget(self, before: int) -> None:
        """Frames with lower tickets will not be asked for any more."""
        for ticket in [t for t in self._frames if t < before]:
            del self._frames[ticket]
        for pair in [p for p in self._shifts if min(p) < before]:
            del self._shifts[pair]

    def carry(self, ticket: int, to: int, boxes: Sequence[Box]) -> list[Carried]:
        """Where the boxes of one frame are in another that is near in time."""
        pair = self._pair(ticket, to)
        if pair is None:
            return Blind().carry(ticket, to, boxes)
        return carry(*pair, boxes, self.shift(ticket, to))

    def sway(self) -> Motion:
        """The motion of the picture as a whole."""
        return _Sway(self)

    def moved(self, ticket: int, to: int) -> float:
        """How far the picture as a whole moved from one frame to the other, in widths of the picture."""
        dx, dy = self.shift(ticket, to)
        return float(math.hypot(dx, dy) / self._frames[ticket].shape[1])

    def moved_by(self, ticket: int, to: int) -> tuple[float, float] | None:
        """The same across and down, in shares of the picture; None if it is not known."""
        if self._pair(ticket, to) is None:
            return None
        (dx, dy), (height, width) = self.shift(ticket, to), self._frames[ticket].shape
        return float(dx / width), float(dy / height)

    def still(self, ticket: int, to: int) -> bool:
        """Whether the one frame looks much like the other."""
        pair = self._pair(ticket, to)
        if pair is None:
            return False
        before, after = pair
        return cv2.norm(before, after, cv2.NORM_L1) <= _STILL * before.size

    def shift(self, ticket: int, to: int) -> tuple[float, float]:
        """The same in pixels of the reduced planes, across and down."""
        pair = self._pair(ticket, to)
        if pair is None or self.still(ticket, to):
            return 0.0, 0.0
        if (to, ticket) in self._shifts:
            dx, dy = self._shifts[to, ticket]
            return -dx, -dy
        if (ticket, to) not in self._shifts:
            self._shifts[ticket, to] = shift(*pair)
        return self._shifts[ticket, to]

    def _pair(self, ticket: int, to: int) -> tuple[Luma, Luma] | None:
        """Both frames, if they are known and of one size."""
        before, after = self._frames.get(ticket), self._frames.get(to)
        return None if before is None or after is None or before.shape != after.shape else (before, after)


class _Sway:
    """Carries all boxes as the picture as a whole moves."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def carry(self, ticket: int, to: int, boxes: Sequence[Box]) -> list[Carried]:
        moved = self._flow.moved_by(ticket, to)
        if moved is None:
            return Blind().carry(ticket, to, boxes)
        dx, dy = moved
        return [Carried(Box(b.left + dx, b.top + dy, b.right + dx, b.bottom + dy), 1.0) for b in boxes]

    def still(self, ticket: int, to: int) -> bool:
        return self._flow.still(ticket, to)

    def sway(self) -> Motion:
        return self


def reduced(luma: Luma) -> Luma:
    """The luma plane of a frame, 320 wide; a copy of about 60 kB."""
    height, width = luma.shape
    size = (_WIDTH, max(16, round(_WIDTH * height / width)))
    rows = luma[:: max(1, height // _ROWS)]  # half the time, and nothing that matters here
    return np.asarray(cv2.resize(rows, size, interpolation=cv2.INTER_AREA), np.uint8)


def shift(before: Luma, after: Luma) -> tuple[float, float]:
    """How the picture as a whole moved, in pixels across and down; (0, 0) if it did not, or if that cannot be said."""
    if before.shape != after.shape:
        return 0.0, 0.0
    a, b = (
        np.asarray(cv2.resize(p, None, fx=1 / _COARSE, fy=1 / _COARSE, interpolation=cv2.INTER_AREA), np.float32)
        for p in (before, after)
    )
    (dx, dy), response = cv2.phaseCorrelate(a, b, _window(*a.shape))
    if response < _SHIFT_RESPONSE or max(abs(dx), abs(dy)) < _LEAST_SHIFT:
        return 0.0, 0.0
    return _COARSE * dx, _COARSE * dy


@lru_cache(maxsize=8)
def _window(height: int, width: int) -> Any:
    return cv2.createHanningWindow((width, height), cv2.CV_32F)


def carry(before: Luma, after: Luma, boxes: Sequence[Box], guess: tuple[float, float] = (0.0, 0.0)) -> list[Carried]:
    """Where these boxes are in ``after``. They may reach beyond the picture, and the results too.

    Args:
        guess: How the picture as a whole moved, in pixels of the reduced planes.
    """
    if not boxes:
        return []
    if before.shape != after.shape:
        return [Carried(box, 0.0) for box in boxes]
    grids = [_grid(box, before) for box in boxes]
    start = np.concatenate(grids)
    end, error = (
        _followed(before, after, start, np.asarray(guess, np.float32))
        if len(start)
        else (start, np.empty(0, np.float32))
    )
    found, at = [], 0
    for box, grid in zip(boxes, grids, strict=True):
        part = slice(at, at + len(grid))
        found.append(_moved(box, before, start[part], end[part], error[part]))
        at += len(grid)
    return found


def _grid(box: Box, picture: Luma) -> Points:
    """Points of the box that lie in the picture."""
    shares = (np.arange(_GRID, dtype=np.float32) + 0.5) / _GRID * _GRID_SHARE + (1 - _GRID_SHARE) / 2
    height, width = picture.shape
    xs, ys = (box.left + box.width * shares) * width, (box.top + box.height * shares) * height
    xs, ys = xs[(xs >= 1) & (xs < width - 1)], ys[(ys >= 1) & (ys < height - 1)]
    return np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2).astype(np.float32)


def _followed(before: Luma, after: Luma, start: Points, guess: Any) -> tuple[Points, Any]:
    """The points in ``after``, and how far from home each ends when it is followed back; infinite if it was lost."""
    there: Any = _track(before, after, start, start + guess)
    back: Any = _track(after, before, there[0], there[0] - guess)
    error = np.abs(back[0] - start).max(axis=1)
    error[(there[1].ravel() == 0) | (back[1].ravel() == 0)] = np.inf
    return there[0], error


def _track(before: Luma, after: Luma, points: Points, guess: Points) -> Any:
    return cv2.calcOpticalFlowPyrLK(
        before,
        after,
        points,
        guess.copy(),
        winSize=_WINDOW,
        maxLevel=_LEVELS,
        criteria=_CRITERIA,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )


def _moved(box: Box, picture: Luma, start: Points, end: Points, error: Any) -> Carried:
    height, width = picture.shape
    size = max(box.width * width, box.height * height)
    good = error <= max(_LEAST_ERROR_PX, _ERROR_SHARE * size)
    count = int(good.sum())
    if count < _FEWEST_POINTS:
        return Carried(box, 0.0)
    best = good & (error <= np.median(error[good]))
    a, b = start[best], end[best]
    shift = np.median(b - a, axis=0)
    middle = a.mean(axis=0)
    a, b = a - middle, b - middle - shift
    off = np.abs(b - a).max(axis=1)
    near = off <= 2.5 * np.median(off) + 1e-3
    spread = float((a[near] ** 2).sum())
    scale = float((a[near] * b[near]).sum()) / spread if spread > 1.0 else 1.0
    scale = min(1 + _MOST_SCALE, max(1 - _MOST_SCALE, scale))
    # About the middle of the points, which is not the box's where a part of it lies outside of the picture.
    mx, my = middle[0] / width, middle[1] / height
    dx, dy = shift[0] / width, shift[1] / height
    moved = Box(
        float(mx + (box.left - mx) * scale + dx),
        float(my + (box.top - my) * scale + dy),
        float(mx + (box.right - mx) * scale + dx),
        float(my + (box.bottom - my) * scale + dy),
    )
    return Carried(moved, count / len(start))
