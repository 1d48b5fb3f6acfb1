"""Laws of carrying boxes, on drawn pictures whose motion is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamproc.model.geometry import Box, iou
from streamproc.track.flow import Flow, carry, reduced, shift

HEIGHT, WIDTH = 360, 640
BOX = Box(0.4, 0.35, 0.55, 0.65)


def texture(seed: int = 1) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    noise = random.normal(0, 1, (3 * HEIGHT, 3 * WIDTH)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 6) * 400 + cv2.GaussianBlur(noise, (0, 0), 20) * 1200
    return np.clip(soft + 128, 0, 255).astype(np.uint8)


PICTURE = texture()


def view(dx: float = 0, dy: float = 0, scale: float = 1) -> NDArray[np.uint8]:
    """The texture, with everything in it moved by so many pixels and grown about the middle of the view."""
    cx, cy = WIDTH / 2, HEIGHT / 2
    turn = np.array([[scale, 0, cx + dx - scale * (WIDTH + cx)], [0, scale, cy + dy - scale * (HEIGHT + cy)]])
    return reduced(np.asarray(cv2.warpAffine(PICTURE, turn, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR), np.uint8))


def moved(box: Box, dx: float = 0, dy: float = 0, scale: float = 1) -> Box:
    x0, x1 = (0.5 + (x - 0.5) * scale + dx / WIDTH for x in (box.left, box.right))
    y0, y1 = (0.5 + (y - 0.5) * scale + dy / HEIGHT for y in (box.top, box.bottom))
    return Box(x0, y0, x1, y1)


@settings(max_examples=40)
@given(st.floats(-40, 40), st.floats(-24, 24), st.floats(0.96, 1.04))
def test_box_follows_its_pixels(dx: float, dy: float, scale: float) -> None:
    (carried,) = carry(view(), view(dx, dy, scale), [BOX])
    assert carried.confidence > 0.5
    assert iou(carried.box, moved(BOX, dx, dy, scale)) > 0.9


@settings(max_examples=20)
@given(st.floats(-150, 150), st.floats(-60, 60))
def test_whole_picture_that_jumps_is_followed_by_its_shift(dx: float, dy: float) -> None:
    before, after = view(), view(dx, dy)
    across, down = shift(before, after)
    if max(abs(dx), abs(dy)) > 8:
        assert (across * 2, down * 2) == pytest.approx((dx, dy), abs=4)
    (carried,) = carry(before, after, [BOX], (across, down))
    assert iou(carried.box, moved(BOX, dx, dy)) > 0.85


def test_nothing_is_known_where_nothing_can_be_seen() -> None:
    flat = np.full((180, 320), 90, np.uint8)
    for before, after in ((view(), 255 - view()), (view(), reduced(np.zeros((640, 360), np.uint8)))):
        assert [c.box for c in carry(before, after, [BOX]) if c.confidence < 0.3] == [BOX]
    for box in (Box(1.2, 0.2, 1.4, 0.5), Box(0.5, 0.5, 0.5, 0.5), Box(-5, -5, -4, -4)):
        (carried,) = carry(view(), view(3), [box])
        assert (carried.box, carried.confidence) == (box, 0.0) or box.empty
    assert shift(flat, flat) == (0.0, 0.0)
    assert carry(flat, flat, []) == []


@given(st.floats(-0.2, 0.1), st.floats(-0.2, 0.1))
@settings(max_examples=20)
def test_box_that_is_cut_by_the_border_keeps_its_size(left: float, top: float) -> None:
    box = Box(left, top, left + 0.3, top + 0.4)
    (carried,) = carry(view(), view(6, 4), [box])
    assert iou(carried.box, moved(box, 6, 4)) > 0.85


def test_frames_are_still_until_something_large_moves_and_are_forgotten_on_request() -> None:
    flow = Flow()
    for ticket, dx in enumerate((0, 0, 12)):
        flow.frame(ticket, view(dx))
    assert flow.still(0, 1)
    assert not flow.still(1, 2)
    (carried,) = flow.carry(1, 2, [BOX])
    assert iou(carried.box, moved(BOX, 12)) > 0.9
    flow.forget(2)
    assert not flow.still(1, 2)
    for motion in (flow, flow.sway()):
        assert [(c.box, c.confidence) for c in motion.carry(1, 2, [BOX])] == [(BOX, 0.0)]
