"""Laws of the keys."""

from __future__ import annotations

from urllib.parse import unquote, urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from publish_cases import T0, frame_id

from streamproc.publish.layout import (
    hour_of,
    hour_playlist_key,
    live_playlist_key,
    media_key,
    relative_uri,
    sidecar_key,
)

DATED = st.integers(min_value=-62_135_596_800_000_000, max_value=253_402_300_799_999_999)
ANY_TIME = st.integers(min_value=-(2**70), max_value=2**70)
FRAGMENT = st.integers(min_value=0, max_value=10**128 - 1).map(str)
STREAM = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=256)


@pytest.mark.parametrize(
    ("made", "key"),
    [
        pytest.param(
            media_key("cam_1.x-Y", frame_id(91343852333181432392682062)),
            "video/stream=cam_1.x-Y/dt=2026-11-19/hour=13/20261119T133611.123Z_91343852333181432392682062.mp4",
            id="media",
        ),
        pytest.param(
            media_key("s", frame_id(7, 30, T0 + 999)),
            "video/stream=s/dt=2026-11-19/hour=13/20261119T133611.123Z_7_000030.mp4",
            id="media inside a fragment",
        ),
        pytest.param(
            media_key("s", frame_id("", 0, 0)),
            "video/stream=s/dt=1970-01-01/hour=00/19700101T000000.000Z_none.mp4",
            id="no fragment number, no clock",
        ),
        pytest.param(
            media_key("s", frame_id(7, 0, -1)),
            "video/stream=s/dt=1969-12-31/hour=23/19691231T235959.999Z_7.mp4",
            id="negative time",
        ),
        pytest.param(
            media_key("s", frame_id(7, 0, 10**18)),
            "video/stream=s/dt=9999-12-31/hour=23/99991231T235959.999Z_7.mp4",
            id="far future",
        ),
        pytest.param(
            media_key("s", frame_id(7, 0, -(10**18))),
            "video/stream=s/dt=0001-01-01/hour=00/00010101T000000.000Z_7.mp4",
            id="before the calendar",
        ),
        pytest.param(
            media_key("a/b?", frame_id(7)),
            "video/stream=a%2Fb%3F/dt=2026-11-19/hour=13/20261119T133611.123Z_7.mp4",
            id="unsafe stream name",
        ),
        pytest.param(
            sidecar_key("s", frame_id(7), "0123456789abcdef" * 4),
            "boxes/dt=2026-11-19/hour=13/stream=s/20261119T133611.123Z_7-0123456789abcdef.jsonl.gz",
            id="sidecar",
        ),
        pytest.param(live_playlist_key("s"), "video/stream=s/live.m3u8", id="live playlist"),
        pytest.param(hour_playlist_key("s", T0), "video/stream=s/dt=2026-11-19/hour=13/index.m3u8", id="hour playlist"),
    ],
)
def test_key_is_spelled_as_documented(made: str, key: str) -> None:
    assert made == key


@given(DATED, DATED, FRAGMENT, FRAGMENT)
def test_text_order_is_time_order(one: int, other: int, a: str, b: str) -> None:
    keys = media_key("s", frame_id(a, 0, one)), media_key("s", frame_id(b, 0, other))
    if one // 1000 != other // 1000:
        assert (keys[0] < keys[1]) == (one < other)


@given(DATED, st.integers(0, 999_999), st.integers(0, 999_999))
def test_frames_of_a_fragment_within_one_millisecond_keep_their_order(time_us: int, one: int, other: int) -> None:
    keys = [media_key("s", frame_id(7, index, time_us)) for index in (one, other)]
    assert (keys[0] < keys[1]) == (one < other)


@given(ANY_TIME, st.integers(-5000, 5000), FRAGMENT, FRAGMENT)
def test_distinct_starts_have_distinct_keys(time_us: int, step_us: int, a: str, b: str) -> None:
    one, other = frame_id(a, 0, time_us), frame_id(b, 0, time_us + step_us)
    dated = min(time_us, time_us + step_us) >= -62_135_596_800_000_000 and max(time_us, time_us + step_us) < 2.5e17
    if a != b or (dated and time_us // 1000 != (time_us + step_us) // 1000):
        assert media_key("s", one) != media_key("s", other)


@given(STREAM, FRAGMENT, st.integers(0, 10**6), ANY_TIME)
def test_every_part_of_a_key_is_a_safe_file_name(stream: str, number: str, index: int, time_us: int) -> None:
    start = frame_id(number, index, time_us)
    for key in (media_key(stream, start), sidecar_key(stream, start, "f" * 64), hour_playlist_key(stream, time_us)):
        assert key.isascii()
        assert key.isprintable()
        assert " " not in key
        for part in key.split("/"):
            # Room for the hidden temporary file's ".", ".tmp" and the metadata's ".json.tmp".
            assert 0 < len(part) <= 240
            assert part not in {".", ".."}


@given(STREAM, STREAM)
def test_distinct_streams_have_distinct_folders(one: str, other: str) -> None:
    assert (live_playlist_key(one) == live_playlist_key(other)) == (one == other)


@pytest.mark.parametrize(
    "changed", ["x" * 255 + "y", "x" * 254, "x" * 100 + "y" * 156], ids=["last", "shorter", "half"]
)
def test_long_names_that_share_their_beginning_are_told_apart(changed: str) -> None:
    assert live_playlist_key(changed) != live_playlist_key("x" * 256)


@given(STREAM, FRAGMENT, ANY_TIME)
def test_relative_uri_leads_a_browser_from_the_playlist_to_the_object(stream: str, number: str, time_us: int) -> None:
    target = media_key(stream, frame_id(number, 0, time_us))
    for playlist in (live_playlist_key(stream), hour_playlist_key(stream, time_us)):
        base = "http://host/prefix/" + playlist.replace("%", "%25")
        uri = relative_uri(playlist, target)
        assert unquote(urljoin(base, uri)) == "http://host/prefix/" + target
        assert not set(uri) & set('"<> :?#\\')


@given(ANY_TIME, st.integers(-4_000_000_000, 4_000_000_000))
def test_same_hour_means_same_playlist(time_us: int, step_us: int) -> None:
    one, other = time_us, time_us + step_us
    assert (hour_of(one) == hour_of(other)) == (hour_playlist_key("s", one) == hour_playlist_key("s", other))
