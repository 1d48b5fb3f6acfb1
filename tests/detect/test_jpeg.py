"""The picture a detector is shown is the frame, upright, no larger than asked; boxes find their way back."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from streamproc.detect.jpeg import coded_to_upright, encode_look, shrunk_size, upright_to_coded
from streamproc.model.geometry import Box

ROTATIONS = [0, 90, 180, 270]
UNIT = st.floats(0, 1)
BOXES = st.builds(lambda a, b, c, d: Box(min(a, b), min(c, d), max(a, b), max(c, d)), UNIT, UNIT, UNIT, UNIT)


def picture(width, height, box=None, padding=0):
    """Black, with a white box given in shares; rows padded as a decoder pads them."""
    y = np.zeros((height, width + padding), np.uint8)[:, :width]
    if box:
        y[round(box.top * height) : round(box.bottom * height), round(box.left * width) : round(box.right * width)] = (
            235
        )
    chroma = ((height + 1) // 2, (width + 1) // 2)
    u, v = (np.full((chroma[0], chroma[1] + padding), 128, np.uint8)[:, : chroma[1]] for _ in range(2))
    return y, u, v


def white_box(jpeg):
    gray = simplejpeg.decode_jpeg(jpeg, "GRAY")[:, :, 0] > 120
    rows, columns = np.flatnonzero(gray.any(1)), np.flatnonzero(gray.any(0))
    height, width = gray.shape
    return Box(columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)


@given(
    st.integers(1, 131), st.integers(1, 131), st.integers(2, 160), st.sampled_from(ROTATIONS), st.sampled_from([0, 13])
)
def test_any_size_becomes_an_upright_jpeg_no_larger_than_asked(width, height, long_side, rotation, padding):
    planes = picture(width, height, padding=padding)
    look = encode_look(planes, width, height, long_side, 80, rotation)
    decoded = simplejpeg.decode_jpeg(look.jpeg, "GRAY")
    assert decoded.shape[:2] == (look.height, look.width)
    size = (look.height, look.width) if rotation in (90, 270) else (look.width, look.height)
    if max(width, height) <= long_side:
        assert size == (width, height)
    else:
        assert max(size) == long_side // 2 * 2
        assert size == shrunk_size(width, height, long_side)
        assert size[0] % 2 == size[1] % 2 == 0


@pytest.mark.parametrize(
    ("width", "height", "long_side", "expected"),
    [
        (1280, 720, 960, (960, 540)),
        (1920, 1080, 960, (960, 540)),
        (1080, 1920, 960, (540, 960)),
        (1280, 720, 641, (640, 360)),
        (854, 480, 640, (640, 360)),
        (10_000, 3, 640, (640, 2)),
    ],
    ids=["720p", "1080p", "portrait", "odd-side", "odd-shape", "thin"],
)
def test_pictures_keep_their_shape_when_made_smaller(width, height, long_side, expected):
    assert shrunk_size(width, height, long_side) == expected


@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("long_side", [1000, 200], ids=["same-size", "smaller"])
@pytest.mark.parametrize(("width", "height"), [(320, 180), (321, 181)], ids=["even", "odd"])
def test_a_box_found_in_the_look_maps_back_onto_the_coded_picture(width, height, long_side, rotation):
    drawn = Box(0.1, 0.2, 0.35, 0.8)
    look = encode_look(picture(width, height, drawn), width, height, long_side, 90, rotation)
    found = upright_to_coded(white_box(look.jpeg), rotation)
    for got, wanted in zip((found.left, found.top, found.right, found.bottom), (0.1, 0.2, 0.35, 0.8), strict=True):
        assert got == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_an_upright_picture_stands_as_displayed(rotation):
    """The coded picture's top left corner, marked, turns clockwise through the corners."""
    look = encode_look(picture(160, 96, Box(0, 0, 0.25, 0.25)), 160, 96, 960, 90, rotation)
    marked = white_box(look.jpeg)
    corner = (marked.left > 0.5, marked.top > 0.5)
    assert corner == {0: (False, False), 90: (True, False), 180: (True, True), 270: (False, True)}[rotation]


@given(BOXES, st.sampled_from(ROTATIONS))
def test_boxes_come_back_from_upright_to_coded_and_again(box, rotation):
    back = coded_to_upright(upright_to_coded(box, rotation), rotation)
    assert back.contains(box)
    assert box.contains(back)
    assert upright_to_coded(box, rotation).area == pytest.approx(box.area, abs=1e-12)


def test_colours_are_kept():
    y, u, v = picture(64, 64, Box(0, 0, 1, 1))
    u[:], v[:] = 90, 240
    red, _, blue = simplejpeg.decode_jpeg(encode_look((y, u, v), 64, 64, 960, 90, 0).jpeg, "RGB").mean((0, 1))
    assert red > blue + 50


def test_the_planes_are_only_read():
    planes = picture(128, 72, Box(0.2, 0.2, 0.7, 0.7))
    before = [plane.copy() for plane in planes]
    for plane in planes:
        plane.flags.writeable = False
    for long_side, rotation in [(960, 0), (64, 90), (64, 180)]:
        encode_look(planes, 128, 72, long_side, 80, rotation)
    assert all(np.array_equal(a, b) for a, b in zip(planes, before, strict=True))


@pytest.mark.parametrize(
    ("width", "height", "long_side", "rotation"),
    [(64, 48, 960, 45), (66, 48, 960, 0), (64, 48, 1, 0), (0, 0, 960, 0)],
    ids=["rotation", "size", "long-side", "empty"],
)
def test_what_is_no_picture_is_refused(width, height, long_side, rotation):
    with pytest.raises(ValueError):
        encode_look(picture(64, 48), width, height, long_side, 80, rotation)


def test_an_impossible_rotation_of_a_box_is_refused():
    with pytest.raises(ValueError):
        upright_to_coded(Box(0, 0, 1, 1), 45)
