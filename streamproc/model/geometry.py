"""Boxes in a picture, in shares of its width and height."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-parallel rectangle; edges are shares of the picture's width and height.

    ``0 <= left < right <= 1`` once clipped; a detector may answer with edges outside of that. The right and bottom
    edges are exclusive.
    """

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        """Area as a share of the picture's; 0 for an empty box."""
        return max(0.0, self.width) * max(0.0, self.height)

    @property
    def empty(self) -> bool:
        return not (self.right > self.left and self.bottom > self.top)

    def clip(self) -> Box:
        """The part inside the picture; may be empty."""
        return Box(_unit(self.left), _unit(self.top), _unit(self.right), _unit(self.bottom))

    def enlarge(self, margin: float) -> Box:
        """Width and height times ``1 + margin`` about the same centre (0.1 is "10 % larger"); not clipped."""
        dx, dy = self.width * margin / 2, self.height * margin / 2
        return Box(self.left - dx, self.top - dy, self.right + dx, self.bottom + dy)

    def hull(self, other: Box) -> Box:
        """The smallest box that holds both."""
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def between(self, other: Box, share: float) -> Box:
        """Linear interpolation: ``self`` at share 0, ``other`` at share 1."""
        keep = 1.0 - share
        return Box(
            self.left * keep + other.left * share,
            self.top * keep + other.top * share,
            self.right * keep + other.right * share,
            self.bottom * keep + other.bottom * share,
        )

    def intersection(self, other: Box) -> float:
        """Area of the common part, as a share of the picture's."""
        w = min(self.right, other.right) - max(self.left, other.left)
        h = min(self.bottom, other.bottom) - max(self.top, other.top)
        return w * h if w > 0 and h > 0 else 0.0

    def contains(self, other: Box, slack: float = 1e-9) -> bool:
        """Whether ``other`` lies inside this box."""
        return (
            self.left <= other.left + slack
            and self.top <= other.top + slack
            and self.right >= other.right - slack
            and self.bottom >= other.bottom - slack
        )


WHOLE_PICTURE = Box(0.0, 0.0, 1.0, 1.0)


def iou(a: Box, b: Box) -> float:
    """Intersection over union in [0, 1]: how much two boxes are the same. For matching."""
    common = a.intersection(b)
    union = a.area + b.area - common
    return common / union if union > 0 else 0.0


def ioa(covered: Box, cover: Box) -> float:
    """Share of ``covered`` that lies in ``cover``, in [0, 1]. For redaction: 1.0 means hidden.

    An empty ``covered`` box counts as 1.0: there is nothing left to hide.
    """
    return covered.intersection(cover) / covered.area if covered.area > 0 else 1.0


def _unit(edge: float) -> float:
    return min(1.0, max(0.0, edge))
