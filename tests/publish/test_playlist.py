"""Laws of the playlists, read back with the ``m3u8`` package as an independent reader."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st
from publish_cases import T0

from streamproc.model.segment import Checkpoint, Position, PublishedSegment
from streamproc.publish.playlist import event_playlist, live_playlist, roll, target_duration_s


def published(
    name: str, duration_us: int = 2_000_000, digest: str = "a", discontinuity: bool = False, time_us: int = T0
) -> PublishedSegment:
    return PublishedSegment(f"{name}.mp4", time_us, duration_us, 1000, 755, digest, discontinuity)


def uri(segment: PublishedSegment) -> str:
    return segment.key


@dataclass(frozen=True)
class Step:
    duration_us: int
    digest: str
    discontinuity: bool


DURATION = st.one_of(
    st.integers(0, 8_000_000),
    # Near a whole second, where printing or rounding may step over the target duration.
    st.builds(lambda s, d: max(0, s * 1_000_000 + d), st.integers(0, 8), st.integers(-600, 600)),
    st.builds(lambda s, d: s * 1_000_000 + 500_000 + d, st.integers(0, 8), st.integers(-2, 2)),
)
STEPS = st.lists(st.builds(Step, DURATION, st.sampled_from("ab"), st.booleans()), max_size=25)


def segments_of(steps: list[Step]) -> list[PublishedSegment]:
    time_us = T0
    made = []
    for number, step in enumerate(steps):
        made.append(published(f"s{number}", step.duration_us, step.digest, step.discontinuity, time_us))
        time_us += step.duration_us
    return made


def rolled(segments: list[PublishedSegment], window_segments: int, target_s: int = 1) -> list[Checkpoint]:
    checkpoints = [Checkpoint("s")]
    for number, segment in enumerate(segments):
        position = Position(str(number), None)
        checkpoints.append(roll(checkpoints[-1], segment, position, window_segments, target_s))
    return checkpoints


def numbers_of(text: str) -> dict[str, tuple[int, int]]:
    """(media sequence number, discontinuity sequence number) of each listed URI, by RFC 8216, 6.2.1 and 6.2.2."""
    read = m3u8.loads(text)
    discontinuities = itertools.accumulate(
        (segment.discontinuity for segment in read.segments), initial=read.discontinuity_sequence or 0
    )
    next(discontinuities)
    return {
        segment.uri: (number, count)
        for number, (segment, count) in enumerate(zip(read.segments, discontinuities, strict=True), read.media_sequence)
    }


def test_live_playlist_is_spelled_as_documented() -> None:
    window = (
        published("a", discontinuity=True),
        published("b", 2_000_001, time_us=T0 + 2_000_000),
        published("c", digest="b", discontinuity=True, time_us=T0 + 9_000_999),
        published("d", digest="b", time_us=T0 + 11_000_000),
    )
    checkpoint = Checkpoint("s", media_sequence=41, discontinuity_sequence=3, window=window)
    assert live_playlist(checkpoint, uri, target_s=2, ended=True).splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        "#EXT-X-TARGETDURATION:3",
        "#EXT-X-MEDIA-SEQUENCE:41",
        "#EXT-X-DISCONTINUITY-SEQUENCE:3",
        '#EXT-X-MAP:URI="a.mp4",BYTERANGE="755@0"',
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-19T13:36:11.123Z",
        "#EXTINF:2.000000,",
        "a.mp4",
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-19T13:36:13.123Z",
        "#EXTINF:2.000001,",
        "b.mp4",
        "#EXT-X-DISCONTINUITY",
        '#EXT-X-MAP:URI="c.mp4",BYTERANGE="755@0"',
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-19T13:36:20.123Z",
        "#EXTINF:2.000000,",
        "c.mp4",
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-19T13:36:22.123Z",
        "#EXTINF:2.000000,",
        "d.mp4",
        "#EXT-X-ENDLIST",
    ]


@pytest.mark.parametrize("ended", [False, True])
def test_playlist_without_segments_can_be_read(ended: bool) -> None:
    for text in (live_playlist(Checkpoint("s"), uri, ended=ended), event_playlist([], uri, ended=ended)):
        read = m3u8.loads(text)
        assert (len(read.segments), read.target_duration, read.is_endlist) == (0, 1, ended)


@given(STEPS, st.integers(1, 8), st.integers(1, 6))
def test_a_segment_keeps_its_numbers_across_refreshes(steps: list[Step], window: int, target_s: int) -> None:
    known: dict[str, tuple[int, int]] = {}
    for checkpoint in rolled(segments_of(steps), window, target_s):
        for name, numbers in numbers_of(live_playlist(checkpoint, uri)).items():
            assert known.setdefault(name, numbers) == numbers
    # Counted from the beginning of the stream: the n-th segment has number n, and every discontinuity counts once.
    counts = itertools.accumulate(step.discontinuity for step in steps)
    assert known == {f"s{n}.mp4": (n, count) for n, count in enumerate(counts)}


@given(STEPS, st.integers(1, 8), st.integers(1, 6))
def test_segments_leave_only_from_the_head_and_enter_only_at_the_end(
    steps: list[Step], window: int, target_s: int
) -> None:
    segments = segments_of(steps)
    before = 0
    for count, checkpoint in enumerate(rolled(segments, window, target_s)):
        first = checkpoint.media_sequence
        assert first >= before
        assert list(checkpoint.window) == segments[first:count]
        assert len(checkpoint.window) >= min(count, window)
        before = first


@given(STEPS, st.integers(1, 8), st.integers(1, 6))
def test_nothing_leaves_while_less_than_three_target_durations_remain(
    steps: list[Step], window: int, target_s: int
) -> None:
    for one, other in itertools.pairwise(rolled(segments_of(steps), window, target_s)):
        if other.media_sequence > one.media_sequence:
            assert sum(segment.duration_us for segment in other.window) >= 3_000_000 * target_s
        # ... and no longer than that rule asks does it stay.
        if len(other.window) > window:
            target_us = 1_000_000 * target_duration_s((*one.window, other.window[-1]), target_s)
            assert sum(segment.duration_us for segment in other.window[1:]) < 3 * target_us


def test_window_is_bounded_even_if_segments_have_no_duration() -> None:
    checkpoint = rolled([published(f"s{number}", 0) for number in range(1200)], 3)[-1]
    assert len(checkpoint.window) == 1000
    assert checkpoint.media_sequence == 200


@given(STEPS.filter(bool), st.integers(1, 8))
def test_checkpoint_says_where_the_stream_stands(steps: list[Step], window: int) -> None:
    segments = segments_of(steps)
    last = rolled(segments, window)[-1]
    assert last.position == Position(str(len(steps) - 1), None)
    assert last.segments == len(steps)
    assert last.last_end_us == T0 + sum(step.duration_us for step in steps)


def test_window_must_hold_a_segment() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        roll(Checkpoint("s"), published("a"), Position("1", None), 0)


@given(STEPS, st.integers(1, 12))
def test_no_segment_is_longer_than_the_target_however_it_is_rounded(steps: list[Step], target_s: int) -> None:
    read = m3u8.loads(event_playlist(segments_of(steps), uri, target_s=target_s))
    assert read.target_duration >= target_s
    assert read.target_duration <= max([target_s, 9])
    for segment in read.segments:
        assert int(segment.duration + 0.5) <= read.target_duration


@given(STEPS)
def test_reader_finds_durations_times_and_breaks_as_they_were(steps: list[Step]) -> None:
    segments = segments_of(steps)
    read = m3u8.loads(event_playlist(segments, uri, ended=True))
    assert read.playlist_type == "event"
    assert read.is_endlist
    assert read.is_independent_segments
    assert [round(segment.duration * 1e6) for segment in read.segments] == [step.duration_us for step in steps]
    assert [segment.discontinuity for segment in read.segments] == [
        step.discontinuity and number > 0 for number, step in enumerate(steps)
    ]
    assert [segment.program_date_time for segment in read.segments] == [
        datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=segment.time_us // 1000) for segment in segments
    ]


@given(STEPS)
def test_every_segment_has_an_initialisation_section_with_its_own_digest(steps: list[Step]) -> None:
    segments = segments_of(steps)
    digests = {segment.key: segment.init_digest for segment in segments}
    read = m3u8.loads(event_playlist(segments, uri))
    for segment, found in zip(segments, read.segments, strict=True):
        assert digests[found.init_section.uri] == segment.init_digest
        assert found.init_section.byterange == "755@0"


@given(STEPS)
def test_event_playlist_only_grows_at_its_end(steps: list[Step]) -> None:
    segments = segments_of(steps)
    texts = [event_playlist(segments[:count], uri, target_s=9) for count in range(len(segments) + 1)]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
