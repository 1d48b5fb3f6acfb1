"""Laws of the cuts: length, alignment to fragments, breaks of the timeline."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.encode.segmenter import Cut, Segmenter, Shape
from streamproc.model.frame import FrameId
from streamproc.model.media import Fragment

T0 = 1_795_095_371_123_000
SHAPE = Shape(160, 120, 0, "yuv420p")


@dataclass
class Piece:
    """A closed segment: its frames' times, its end, why it ended and how it began."""

    times_us: list[int]
    end_us: int
    why: str
    begun: Cut


def cut_up(fragments: list[list[int]], target_s: float, shapes: dict[int, Shape] | None = None) -> list[Piece]:
    """Run a stream, given as the frame times of its fragments."""
    segmenter = Segmenter(target_s)
    pieces: list[Piece] = []
    times: list[int] = []
    begun = Cut.NONE

    def close(why: str) -> None:
        nonlocal times
        if times:
            assert segmenter.end_us is not None
            pieces.append(Piece(times, segmenter.end_us, why, begun))
        segmenter.closed()
        times = []

    for number, frame_times in enumerate(fragments):
        fragment = Fragment(str(number), frame_times[0])
        for index, time_us in enumerate(frame_times):
            frame = FrameId(fragment, index, time_us)
            shape = (shapes or {}).get(time_us, SHAPE)
            cut = segmenter.before(frame, shape)
            if cut is not Cut.NONE:
                close(cut.value)
                begun = cut
            elif not times:
                begun = Cut.NONE
            segmenter.add(frame, shape)
            assert segmenter.open
            times.append(time_us)
        if segmenter.ends_with_fragment():
            close("fragment")
            assert not segmenter.open
    close("flush")
    return pieces


@st.composite
def streams(draw: st.DrawFn, jumps: bool = True) -> list[list[int]]:
    """Fragments of one length with frames 16 to 100 ms apart; with ``jumps``, holes and steps back between some."""
    fragment_us = draw(st.sampled_from([300_000, 1_000_000, 2_000_000, 3_300_000, 9_000_000]))
    steps = st.sampled_from(draw(st.sampled_from([[33_333], [100_000], [16_667, 41_708, 100_000]])))
    time_us = T0
    fragments = []
    for _ in range(draw(st.integers(1, 7))):
        end_us = time_us + fragment_us
        times = []
        while time_us < end_us:
            times.append(time_us)
            time_us += draw(steps)
        fragments.append(times)
        if jumps and draw(st.integers(0, 3)) == 0:
            time_us += draw(st.sampled_from([-20_000_000, 3_000_000, -1_000_000]))
    return fragments


targets = st.sampled_from([1.0, 2.0, 6.0])


@given(streams(), targets)
def test_no_frame_is_lost_and_times_rise_within_a_segment(fragments: list[list[int]], target_s: float) -> None:
    pieces = cut_up(fragments, target_s)
    assert [t for p in pieces for t in p.times_us] == [t for f in fragments for t in f]
    for piece in pieces:
        assert piece.times_us == sorted(set(piece.times_us))
        assert piece.end_us > piece.times_us[-1]


@given(streams(), targets)
def test_no_segment_is_longer_than_a_quarter_more_than_wanted_and_a_frame(
    fragments: list[list[int]], target_s: float
) -> None:
    for piece in cut_up(fragments, target_s):
        longest_frame = max([b - a for a, b in zip(piece.times_us, piece.times_us[1:], strict=False)], default=100_000)
        assert piece.end_us - piece.times_us[0] <= target_s * 1_250_000 + max(longest_frame, 100_000)


@given(streams(), targets)
def test_no_sliver_is_left_except_where_the_timeline_breaks_or_all_is_flushed(
    fragments: list[list[int]], target_s: float
) -> None:
    for piece in cut_up(fragments, target_s):
        if piece.why in ("fragment", "segment"):
            assert piece.end_us - piece.times_us[0] >= target_s * 1_000_000 / 2


