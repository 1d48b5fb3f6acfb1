"""What a covered place looks like: blur, gaussian, pixelate or solid, in place on the planes of a YUV 4:2:0 picture.

Strength is relative to the object: whatever its size in pixels, only so many cells survive across it. A blur of fixed
radius leaves large faces recognisable, and a plain Gaussian can be undone as far as its rounding to whole levels lets
it (Revelio, 2025): so ``blur`` averages first, and ``gaussian`` is for those who ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.settings import MOST_CELLS

Plane = NDArray[np.uint8]

_GREY = (126, 128, 128)
# Cells per standard deviation of the Gaussian. It leaves nothing that finer ones would hold.
_SIGMA_CELLS = 3
# Luma pixels. In smaller cells, or under a narrower Gaussian, a face of 40 to 80 px stays one for a detector.
_LEAST_CELL_PX = 32
_LEAST_SIGMA_PX = 12


@dataclass(frozen=True, slots=True)
class Effect:
    """How to cover.

    Attributes:
        kind: ``blur`` (cells, then smooth), ``gaussian``, ``pixelate`` (cells) or ``solid`` (grey).
        shape: ``rectangle``, or ``ellipse``: a rounded shape that holds the whole region.
        cells: For blur and pixelate: cells across the longer side of the region, from 2; fewer where they would be
            smaller than 32 pixels. The settings refuse more than ``MOST_CELLS``.
        sigma: For gaussian: its standard deviation as a share of the longer side of the region, above 0; at least
            12 pixels. The settings refuse less than ``LEAST_SIGMA``.
        plates: The ``kind`` for licence plates.
    """

    kind: str = "blur"
    shape: str = "ellipse"
    cells: int = 4
    sigma: float = 0.2
    plates: str = "solid"

    def of(self, kind: str) -> Effect:
        """How to cover this kind of object. A plate is a rectangle, and covered as one."""
        return replace(self, kind=self.plates, shape="rectangle") if kind == "plate" else self


@dataclass(frozen=True, slots=True)
class PixelRect:
    """A region in luma pixels, max edges exclusive. All edges are even, so that it is the same in the chroma planes.

    It may reach beyond the picture: a rounded shape must not be squeezed by the border that cuts its object.
    """

    x0: int
    y0: int
    x1: int
    y1: int


def cover(planes: tuple[Plane, Plane, Plane], rect: PixelRect, effect: Effect) -> None:
    """Cover one region. Nothing outside of ``rect`` changes.

    Args:
        planes: Y of shape (height, width), U and V of half of that, rounded up; written in place.
    """
    height, width = planes[0].shape
    for index, plane in enumerate(planes):
        scale = 1 if index == 0 else 2
        x0, y0 = max(0, rect.x0) // scale, max(0, rect.y0) // scale
        x1, y1 = -(-min(width, rect.x1) // scale), -(-min(height, rect.y1) // scale)
        if x1 <= x0 or y1 <= y0:
            continue
        place = plane[y0:y1, x0:x1]
        covered = _covered(place, effect, _GREY[index], scale)
        if effect.shape == "ellipse":
            mask = _rounded((rect.y1 - rect.y0) // scale, (rect.x1 - rect.x0) // scale)
            top, left = y0 - rect.y0 // scale, x0 - rect.x0 // scale
            cv2.copyTo(covered, mask[top : top + y1 - y0, left : left + x1 - x0], place)
        else:
            place[...] = covered


def cover_whole(planes: tuple[Plane, Plane, Plane], effect: Effect) -> None:
    """Cover the whole picture so that not even a face filling it is left: at most ``MOST_CELLS`` on the longer side.

    Instead of gaussian it is blur: where nobody knows what there is to hide, nothing that could be undone will do.
    """
    height, width = planes[0].shape
    kind = "blur" if effect.kind == "gaussian" else effect.kind
    strong = Effect(kind, "rectangle", min(effect.cells, MOST_CELLS))
    cover(planes, PixelRect(0, 0, width, height), strong)


def _covered(place: Plane, effect: Effect, grey: int, scale: int) -> Plane:
    height, width = place.shape
    if effect.kind == "solid":
        return np.full_like(place, grey)
    longer = max(height, width)
    if effect.kind == "gaussian":
        return _gaussian(place, max(effect.sigma, _LEAST_SIGMA_PX / scale / longer))
    most = max(1, min(effect.cells, longer * scale // _LEAST_CELL_PX))
    cells = _means(place, _across(place, most))
    if effect.kind == "pixelate":
        return cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]
    # Smoothed at eight samples a cell: a few levels of difference for a sixth of the time.
    step = max(1, longer // (8 * most))
    small = max(1, width // step), max(1, height // step)
    smooth = cv2.resize(cells, small, interpolation=cv2.INTER_LINEAR)
    # A little more smoothing takes the creases of linear interpolation away; it adds no detail.
    radius = min(max(small) // most // 2, 127) * 2 + 1
    if radius > 1:
        smooth = cv2.stackBlur(smooth, (radius, radius))
    return cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def _gaussian(place: Plane, sigma: float) -> Plane:
    """Made of cells a third of its deviation wide, which takes the same time for every size."""
    height, width = place.shape
    longer = max(height, width)
    most = max(1, min(longer, round(_SIGMA_CELLS / sigma)))
    cells = _means(place, _across(place, most))
    smooth = cv2.GaussianBlur(cells, (0, 0), sigma * most, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def _across(place: Plane, most: int) -> tuple[int, int]:
    """How many cells stand side by side and on top of each other, with ``most`` on the longer side."""
    height, width = place.shape
    longer = max(height, width)
    return max(1, round(most * width / longer)), max(1, round(most * height / longer))


def _means(place: Plane, across: tuple[int, int]) -> Plane:
    """The mean of each cell, exactly; edges on whole pixels. INTER_AREA takes four to twelve times as long for it."""
    rows, columns = (np.arange(n + 1) * length // n for n, length in zip(across[::-1], place.shape, strict=True))
    bands = [cv2.reduce(place[a:b], 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0] for a, b in pairwise(rows)]
    sums = np.add.reduceat(np.stack(bands), columns[:-1], axis=1, dtype=np.int64)
    areas = np.outer(np.diff(rows), np.diff(columns))
    return ((sums + areas // 2) // areas).astype(np.uint8)  # type: ignore[no-any-return]


@lru_cache(maxsize=64)
def _rounded(height: int, width: int) -> Plane:
    """A mask of the superellipse |x|^4 + |y|^4 <= 1 that touches the rectangle's sides: 1 inside, 0 outside."""
    y = (2 * np.arange(height) + 1 - height) / height
    x = (2 * np.arange(width) + 1 - width) / width
    # The half width of each row first: powers of every pixel would take ten times as long.
    half = (1.0 - y**4) ** 0.25
    mask: Plane = (np.abs(x) <= half[:, np.newaxis]).view(np.uint8)
    return mask
