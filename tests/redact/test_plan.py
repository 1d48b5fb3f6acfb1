"""Laws of the rectangles: whole even pixels, never smaller than the region, rounded shapes hold it all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.model.frame import Decision, Region
from streamproc.model.geometry import Box
from streamproc.redact.effects import Effect, PixelRect
from streamproc.redact.plan import places


def rects(regions: list[Region], width: int, height: int, shape: str) -> list[PixelRect]:
    return [rect for rect, _ in places(regions, width, height, Effect(shape=shape))]


edges = st.floats(0, 1)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    left, right = sorted((draw(edges), draw(edges)))
    top, bottom = sorted((draw(edges), draw(edges)))
    return Box(left, top, right, bottom)


def region(box: Box) -> Region:
    return Region(box, "face", Decision.SEEN)


@given(
    st.lists(boxes(), max_size=5), st.integers(1, 4000), st.integers(1, 4000), st.sampled_from(["ellipse", "rectangle"])
)
def test_rectangles_have_even_edges_hold_their_region_and_come_largest_first(
    found: list[Box], width: int, height: int, shape: str
) -> None:
    planned = rects([region(b) for b in found], width, height, shape)
    assert len(planned) == sum(not b.empty for b in found)
    areas = [(r.x1 - r.x0) * (r.y1 - r.y0) for r in planned]
    assert areas == sorted(areas, reverse=True)
    assert all(edge % 2 == 0 for r in planned for edge in (r.x0, r.y0, r.x1, r.y1))
    assert all(r.x1 - r.x0 >= 8 and r.y1 - r.y0 >= 8 for r in planned)
    for box in found:
        if not box.empty:
            assert any(
                r.x0 <= box.left * width
                and r.y0 <= box.top * height
                and r.x1 >= box.right * width
                and r.y1 >= box.bottom * height
                for r in planned
            )


@given(boxes(), st.integers(16, 2000), st.integers(16, 2000))
def test_rectangle_is_no_larger_than_it_must_be(box: Box, width: int, height: int) -> None:
    for shape, factor in (("rectangle", 1.0), ("ellipse", 1.19)):
        for r in rects([region(box)], width, height, shape):
            assert r.x1 - r.x0 <= factor * max(12, box.width * width + 4) + 4
            assert r.y1 - r.y0 <= factor * max(12, box.height * height + 4) + 4


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param(Box(0.1, 0.1, 0.3, 0.4), (16, 12, 48, 48), id="even"),
        pytest.param(Box(0.11, 0.11, 0.29, 0.39), (16, 12, 48, 48), id="outward"),
        pytest.param(Box(0.0, 0.0, 0.01, 0.01), (-4, -4, 6, 6), id="tiny-at-the-border"),
        pytest.param(Box(0.0, 0.0, 1.0, 1.0), (0, 0, 160, 120), id="everything"),
    ],
)
def test_rectangle_of_a_case(box: Box, expected: tuple[int, int, int, int]) -> None:
    (r,) = rects([region(box)], 160, 120, "rectangle")
    assert (r.x0, r.y0, r.x1, r.y1) == expected