@given(st.sampled_from([1, 2, 3, 4, 6]), st.sampled_from([1.0, 2.0, 6.0]), st.sampled_from([10, 25, 30, 60]))
def test_fragments_that_divide_the_wanted_length_make_segments_of_exactly_that_length(
    parts: int, target_s: float, fps: int
) -> None:
    length_us = round(target_s * 1_000_000 / parts)
    fragments = []
    for number in range(3 * parts + 1):
        start_us = T0 + number * length_us
        count = round(length_us * fps / 1e6)
        fragments.append([start_us + i * length_us // max(1, count) for i in range(max(1, count))])
    pieces = cut_up(fragments, target_s)
    assert [p.why for p in pieces] == ["fragment"] * 3 + ["flush" if parts > 1 else "fragment"]
    assert [p.times_us[0] for p in pieces[:3]] == [fragments[i * parts][0] for i in range(3)]


@given(streams(), targets)
def test_timeline_breaks_exactly_where_time_goes_back_or_leaves_a_hole(
    fragments: list[list[int]], target_s: float
) -> None:
    pieces = cut_up(fragments, target_s)
    flat = [t for f in fragments for t in f]
    jumps = [b for a, b in itertools.pairwise(flat) if b < a or b - a > 500_000]
    assert [p.times_us[0] for p in pieces if p.begun is Cut.DISCONTINUITY] == jumps


def test_change_of_shape_breaks_the_timeline() -> None:
    times = [T0 + i * 40_000 for i in range(20)]
    for change in (Shape(320, 240, 0, "yuv420p"), Shape(160, 120, 90, "yuv420p"), Shape(160, 120, 0, "yuvj420p")):
        pieces = cut_up([times], 2.0, dict.fromkeys(times[7:], change))
        assert [(p.begun, len(p.times_us)) for p in pieces] == [(Cut.NONE, 7), (Cut.DISCONTINUITY, 13)]


def frame(time_us: int, number: str = "1") -> FrameId:
    return FrameId(Fragment(number, T0), 0, time_us)


def test_told_gap_breaks_the_timeline_once() -> None:
    segmenter = Segmenter(2.0)
    segmenter.mark_gap()
    assert segmenter.before(frame(T0), SHAPE) is Cut.NONE  # before the first frame there is nothing to break from
    segmenter.add(frame(T0), SHAPE)
    segmenter.mark_gap()
    assert segmenter.before(frame(T0 + 40_000), SHAPE) is Cut.DISCONTINUITY
    segmenter.closed()
    segmenter.add(frame(T0 + 40_000), SHAPE)
    assert segmenter.before(frame(T0 + 80_000), SHAPE) is Cut.NONE


@pytest.mark.parametrize(
    ("step_us", "expected"),
    [
        (0, Cut.NONE),
        (40_000, Cut.NONE),
        (400_000, Cut.NONE),
        (900_000, Cut.DISCONTINUITY),
        (-900_000, Cut.DISCONTINUITY),
    ],
)
def test_next_process_goes_on_without_a_break_only_if_time_does(step_us: int, expected: Cut) -> None:
    segmenter = Segmenter(2.0)
    segmenter.resume(T0)
    assert segmenter.end_us == T0
    assert segmenter.before(frame(T0 + step_us), SHAPE) is expected


@pytest.mark.parametrize("step_us", [600_000, 1_000_000, 5_000_000])
def test_slow_camera_is_no_row_of_holes(step_us: int) -> None:
    times = [T0 + i * step_us for i in range(40)]
    pieces = cut_up([times], 10.0)
    # The first step may be a hole; the second, as long, says that it was none.
    assert [p.begun for p in pieces].count(Cut.DISCONTINUITY) <= 1
    assert len(pieces) <= 40 * step_us / 10_000_000 + 2


def test_hole_behind_a_slow_part_is_still_one() -> None:
    times = [T0 + i * 1_000_000 for i in range(5)]
    times += [times[-1] + 33_000 * i for i in range(1, 20)]
    times += [times[-1] + 900_000]
    pieces = cut_up([times], 60.0)
    assert pieces[-1].begun is Cut.DISCONTINUITY
    assert len(pieces[-1].times_us) == 1


def test_frames_of_one_time_stay_together() -> None:
    times = [T0 + i // 3 * 40_000 for i in range(30)]
    assert [(p.begun, len(p.times_us), p.end_us) for p in cut_up([times], 2.0)] == [(Cut.NONE, 30, times[-1] + 40_000)]
