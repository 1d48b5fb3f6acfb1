"""What a run says of itself while it runs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from publish.publish_cases import T0, frame_id, segment

from streamproc.model.frame import Cover, Decision, Region, Stamps
from streamproc.model.geometry import WHOLE_PICTURE, Box
from streamproc.model.media import Fragment
from streamproc.model.segment import Segment
from streamproc.pipeline.tally import Tally
from streamproc.progress.lag import STAGES

SECOND = 1_000_000
FACE = Region(Box(0.1, 0.1, 0.2, 0.2), "face", Decision.SEEN)


def arrived(tally: Tally, *times_us: int) -> None:
    for time_us in times_us:
        tally.arrived(time_us)


def segment_until(arrived_us: int) -> Segment:
    """A segment of one frame that arrived then."""
    one = segment(frame_id(time_us=arrived_us - 5000), duration_us=2 * SECOND)
    stamps = Stamps(arrived_us, arrived_us + 1000, arrived_us + 2000)
    return replace(one, frames=tuple(replace(f, stamps=stamps) for f in one.frames), encoded_us=arrived_us + 3000)


def state(tally: Tally, now_us: int) -> str:
    return str(tally.status(now_us, {})["state"])


def test_quiet_camera_is_idle_and_slow_store_is_stalled() -> None:
    tally = Tally()
    assert state(tally, T0) == "idle"
    arrived(tally, *(T0 + n * 33_333 for n in range(60)))
    assert state(tally, T0 + 2 * SECOND) == "live"
    assert state(tally, T0 + 29 * SECOND) == "live"
    assert state(tally, T0 + 31 * SECOND) == "stalled"
    tally.published(segment_until(T0 + 59 * 33_333), T0 + 32 * SECOND, False)
    assert state(tally, T0 + 33 * SECOND) == "idle"


def test_camera_that_comes_back_after_an_hour_is_not_stalled() -> None:
    tally = Tally()
    arrived(tally, T0, T0 + 33_333)
    tally.published(segment_until(T0 + 33_333), T0 + SECOND, False)
    arrived(tally, T0 + 3600 * SECOND)
    assert state(tally, T0 + 3600 * SECOND + 1) == "live"


def test_what_arrived_after_a_published_segment_is_still_unfinished() -> None:
    tally = Tally()
    arrived(tally, T0, T0 + 2 * SECOND)
    tally.published(segment_until(T0), T0 + 3 * SECOND, False)
    assert tally.activity.unfinished_since_us == T0 + 2 * SECOND


def test_memory_for_arrivals_is_bounded_and_the_oldest_kept_still_tells_a_stall() -> None:
    tally = Tally()
    arrived(tally, *(T0 + n * SECOND for n in range(5000)))
    unfinished_us = tally.activity.unfinished_since_us
    assert unfinished_us is not None
    assert T0 + 4000 * SECOND < unfinished_us < T0 + 4900 * SECOND


@pytest.mark.parametrize(
    ("fragment_s", "behind_ms", "expected"),
    [(2, 2500, "live"), (2, 4500, "catching up"), (10, 11_000, "live"), (10, 21_000, "catching up")],
)
def test_long_fragments_are_not_taken_for_a_backlog(fragment_s: int, behind_ms: int, expected: str) -> None:
    tally = Tally(behind_now_ms=behind_ms)
    for number in range(3):
        tally.fragment(Fragment(str(number), T0 + number * fragment_s * SECOND, T0))
    arrived(tally, T0)
    assert state(tally, T0) == expected


def test_means_of_the_newest_segments_stages_add_up_to_its_lag() -> None:
    tally = Tally()
    tally.published(segment_until(T0), T0 + SECOND, False)
    tally.published(segment_until(T0 + SECOND), T0 + 4 * SECOND, False)
    lag = tally.status(T0, {})["newest"]["lag"]
    assert lag["count"] == 1
    assert lag["mean_ms"] == pytest.approx(3005)
    assert sum(lag["stages"][stage]["mean_ms"] for stage in STAGES) == pytest.approx(lag["mean_ms"])


def test_faces_are_the_most_of_one_frame_and_a_frame_covered_whole_counts_none() -> None:
    tally = Tally()
    whole = Cover(Decision.WHOLE, (Region(WHOLE_PICTURE, "frame", Decision.WHOLE),))
    covers = [Cover(Decision.SEEN, (FACE, FACE)), Cover(Decision.CARRIED, (FACE,)), whole]
    made = segment(*(frame_id(index=n, time_us=T0 + n * 40_000) for n in range(3)), duration_us=120_000)
    frames = tuple(replace(f, cover=c) for f, c in zip(made.frames, covers, strict=True))
    tally.published(replace(made, frames=frames), T0 + SECOND, False)
    newest = tally.status(T0, {})["newest"]
    assert (newest["faces"], newest["fps"], newest["seconds"]) == (2, 25.0, 0.12)
    tally.published(segment(cover=whole), T0 + SECOND, False)
    assert tally.status(T0, {})["newest"]["faces"] == 0


def test_status_is_the_summary_and_more_and_goes_into_json() -> None:
    tally = Tally()
    calls = {"DetectFaces": {"ok": 1, "failed": 0, "throttled": 0, "shed": 0, "late": 0}}
    for _ in range(2):
        status = json.loads(json.dumps(tally.status(T0, calls)))
        assert json.loads(json.dumps(tally.summary(calls))).items() <= status.items()
        tally.published(segment_until(T0), T0 + SECOND, False)
