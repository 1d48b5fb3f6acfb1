"""Laws of the effects: exactly the shapes change, and of what was there only a few means survive."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamproc.model.frame import Decision, Region
from streamproc.model.geometry import Box
from streamproc.redact.effects import Effect, PixelRect, Plane, cover, cover_whole
from streamproc.redact.plan import places
from streamproc.settings import LEAST_SIGMA, MOST_CELLS

Planes = tuple[Plane, Plane, Plane]
KINDS = ("blur", "gaussian", "pixelate", "solid")
SHAPES = ("ellipse", "rectangle")
effects = st.builds(
    Effect, st.sampled_from(KINDS), st.sampled_from(SHAPES), st.integers(2, 64), st.floats(0.02, 1), st.just("solid")
)


def picture(width: int, height: int, seed: int = 0, padding: int = 0) -> Planes:
    """Noise that holds none of the greys of ``solid``; rows are wider than the picture, as a decoder's are."""
    random = np.random.default_rng(seed)
    sizes = [(height, width), *[((height + 1) // 2, (width + 1) // 2)] * 2]
    y, u, v = (random.integers(0, 120, (h, w + padding), np.uint8)[:, :w] for h, w in sizes)
    return y, u, v


def copied(planes: Planes) -> Planes:
    y, u, v = (p.copy() for p in planes)
    return y, u, v


def inside(planned: list[PixelRect], shape: str, plane: Plane, scale: int) -> NDArray[np.bool_]:
    """Pixels of a plane that may change, told from the definition: |x|^4 + |y|^4 <= 1 at the pixel's middle."""
    allowed = np.zeros(plane.shape, bool)
    for r in planned:
        for row in range(max(0, r.y0 // scale), min(allowed.shape[0], r.y1 // scale)):
            y = ((2 * row + 1) * scale - (r.y0 + r.y1)) / (r.y1 - r.y0)
            x = ((2 * np.arange(allowed.shape[1]) + 1) * scale - (r.x0 + r.x1)) / (r.x1 - r.x0)
            allowed[row] |= (np.abs(x) < 1) & ((shape == "rectangle") | (x**4 + y**4 <= 1 + 1e-12))
    return allowed


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
    planned = places([Region(b, "face", Decision.SEEN) for b in found], *size, effect)
    for rect, its in planned:
        cover(planes, rect, its)
    for old, new, scale in zip(before, planes, (1, 2, 2), strict=True):
        allowed = inside([rect for rect, _ in planned], effect.shape, old, scale)
        changed = old != new
        assert not (changed & ~allowed).any()
        if effect.kind == "solid":  # then all that may change does, in luma and chroma alike
            assert (changed == allowed).all()


@settings(max_examples=100, deadline=None)
@given(boxes(), sizes, st.sampled_from(SHAPES))
def test_every_pixel_that_the_region_touches_is_covered(box: Box, size: tuple[int, int], shape: str) -> None:
    width, height = size
    planes = picture(width, height)
    before = copied(planes)
    for rect, effect in places([Region(box, "face", Decision.SEEN)], width, height, Effect("solid", shape)):
        cover(planes, rect, effect)
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
    for plane, grey, scale in zip(one, (126, 128, 128), (1, 2, 2), strict=True):
        assert (plane[inside([rect], shape, plane, scale)] == grey).all()


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
    width, height = 32 * across[0], 32 * across[1]
    if round(cells * height / width) != across[1]:
        across = cells, round(cells * height / width)
        height = 32 * across[1]
    one = picture(300, 280, seed=cells)
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
@pytest.mark.parametrize("cells", [2, 4, 5, 12])
def test_whole_picture_keeps_at_most_the_cells_of_the_floor_however_it_is_shaped(kind: str, cells: int) -> None:
    one = picture(160, 120)
    other = copied(one)
    most = min(cells, MOST_CELLS)
    across = most, round(most * 0.75)
    if 160 % across[0] == 0 and 120 % across[1] == 0 and 60 % across[1] == 0:
        for i, plane in enumerate(other):
            scale = 1 if i == 0 else 2
            shuffled_in_cells(plane, (0, 0, 160 // scale, 120 // scale), across)
    before = copied(one)
    for planes in (one, other):
        cover_whole(planes, Effect(kind, "ellipse", cells))
    for a, b, was in zip(one, other, before, strict=True):
        assert (a == b).all()
        assert len(np.unique(a)) <= (1 if kind == "solid" else across[0] * across[1] if kind == "pixelate" else 256)
        assert (a != was)[[0, 0, -1, -1], [0, -1, 0, -1]].any() or kind != "solid"
        assert a.std() < was.std() / 2


def test_whole_picture_is_never_weaker_than_the_floor() -> None:
    planes = picture(160, 120)
    cover_whole(planes, Effect("pixelate", "ellipse", 40))
    assert 1 + int((planes[0][:, 1:] != planes[0][:, :-1]).any(axis=0).sum()) == MOST_CELLS


def test_whole_picture_gets_no_gaussian_that_could_be_undone() -> None:
    one, other = picture(160, 120), picture(160, 120)
    cover_whole(one, Effect("gaussian", sigma=0.02))
    cover_whole(other, Effect("blur"))
    for a, b in zip(one, other, strict=True):
        assert (a == b).all()


def waves(side: int, periods: float) -> Planes:
    """Planes of waves from left to right, of full contrast in the middle and none at the border, where blurs differ."""
    x = (np.arange(side) + 0.5) / side
    y = np.round(128 + 127 * np.cos(2 * np.pi * periods * x) * np.sin(np.pi * x) ** 2).astype(np.uint8)
    luma = np.tile(y, (side, 1))
    return luma, luma[::2, ::2].copy(), luma[::2, ::2].copy()


@given(st.sampled_from([48, 80, 160, 500]), st.floats(0.05, 0.3), st.floats(0, 8))
@settings(max_examples=60, deadline=None)
def test_gaussian_is_the_classical_one_relative_to_the_region(side: int, sigma: float, periods: float) -> None:
    planes = waves(side, periods)
    exact = cv2.GaussianBlur(
        planes[0].astype(np.float64), (0, 0), max(sigma * side, 12), borderType=cv2.BORDER_REPLICATE
    )
    cover(planes, PixelRect(0, 0, side, side), Effect("gaussian", "rectangle", sigma=sigma))
    assert np.abs(planes[0] - exact).max() <= 8


@pytest.mark.parametrize("side", [48, 80, 160, 500])
@pytest.mark.parametrize(
    "effect", [Effect("gaussian"), Effect("gaussian", sigma=LEAST_SIGMA)], ids=["default", "floor"]
)
def test_gaussian_leaves_nothing_of_four_waves_across_the_object(effect: Effect, side: int) -> None:
    planes = waves(side, 4)
    cover(planes, PixelRect(0, 0, side, side), replace(effect, shape="rectangle"))
    assert np.abs(planes[0].astype(int) - 128).max() <= 2  # of 127


@pytest.mark.parametrize("kind", ["blur", "gaussian", "pixelate"])
def test_small_objects_keep_even_less(kind: str) -> None:
    planes = waves(40, 1.5)
    for_large = Effect(kind, "rectangle", MOST_CELLS, LEAST_SIGMA)
    before = np.ptp(planes[0].astype(int), axis=1).max()
    cover(planes, PixelRect(0, 0, 40, 40), for_large)
    assert np.ptp(planes[0].astype(int), axis=1).max() < before / 8
    large = waves(400, 1.5)
    cover(large, PixelRect(0, 0, 400, 400), for_large)
    assert np.ptp(large[0].astype(int), axis=1).max() > before / 8


@pytest.mark.parametrize("face", KINDS)
@pytest.mark.parametrize("plate", KINDS)
def test_plates_are_covered_by_their_own_kind_and_as_rectangles(face: str, plate: str) -> None:
    effect = Effect(face, "ellipse", 5, 0.3, plate)
    regions = [
        Region(Box(0.1, 0.1, 0.3, 0.4), "face", Decision.SEEN),
        Region(Box(0.5, 0.5, 1, 1), "plate", Decision.SEEN),
    ]
    (first, its), (second, other) = places(regions, 160, 120, effect)
    assert (first, its) == (PixelRect(80, 60, 160, 120), Effect(plate, "rectangle", 5, 0.3, plate))
    assert other == effect
    assert (second.x1 - second.x0, second.y1 - second.y0) > (32, 36)  # the rounded shape's


def test_defaults_are_a_blur_for_faces_and_solid_for_plates_no_weaker_than_the_floors() -> None:
    effect = Effect()
    assert (effect.of("face").kind, effect.of("person").kind, effect.of("plate").kind) == ("blur", "blur", "solid")
    assert effect.cells <= MOST_CELLS
    assert effect.sigma >= LEAST_SIGMA


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
    for rect, effect in places(boxes_, 96, 96, Effect("pixelate", "rectangle", 2)):
        cover(planes, rect, effect)
    # What the small one keeps are means of what the large one left.
    assert len(np.unique(planes[0])) <= 2 * 2 + 2 * 2
