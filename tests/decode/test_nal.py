"""Which coded pictures begin a closed group of pictures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_made import Clip, clip

from streamproc.decode.nal import starts_closed_gop

AVCC_4, AVCC_2, AVCC_1 = (b"\1\x64\0\x0b" + bytes([0xFC | n]) for n in (3, 1, 0))
HVCC_4 = b"\1" + bytes(20) + b"\3"


def closed(coded: Clip) -> list[int]:
    return [
        i for i, picture in enumerate(coded.pictures) if starts_closed_gop(coded.codec, coded.private, picture.data)
    ]


def keyframes(coded: Clip) -> list[int]:
    return [i for i, picture in enumerate(coded.pictures) if picture.keyframe]


@pytest.mark.parametrize("annex_b", [False, True], ids=["lengths", "start-codes"])
@pytest.mark.parametrize("bframes", [0, 2])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_every_keyframe_of_a_closed_stream_begins_a_closed_group_and_nothing_else_does(
    codec: str, bframes: int, annex_b: bool
) -> None:
    coded = clip(codec, bframes=bframes, annex_b=annex_b)
    assert closed(coded) == keyframes(coded)
    assert len(keyframes(coded)) == 3


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_keyframes_of_an_open_stream_after_the_first_do_not(codec: str) -> None:
    coded = clip(codec, bframes=2, open_gop=True)
    assert len(keyframes(coded)) == 3  # I pictures with a recovery point, and CRA pictures
    assert closed(coded) == [0]


def h264(*kinds: int) -> list[bytes]:
    return [bytes([0x60 | kind]) + b"\x88\x84" * 2 for kind in kinds]


def hevc(*kinds: int) -> list[bytes]:
    return [bytes([kind << 1, 1]) + b"\x88\x84" * 2 for kind in kinds]


@pytest.mark.parametrize(
    ("codec", "units", "expected"),
    [
        pytest.param("h264", [], False, id="empty"),
        pytest.param("h264", h264(9, 7, 8, 6), False, id="no-picture"),
        pytest.param("h264", h264(9, 7, 8, 6, 5, 5), True, id="idr-behind-parameters"),
        pytest.param("h264", h264(1, 5), False, id="first-slice-decides"),
        pytest.param("h264", h264(2), False, id="data-partition"),
        pytest.param("hevc", hevc(32, 33, 34, 39, 19), True, id="idr-with-leading"),
        pytest.param("hevc", hevc(20), True, id="idr-without-leading"),
        pytest.param("hevc", hevc(21), False, id="cra"),
        pytest.param("hevc", hevc(16), False, id="bla"),
        pytest.param("hevc", hevc(1), False, id="trail"),
    ],
)
def test_first_slice_says_it_in_every_framing(codec: str, units: list[bytes], expected: bool) -> None:
    is_hevc = codec == "hevc"
    framings = [(b"", b"".join(b"\0\0\1" + u for u in units)), (b"", b"".join(b"\0\0\0\1" + u for u in units))]
    if is_hevc:
        framings.append((HVCC_4, b"".join(len(u).to_bytes(4, "big") + u for u in units)))
    else:
        for private, size in ((AVCC_4, 4), (AVCC_2, 2), (AVCC_1, 1)):
            framings.append((private, b"".join(len(u).to_bytes(size, "big") + u for u in units)))
    assert [starts_closed_gop(codec, private, data) for private, data in framings] == [expected] * len(framings)


def test_length_that_looks_like_a_start_code_is_a_length() -> None:
    unit = b"\x41" + b"\x65" * 0x164  # 00 00 01 65: as a start code it would announce an IDR slice
    data = len(unit).to_bytes(4, "big") + unit
    assert data[:4] == b"\0\0\1\x65"
    assert not starts_closed_gop("h264", AVCC_4, data)


@given(
    st.sampled_from(["h264", "hevc"]), st.sampled_from([b"", AVCC_4, AVCC_2, AVCC_1, HVCC_4]), st.binary(max_size=60)
)
def test_garbage_is_answered_without_an_error(codec: str, private: bytes, data: bytes) -> None:
    assert starts_closed_gop(codec, private, data) in (True, False)
