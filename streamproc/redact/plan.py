"""Where exactly to cover: regions in shares of the picture become rectangles of whole pixels, never smaller."""

from __future__ import annotations

import math
from collections.abc import Iterable

from streamproc.model.frame import Region
from streamproc.model.geometry import Box
from streamproc.redact.effects import Effect, PixelRect

# The rounded shape |x|^4 + |y|^4 <= 1 holds a box whose half sides are this share of its own.
_ROUNDED_HOLDS = 0.5**0.25
_SMALLEST_PX = 8


def places(regions: Iterable[Region], width: int, height: int, effect: Effect) -> list[tuple[PixelRect, Effect]]:
    """Each rectangle to cover and how, largest first, so that a small one inside a large one is covered last.

    Edges are rounded outward to even pixels. For a rounded shape the rectangle grows so that the shape inside it
    holds the whole region; it may then reach beyond the picture.

    Args:
        effect: Knows what each kind of object is covered with.
    """
    found = [(r.box, effect.of(r.kind)) for r in regions if not r.box.empty]
    planned = [(_rect(box, width, height, its.shape), its) for box, its in found]
    return sorted(planned, key=lambda place: -_area(place[0]))


def _area(r: PixelRect) -> int:
    return (r.x1 - r.x0) * (r.y1 - r.y0)


def _rect(box: Box, width: int, height: int, shape: str) -> PixelRect:
    x0, x1 = _span(box.left * width, box.right * width)
    y0, y1 = _span(box.top * height, box.bottom * height)
    if shape == "ellipse":
        # From the whole pixels and evenly on both sides: a shape off the region's centre would cut its corners.
        dx, dy = _extra(x1 - x0), _extra(y1 - y0)
        return PixelRect(x0 - dx, y0 - dy, x1 + dx, y1 + dy)
    return PixelRect(x0, y0, x1, y1)


def _extra(length: int) -> int:
    """Even pixels to add on each side so that the rounded shape holds all of ``length``."""
    return math.ceil(length / 2 * (1 / _ROUNDED_HOLDS - 1) / 2) * 2


def _span(low: float, high: float) -> tuple[int, int]:
    """Outward to even pixels, and at least a few of them."""
    if high - low < _SMALLEST_PX:
        middle = (low + high) / 2
        low, high = middle - _SMALLEST_PX / 2, middle + _SMALLEST_PX / 2
    return math.floor(low / 2) * 2, math.ceil(high / 2) * 2
