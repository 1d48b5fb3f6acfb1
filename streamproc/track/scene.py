"""Cuts: where a picture follows another that has nothing to do with it, so that nothing can be carried across."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]

_WIDTH = 160
# Measured on recordings: cuts score up to 0.79 in the last test, the worst shaken and panned pictures from 0.80 on.
_CHANGED = 6.0  # grey levels, mean
_ALIKE = 0.75  # correlation
_MOVED_ALIKE = 0.80
_BLOCKS = 40
_UNCHANGED = 10.0  # grey levels; with 15, somebody who comes in slowly is missed for a second
_FLAT = 4.0  # grey levels, deviation: below, correlation is noise


def thumbnail(luma: Luma) -> Luma:
    """The luma plane, 160 wide; a copy. Best made from a plane that is small already."""
    height, width = luma.shape
    size = (_WIDTH, max(8, round(_WIDTH * height / width)))
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)


def is_cut(before: Luma, after: Luma) -> bool:
    """Whether the scene changes between two thumbnails of frames that follow each other.

    A camera that is moved, however fast, is no cut: parts of the one picture are found again in the other.
    """
    if before.shape != after.shape:
        return True
    if cv2.norm(before, after, cv2.NORM_L1) <= _CHANGED * before.size or _found(before, after) >= _ALIKE:
        return False
    height, width = before.shape
    half, wide = height // 2, width // 2
    places = [(0, 0), (0, width - wide), (height - half, 0), (height - half, width - wide), (height // 4, width // 4)]
    return all(_found(before[y : y + half, x : x + wide], after) < _MOVED_ALIKE for y, x in places)


def is_unchanged(before: Luma, after: Luma) -> bool:
    """Whether nothing of the size of a face that matters has changed between two thumbnails, however far apart in time.

    Compared by blocks of a fortieth of the width; a change of light of the whole picture does not count.
    """
    if before.shape != after.shape:
        return False
    size = (_BLOCKS, max(2, round(_BLOCKS * before.shape[0] / before.shape[1])))
    a, b = (np.asarray(cv2.resize(p, size, interpolation=cv2.INTER_AREA), np.float32) for p in (before, after))
    change = b - a
    change -= np.median(change)
    return float(np.abs(cv2.blur(change, (2, 2))).max()) <= _UNCHANGED


def _found(part: Luma, picture: Luma) -> float:
    """The best correlation of the part with any place of the picture; 0 for a part without structure."""
    if part.std() < _FLAT:
        return 0.0
    scores = cv2.matchTemplate(picture, part, cv2.TM_CCOEFF_NORMED)
    return float(np.max(scores, where=np.isfinite(scores) & (np.abs(scores) <= 1.001), initial=-1.0))
