"""The boxes of an MP4 file: found whatever form their size takes, and the turn written as players read it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.encode.boxes import boxes, init_length, rotated


def box(kind: bytes, payload: bytes, form: str = "short") -> bytes:
    if form == "wide":
        return struct.pack(">I4sQ", 1, kind, 16 + len(payload)) + payload
    return struct.pack(">I4s", 0 if form == "open" else 8 + len(payload), kind) + payload


def movie(version: int = 0) -> bytes:
    header = bytes([version]) + bytes(95 if version == 1 else 83)
    track = box(b"trak", box(b"mdia", b"") + box(b"tkhd", header))
    return box(b"ftyp", b"iso6") + box(b"moov", box(b"mvhd", bytes(100)) + track) + box(b"moof", b"x")


@pytest.mark.parametrize("form", ["short", "wide", "open"])
def test_box_is_found_whatever_form_its_size_takes(form: str) -> None:
    data = box(b"ftyp", b"iso6", "wide") + box(b"moov", b"abc", form)
    assert [(kind, data[start:end]) for kind, start, end in boxes(data, 0, len(data))] == [
        (b"ftyp", b"iso6"),
        (b"moov", b"abc"),
    ]
    assert init_length(data) == len(data)


def test_head_ends_with_the_movie_box() -> None:
    data = movie()
    assert data[init_length(data) :] == box(b"moof", b"x")


@given(st.binary(max_size=80))
def test_garbage_is_walked_to_an_end(data: bytes) -> None:
    assert len(list(boxes(data, 0, len(data)))) <= len(data) // 8


def test_file_without_a_movie_box_is_refused() -> None:
    with pytest.raises(ValueError, match="no moov"):
        init_length(box(b"ftyp", b"iso6"))


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(("rotation", "size"), [(90, (120, 160)), (180, (160, 120)), (270, (120, 160))])
def test_turned_picture_fills_the_rectangle_from_the_origin(rotation: int, size: tuple[int, int], version: int) -> None:
    data = rotated(movie(version), rotation, 160, 120)
    at = data.index(b"tkhd") + 4 + (52 if version == 1 else 40)
    a, b, u, c, d, v, x, y, w = struct.unpack_from(">9i", data, at)
    one = 1 << 16
    corners = [((a * i + c * j + x) / one, (b * i + d * j + y) / one) for i in (0, 160) for j in (0, 120)]
    assert sorted(corners) == sorted((float(i), float(j)) for i in (0, size[0]) for j in (0, size[1]))
    assert (u, v, w) == (0, 0, 1 << 30)
    # The picture's upper edge points clockwise.
    assert (a, b) == {90: (0, one), 180: (-one, 0), 270: (0, -one)}[rotation]
    assert len(data) == len(movie(version))


def test_upright_file_is_left_as_it_is() -> None:
    assert rotated(movie(), 0, 160, 120) == movie()
