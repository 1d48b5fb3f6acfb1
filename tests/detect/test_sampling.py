"""The laws of the sampler: never more looks than are paid for, at an even pace, and one at each fragment's end."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamproc.detect.sampling import Sampler

RATES = st.one_of(
    st.sampled_from([0.5, 1.0, 2.0, 5.0, 7.3, 10.0, 30.0]), st.floats(0.001, 100, allow_nan=False, allow_infinity=False)
)
# Steps near the looks' spacing, near the jump, backwards, and none at all.
STEPS = st.one_of(
    st.sampled_from([0, 1, 33_333, 33_334, 100_000, 199_999, 200_000, 200_001, 222_222, 222_223]),
    st.integers(1_999_990, 2_000_010),
    st.integers(-5_000_000, 5_000_000),
    st.integers(10**13, 10**14),
)


def frame_times(fps: float, seconds: float) -> list[int]:
    return [round(i * 1_000_000 / fps) for i in range(round(fps * seconds))]


def run(rate: float, times: list[int], fragment_frames: int = 0) -> tuple[list[int], list[int]]:
    """Times of all looks, and of the frames that end a fragment."""
    sampler = Sampler(rate)
    looks, ends = [], []
    for i, time_us in enumerate(times, 1):
        looked = sampler.wants(time_us)
        end = bool(fragment_frames) and i % fragment_frames == 0
        if end:
            ends.append(time_us)
        if looked or (end and sampler.closing(time_us)):
            looks.append(time_us)
    return looks, ends


@given(RATES, st.integers(-(10**6), 2 * 10**15), st.lists(st.tuples(STEPS, st.booleans()), max_size=80))
@example(5.0, 0, [(200_000, True)] * 50)
@example(5.0, 0, [(-1, False)] * 50)
@example(1 / 3, 0, [(1_499_998, False), (1_499_998, True)])
@example(5.0, 0, [(2_000_001, True), (-2_000_001, True)] * 20)
def test_no_run_makes_more_looks_than_rate_times_elapsed_plus_one(rate, start, steps):
    sampler = Sampler(rate)
    now, elapsed, looks = start, 0, int(sampler.wants(start))
    for step, ends_fragment in steps:
        now += step
        elapsed += max(0, step)
        looks += sampler.wants(now) or (ends_fragment and sampler.closing(now))
        assert looks <= Fraction(rate) * elapsed / 1_000_000 + 1


@given(st.sampled_from([0.5, 5.0, 7.3]), st.lists(st.booleans(), min_size=1, max_size=20))
def test_what_was_saved_is_never_spent_in_a_burst_of_more_than_three(rate, quiet):
    """However long few looks were made, a hail of fragments gets rate * t + 3 of them."""
    sampler = Sampler(rate)
    now = 0
    for _ in quiet * 20:
        now += 1_900_000
        sampler.wants(now)
    looks = 0
    for i in range(100):
        now += 1000
        looks += sampler.wants(now) or sampler.closing(now)
        assert looks <= Fraction(rate) * (i + 1) / 1000 + 3


@given(RATES, st.lists(st.tuples(STEPS, st.sampled_from(["", "end", "forced"])), max_size=60))
def test_forced_looks_are_paid_back_before_another_is_granted(rate, steps):
    sampler = Sampler(rate)
    now = elapsed = 0
    looks = int(sampler.wants(0))
    for step, what in steps:
        now += step
        elapsed += max(0, step)
        if what == "forced":
            sampler.forced(now)
            looks += 1
        elif sampler.wants(now) or (what == "end" and sampler.closing(now)):
            looks += 1
            assert looks <= Fraction(rate) * elapsed / 1_000_000 + 1


@given(RATES, st.integers(-(10**15), 10**15))
def test_the_first_frame_is_looked_at(rate, start):
    assert Sampler(rate).wants(start)


@pytest.mark.parametrize("seconds", [1, 2, 4, 6], ids=lambda s: f"{s}s")
@pytest.mark.parametrize("fps", [15, 24, 25, 30, 30000 / 1001, 50, 60], ids=lambda f: f"{f:g}fps")
def test_every_fragments_last_frame_is_looked_at(fps, seconds):
    frames = round(fps * seconds)
    looks, ends = run(5.0, frame_times(fps, 120), frames)
    skipped = 1 if fps < 20 or seconds == 1 else 0  # the first fragment must earn the reserve
    assert len(ends) >= 19
    assert set(ends[skipped:]) <= set(looks)
    assert len(looks) <= 5 * 120 + 1


@pytest.mark.parametrize("fps", [20, 24, 25, 30, 30000 / 1001, 50, 60, 120, 240], ids=lambda f: f"{f:g}fps")
@pytest.mark.parametrize("fragment_s", [0, 1, 2], ids=["no-fragments", "1s", "2s"])
def test_looks_are_no_further_apart_than_1_3_spacings(fps, fragment_s):
    looks, _ = run(5.0, frame_times(fps, 60), round(fps * fragment_s))
    gaps = [b - a for a, b in itertools.pairwise(looks)]
    assert max(gaps) <= 1.3 * 200_000


@pytest.mark.parametrize("fps", [10, 12, 15], ids=lambda f: f"{f}fps")
def test_sparse_frames_are_looked_at_as_evenly_once_the_reserve_is_earned(fps):
    looks, _ = run(5.0, frame_times(fps, 60))
    gaps = [b - a for a, b in itertools.pairwise(looks)]
    assert max(gaps) <= 1.3 * 200_000 + 100_000
    assert max(gaps[8:]) <= 1.3 * 200_000


@given(st.floats(0.5, 30), st.floats(5.5, 20), st.integers(0, 50_000_000))
def test_looks_are_evenly_spaced_at_any_rate_when_frames_are_dense(rate, frames_per_look, start):
    times = [start + t for t in frame_times(rate * frames_per_look, 20 / rate)]
    looks, _ = run(rate, times)
    assert len(looks) >= 15
    # 2 µs: frame times and spacing are whole microseconds
    assert all(b - a <= 1.3e6 / rate + 2 for a, b in itertools.pairwise(looks))


@given(st.sampled_from([1.0, 5.0, 9.5]), st.sampled_from([2, 3, 4]))
def test_slow_cameras_are_looked_at_in_every_frame(rate, divisor):
    times = frame_times(rate / divisor, 30 * divisor / rate)
    looks, _ = run(rate, times)
    assert looks == times


@given(st.sampled_from([1.0, 5.0, 9.5]), st.integers(0, 10))
def test_a_camera_as_fast_as_the_budget_loses_few_looks(rate, fragment_frames):
    times = frame_times(rate, 60 / rate)
    looks, _ = run(rate, times, fragment_frames)
    assert len(looks) >= len(times) - 3


@pytest.mark.parametrize("jump", [-60_000_000, -1, 2_000_001, 10**15], ids=["back", "back-1us", "gap", "far"])
def test_a_jump_of_the_time_starts_anew_with_a_look_but_without_a_burst(jump):
    sampler = Sampler(5.0)
    times = frame_times(30, 20)
    for time_us in times:
        sampler.wants(time_us)
    after = times[-1] + jump
    assert sampler.wants(after)
    assert not sampler.wants(after + 1)
    assert not sampler.closing(after + 2)
    assert sampler.closing(after + 200_000)


def test_a_small_gap_is_no_jump():
    sampler = Sampler(0.4)
    assert sampler.wants(0)
    assert not sampler.wants(2_000_000)
    assert sampler.wants(4_000_001)  # more than 2 s: a jump, and its 2.5 s of credit are there


def test_a_frame_is_not_closed_after_it_was_looked_at():
    sampler = Sampler(5.0)
    sampler.wants(0)
    sampler.wants(1_000_000)
    assert not sampler.closing(1_000_000)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 0.0001], ids=str)
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match="calls_per_second"):
        Sampler(rate)


@given(RATES, st.sampled_from([0, 300_000, 1_000_000]), st.lists(st.tuples(STEPS, st.sampled_from("qrc")), max_size=60))
def test_questions_and_rests_keep_the_budget_too(rate, every_us, steps):
    sampler = Sampler(rate, every_us)
    now, elapsed, looks = 0, 0, int(sampler.wants(0))
    for step, kind in steps:
        now += step
        elapsed += max(0, step)
        if sampler.wants(now):
            if kind == "r":
                sampler.rested(now)
            else:
                looks += 1
        looks += kind == "q" and sampler.question(now)
        looks += kind == "c" and sampler.closing(now)
        assert looks <= Fraction(rate) * elapsed / 1_000_000 + 1


def test_questions_leave_the_credit_of_the_next_regular_look():
    sampler = Sampler(5.0, 500_000)
    times = frame_times(30, 4)
    looks = [t for t in times if sampler.wants(t) or (sampler.question(t) and False)]
    assert [b - a for a, b in itertools.pairwise(looks)] == pytest.approx([500_000] * (len(looks) - 1), abs=34_000)
