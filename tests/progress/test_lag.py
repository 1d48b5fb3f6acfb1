"""Laws of the lag: its parts add up to the whole, and its quantiles are those of the values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.model.frame import Cover, Decision, FrameId, Stamps
from streamproc.model.media import Fragment
from streamproc.model.segment import FrameRecord, Position, Segment
from streamproc.progress.lag import STAGES, Activity, LagStats, Quantiles, ServiceClock, StreamState, stream_state

T0 = 1_795_095_371_123_000
SECOND_US = 1_000_000
STEP = st.one_of(st.integers(-5_000_000, 60_000_000), st.integers(0, 3000), st.integers(9_990_000, 10_010_000))


def segment_of(frames: list[tuple[int, Stamps]], encoded_us: int, server_us: int = 0) -> Segment:
    fragment = Fragment("7", T0, server_us)
    records = tuple(
        FrameRecord(FrameId(fragment, n, us), Cover(Decision.SEEN), stamps) for n, (us, stamps) in enumerate(frames)
    )
    return Segment(records[0].id, Position("7", None), 1, 2, 2, b"", 0, records, encoded_us=encoded_us)


@given(st.lists(st.tuples(*[STEP] * 4), min_size=1, max_size=20), STEP, st.integers(0, 9_000_000))
def test_stages_add_up_to_the_whole(frames: list[tuple[int, int, int, int]], encode: int, publish: int) -> None:
    encoded_us = T0 + 100 * SECOND_US + encode
    made = [(T0 + a, Stamps(T0 + a + b, T0 + a + b + c, T0 + a + b + c + d)) for a, b, c, d in frames]
    stats = LagStats()
    stats.record(segment_of(made, encoded_us), encoded_us + publish)
    summary = stats.summary()
    assert summary["count"] == len(frames)
    exact_us = sum(encoded_us + publish - us for us, _ in made) / len(made)
    assert summary["mean_ms"] == pytest.approx(exact_us / 1000, abs=0.001)
    # Each of the six means is rounded to the microsecond.
    assert sum(stage["mean_ms"] for stage in summary["stages"].values()) == pytest.approx(
        summary["mean_ms"], abs=0.0035
    )


def test_each_stage_is_the_time_between_its_own_stamps() -> None:
    stats = LagStats()
    stamps = Stamps(T0 + 1000, T0 + 11_000, T0 + 111_000)
    stats.record(segment_of([(T0, stamps)], T0 + 1_111_000), T0 + 1_131_000)
    summary = stats.summary()
    assert {stage: summary["stages"][stage]["mean_ms"] for stage in STAGES} == {
        "ingest": 1.0,
        "decode": 10.0,
        "decide": 100.0,
        "encode": 1000.0,
        "publish": 20.0,
    }
    assert summary["max_ms"] == 1131


def test_a_missing_stamp_gives_its_time_to_the_next_stage() -> None:
    stats = LagStats()
    stats.record(segment_of([(T0, Stamps(T0 + 1000, 0, T0 + 5000))], 0), T0 + 9000)
    stages = stats.summary()["stages"]
    assert [stages[stage]["mean_ms"] for stage in STAGES] == [1.0, 0.0, 4.0, 0.0, 4.0]


def test_nothing_recorded_is_told_apart_from_no_lag() -> None:
    summary = LagStats().summary()
    assert summary["count"] == 0
    assert summary["p99_ms"] is None
    assert summary["stages"]["decide"]["mean_ms"] is None
    with pytest.raises(KeyError):
        LagStats().add("upload", 1)


def ranked(values: list[int], percent: int) -> int:
    return sorted(values)[max(1, math.ceil(percent * len(values) / 100)) - 1]


@given(st.lists(st.integers(-9999, 9999), min_size=1, max_size=300))
def test_quantiles_below_ten_seconds_are_exact(values_ms: list[int]) -> None:
    counted = Quantiles()
    for value in values_ms:
        counted.add(value * 1000)
    assert counted.quantiles(1, 50, 95, 99, 100) == [ranked(values_ms, percent) for percent in (1, 50, 95, 99, 100)]
    assert counted.summary()["max_ms"] == max(values_ms)


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=100))
def test_large_quantiles_keep_three_digits_and_are_never_too_small(values_ms: list[int]) -> None:
    counted = Quantiles()
    for value in values_ms:
        counted.add(value * 1000)
    for percent, found in zip((50, 95, 99), counted.quantiles(50, 95, 99), strict=True):
        exact = ranked(values_ms, percent)
        assert found is not None
        assert exact <= found <= exact + max(0, abs(exact) // 100)
        assert found <= max(values_ms)


def test_memory_is_bounded() -> None:
    counted = Quantiles()
    for ms in range(0, 100_000_000, 997):
        counted.add(ms * 1000)
    assert len(counted._counts) < 10_000 + 4 * 900 + 10


def test_a_mean_does_not_suffer_from_coarse_counting() -> None:
    counted = Quantiles()
    for us in (12_345_678, 1, 2):
        counted.add(us)
    assert counted.summary()["mean_ms"] == 4115.227


@given(
    st.integers(-(10**9), 10**9),
    st.lists(st.tuples(st.integers(0, 5_000_000), st.integers(0, 30_000)), min_size=1, max_size=64),
)
def test_service_clock_is_off_by_at_most_the_shortest_way(offset_us: int, fragments: list[tuple[int, int]]) -> None:
    clock = ServiceClock()
    for number, (way_us, behind_ms) in enumerate(fragments):
        stamped_us = T0 + number * 2 * SECOND_US
        clock.observe(stamped_us + offset_us - behind_ms * 1000, behind_ms, stamped_us + way_us)
    assert clock.offset_us == offset_us - min(way for way, _ in fragments)
    assert clock.to_ours(T0 + offset_us) == T0 + min(way for way, _ in fragments)


def test_service_clock_follows_when_our_clock_is_set() -> None:
    clock = ServiceClock()
    for number in range(200):
        step_us = 0 if number < 100 else 7 * SECOND_US
        clock.observe(T0 + number * SECOND_US, 0, T0 + number * SECOND_US + step_us)
    assert clock.offset_us == -7 * SECOND_US


def test_service_clock_is_unknown_without_a_server_timestamp() -> None:
    clock = ServiceClock()
    clock.observe(0, 12, T0)
    assert clock.offset_us is None
    assert clock.to_ours(T0) == T0


@pytest.mark.parametrize(
    ("server_us", "known", "count"),
    [(T0 + 3_040_000, True, 1), (0, True, 0), (T0 + 3_040_000, False, 0)],
    ids=["both known", "no server timestamp", "no offset"],
)
def test_lag_from_the_service_is_on_our_clock(server_us: int, known: bool, count: int) -> None:
    clock = ServiceClock()
    if known:
        clock.observe(T0 + 3 * SECOND_US, 0, T0)  # the service is three seconds ahead of us
    stats = LagStats()
    stats.record(segment_of([(T0, Stamps(T0 + 1, T0 + 2, T0 + 3))], T0 + 4, server_us), T0 + 2_040_000, clock)
    service = stats.summary()["service"]
    assert service["count"] == count
    assert service["max_ms"] == (2000 if count else None)


NOW = T0 + 1000 * SECOND_US


def ago(seconds: float) -> int:
    return NOW - round(seconds * SECOND_US)


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        pytest.param(Activity(), StreamState.IDLE, id="never a byte"),
        pytest.param(Activity(ago(1), ago(1), ago(2), 2000), StreamState.LIVE, id="steady"),
        pytest.param(Activity(ago(1), ago(1), ago(2), None), StreamState.LIVE, id="the service does not say"),
        pytest.param(Activity(ago(1), ago(1), None, 4000), StreamState.LIVE, id="two fragments behind"),
        pytest.param(Activity(ago(1), ago(1), None, 4001), StreamState.CATCHING_UP, id="more than two"),
        pytest.param(Activity(ago(5), None, ago(9), 2000), StreamState.LIVE, id="just quiet"),
        pytest.param(Activity(ago(5.001), None, ago(9), 2000), StreamState.IDLE, id="quiet"),
        pytest.param(Activity(ago(6), None, ago(3), 7_337_000), StreamState.IDLE, id="quiet, and old"),
        pytest.param(Activity(ago(6), ago(6), ago(9), 2000), StreamState.LIVE, id="quiet, but unfinished"),
        pytest.param(Activity(ago(30), ago(30), ago(90), 2000), StreamState.LIVE, id="just not stalled"),
        pytest.param(Activity(ago(0), ago(30.001), ago(90), 2000), StreamState.STALLED, id="stalled"),
        pytest.param(Activity(ago(99), ago(99), None, None), StreamState.STALLED, id="stalled from the first"),
        pytest.param(Activity(ago(0), ago(99), ago(1), 90_000), StreamState.CATCHING_UP, id="a backlog that moves"),
        pytest.param(Activity(ago(0), ago(1), ago(900), 2000), StreamState.LIVE, id="awake again after a long rest"),
    ],
)
def test_state_tells_quiet_from_slow(seen: Activity, state: StreamState) -> None:
    assert stream_state(NOW, seen) is state
