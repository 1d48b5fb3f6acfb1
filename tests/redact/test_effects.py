"""Laws of the effects: exactly the shapes change, and of what was there only a few means survive."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamproc.model.frame import Decision, Region
from streamproc.model.geometry import Box
from streamproc.redact.effects import Effect, PixelRect, Plane, cover, cover_whole
from streamproc.redact.plan import rects

Planes = tuple[Plane, Plane, Plane]
KINDS = ("blur", "pixelate", "solid")
SHAPES = ("ellipse", "rectangle")
effects = st.builds(Effect, st.sampled_from(KINDS), st.sampled_from(SHAPES), st.integers(2, 8))


def picture(width: int, height: int, seed: int = 0, padding: int = 0) -> Planes:
    """Noise that holds none of the greys of ``solid``; rows are wider than the picture, as a decoder's are."""
    random = np.random.default_rng(seed)
    sizes = [(height, width), *[((height + 1) // 2, (width + 1) // 2)] * 2]
    y, u, v = (random.integers(0, 120, (h, w + padding), np.uint8)[:, :w] for h, w in sizes)
    return y, u, v


def copied(planes: Planes) -> Planes:
    y, u, v = (p.copy() for p in planes)
    return y, u, v


def inside(planned: list[PixelRect], shape: str, width: int, height: int) -> NDArray[np.bool_]:
    """Fields of 2x2 luma pixels that may change, told from the definition: |x|^4 + |y|^4 <= 1 at the field's middle."""
    allowed = np.zeros(((height + 1) // 2, (width + 1) // 2), bool)
    for r in planned:
        for row in range(max(0, r.y0 // 2), min(allowed.shape[0], r.y1 // 2)):
            y = (2 * row + 1 - (r.y0 + r.y1) / 2) / ((r.y1 - r.y0) / 2)
            x = (2 * np.arange(allowed.shape[1]) + 1 - (r.x0 + r.x1) / 2) / ((r.x1 - r.x0) / 2)
            allowed[row] |= (np.abs(x) < 1) & ((shape == "rectangle") | (x**4 + y**4 <= 1 + 1e-12))
    return allowed


def spread(fields: NDArray[np.bool_], plane: Plane) -> NDArray[np.bool_]:
    """Fields as a mask of this plane, luma or chroma."""
    if fields.shape == plane.shape:
        return fields
    return fields.repeat(2, 0).repeat(2, 1)[: plane.shape[0], : plane.shape[1]]


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """Anywhere, any size, often cut by the border."""
    x, y = draw(st.floats(-0.2, 1.1)), draw(st.floats(-0.2, 1.1))
    width, height = draw(st.sampled_from([0.001, 0.05, 0.3, 1.5])), draw(st.sampled_from([0.001, 0.05, 0.3, 1.5]))
    return Box(x, y, x + width, y + height).clip()


sizes = st.tuples(st.integers(2, 90), st.integers(2, 70))


@settings(max_examples=100, deadline=None)
@given(st.lists(boxes(), min_size=1, max_size=3), sizes, effects, st.integers(0, 5))
def test_nothing_outside_the_shapes_changes(
    found: list[Box], size: tuple[int, int], effect: Effect, padding: int
) -> None:
    planes = picture(*size, padding=padding)
    before = copied(planes)
    planned = rects([Region(b, "face", Decision.SEEN) for b in found], *size, effect.shape)
    for rect in planned:
        cover(planes, rect, effect)
    allowed = inside(planned, effect.shape, *size)
    for old, new in zip(before, planes, strict=True):
        changed = old != new
        assert not (changed & ~spread(allowed, old)).any()
        if effect.kind == "solid":  # then all that may change does, in luma and chroma alike
            assert (changed == spread(allowed, old)).all()


@settings(max_examples=100, deadline=None)
@given(boxes(), sizes, st.sampled_from(SHAPES))
def test_every_pixel_that_the_region_touches_is_covered(box: Box, size: tuple[int, int], shape: str) -> None:
    width, height = size
    planes = picture(width, height)
    before = copied(planes)
    for rect in rects([Region(box, "face", Decision.SEEN)], width, height, shape):
        cover(planes, rect, Effect("solid", shape))
    if box.empty:
        return
    slack = 1e-9
    x0, x1 = int(box.left * width + slack), int(np.ceil(box.right * width - slack))
    y0, y1 = int(box.top * height + slack), int(np.ceil(box.bottom * height - slack))
    assert (planes[0] != before[0])[y0:y1, x0:x1].all()
    for i in (1, 2):
        assert (planes[i] != before[i])[y0 // 2 : -(-y1 // 2), x0 // 2 : -(-x1 // 2)].all()


@pytest.mark.parametrize("shape", SHAPES)
def test_solid_leaves_one_grey_and_nothing_of_the_picture(shape: str) -> None:
    one, other = picture(64, 48, seed=1), picture(64, 48, seed=2)
    rect = PixelRect(-6, 4, 58, 60)
    for planes in (one, other):
        cover(planes, rect, Effect("solid", shape))
    allowed = inside([rect], shape, 64, 48)
    for plane, grey in zip(one, (126, 128, 128), strict=True):
        assert (plane[spread(allowed, plane)] == grey).all()


def shuffled_in_cells(plane: Plane, rect: tuple[int, int, int, int], across: tuple[int, int]) -> None:
    """Move pixels about inside their cells: all means stay as they are, and nothing else does."""
    random = np.random.default_rng(3)
    x0, y0, x1, y1 = rect
    w, h = (x1 - x0) // across[0], (y1 - y0) // across[1]
    for row in range(across[1]):
        for column in range(across[0]):
            cell = plane[y0 + row * h : y0 + (row + 1) * h, x0 + column * w : x0 + (column + 1) * w]
            cell[...] = random.permutation(cell.reshape(-1)).reshape(cell.shape)


@pytest.mark.parametrize("kind", ["blur", "pixelate"])
@pytest.mark.parametrize("cells", range(2, 9))
@pytest.mark.parametrize("high", [1, 2], ids=["square", "flat"])
def test_what_is_left_depends_on_nothing_but_the_means_of_the_cells(kind: str, cells: int, high: int) -> None:
    across = cells, max(1, round(cells / high))
    width, height = 12 * across[0], 12 * across[1]
    if round(cells * height / width) != across[1]:
        across = cells, round(cells * height / width)
        height = 12 * across[1]
    one = picture(150, 140, seed=cells)
    other = copied(one)
    for i, plane in enumerate(other):
        scale = 1 if i == 0 else 2
        shuffled_in_cells(plane, (20 // scale, 10 // scale, (20 + width) // scale, (10 + height) // scale), across)
    assert any((a != b).any() for a, b in zip(one, other, strict=True))
    for planes in (one, other):
        cover(planes, PixelRect(20, 10, 20 + width, 10 + height), Effect(kind, "rectangle", cells))
    for a, b in zip(one, other, strict=True):
        assert (a == b).all()


@given(st.integers(4, 120), st.integers(4, 120), st.integers(2, 8))
def test_pixelate_keeps_at_most_so_many_cells_on_the_longer_side_and_fewer_on_the_other(
    width: int, height: int, cells: int
) -> None:
    width, height = width // 2 * 2, height // 2 * 2
    planes = picture(width, height)
    cover(planes, PixelRect(0, 0, width, height), Effect("pixelate", "rectangle", cells))
    for plane in planes:
        columns = 1 + int((plane[:, 1:] != plane[:, :-1]).any(axis=0).sum())
        rows = 1 + int((plane[1:] != plane[:-1]).any(axis=1).sum())
        assert max(columns, rows) <= cells
        share = min(width, height) / max(width, height)
        assert min(columns, rows) <= max(1, round(cells * share) + 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cells", [2, 6, 8])
def test_whole_picture_keeps_at_most_eight_cells_however_it_is_shaped(kind: str, cells: int) -> None:
    one = picture(160, 120)
    other = copied(one)
    across = cells, round(cells * 0.75)
    if 160 % across[0] == 0 and 120 % across[1] == 0 and 60 % across[1] == 0:
        for i, plane in enumerate(other):
            scale = 1 if i == 0 else 2
            shuffled_in_cells(plane, (0, 0, 160 // scale, 120 // scale), across)
    before = copied(one)
    for planes in (one, other):
        cover_whole(planes, Effect(kind, "ellipse", cells))
    for a, b, was in zip(one, other, before, strict=True):
        assert (a == b).all()
        assert len(np.unique(a)) <= (1 if kind == "solid" else 64 if kind == "pixelate" else 256)
        assert (a != was)[[0, 0, -1, -1], [0, -1, 0, -1]].any() or kind != "solid"
        assert a.std() < was.std() / 2


def test_whole_picture_is_never_weaker_than_eight_cells() -> None:
    planes = picture(160, 120)
    cover_whole(planes, Effect("pixelate", "ellipse", 40))
    assert 1 + int((planes[0][:, 1:] != planes[0][:, :-1]).any(axis=0).sum()) == 8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 1), (1, 9), (161, 121)], ids=str)
def test_pictures_of_any_size_are_covered_whole_without_an_error(kind: str, size: tuple[int, int]) -> None:
    planes = picture(*size)
    shapes = [p.shape for p in planes]
    cover_whole(planes, Effect(kind))
    assert [p.shape for p in planes] == shapes
    assert all((p == g).all() for p, g in zip(planes, (126, 128, 128), strict=True)) or kind != "solid"


def test_small_region_inside_a_large_one_is_covered_too() -> None:
    planes: Any = picture(96, 96)
    boxes_ = [Region(Box(0.4, 0.4, 0.6, 0.6), "face", Decision.SEEN), Region(Box(0, 0, 1, 1), "face", Decision.SEEN)]
    for rect in rects(boxes_, 96, 96, "rectangle"):
        cover(planes, rect, Effect("pixelate", "rectangle", 2))
    # What the small one keeps are means of what the large one left.
    assert len(np.unique(planes[0])) <= 2 * 2 + 2 * 2
