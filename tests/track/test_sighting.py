"""Laws of where an object may be at a moment at which nobody looked."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.model.detection import Detection
from streamproc.model.geometry import Box
from streamproc.track.sighting import Drift, Sighting, drift, predicted

HERE = Box(0.4, 0.4, 0.5, 0.5)
NOW_US = 1_000_000

speeds = st.floats(-2, 2)
drifts = st.builds(Drift, speeds, speeds, speeds, speeds)
times = st.integers(-1_000_000, 1_000_000)


def moved(box: Box, by: Drift, us: int) -> Box:
    s = us / 1_000_000
    return Box(box.left + by.left * s, box.top + by.top * s, box.right + by.right * s, box.bottom + by.bottom * s)


def seen(by: Drift | None = None, box: Box = HERE) -> Sighting:
    return Sighting(Detection(box), NOW_US, by)


@given(st.none() | drifts, times, st.floats(0, 1))
def test_object_may_be_where_it_was_and_anywhere_up_to_where_it_was_going(
    by: Drift | None, us: int, share: float
) -> None:
    reach = seen(by).reach(NOW_US + us)
    assert reach.contains(HERE)
    if by is not None and us > 0:
        assert reach.contains(HERE.between(moved(HERE, by, us), share))


@given(st.none() | drifts, st.sampled_from([-1, 1]), st.integers(0, 1_000_000), st.integers(0, 1_000_000))
def test_object_may_be_the_farther_away_the_longer_nobody_saw_it(
    by: Drift | None, way: int, us: int, more_us: int
) -> None:
    sooner, later = (seen(by).reach(NOW_US + way * t) for t in (us, us + more_us))
    assert later.contains(sooner)


@given(times)
def test_object_seen_once_may_be_farther_away_than_one_that_stood_still(us: int) -> None:
    assert seen(None).reach(NOW_US + us).contains(seen(Drift()).reach(NOW_US + us))


@pytest.mark.parametrize(
    ("box", "border"),
    [
        pytest.param(Box(0.1, 0.4, 0.2, 0.5), Box(0, 0.4, 0.1, 0.5), id="left"),
        pytest.param(Box(0.4, 0.1, 0.5, 0.2), Box(0.4, 0, 0.5, 0.1), id="top"),
        pytest.param(Box(0.8, 0.4, 0.9, 0.5), Box(0.9, 0.4, 1, 0.5), id="right"),
        pytest.param(Box(0.4, 0.8, 0.5, 0.9), Box(0.4, 0.9, 0.5, 1), id="bottom"),
    ],
)
def test_object_seen_once_may_have_crossed_the_border_that_is_near(box: Box, border: Box) -> None:
    for us in (-200_000, 200_000):
        assert seen(None, box).reach(NOW_US + us).contains(border)
        assert not seen(Drift(), box).reach(NOW_US + us).contains(border)


@given(drifts, st.lists(st.integers(1_000, 400_000), min_size=1, max_size=5), times)
def test_even_motion_is_foreseen_exactly_whenever_it_is_looked_at(by: Drift, steps: list[int], us: int) -> None:
    sighting = seen(by)
    for step in steps:
        time_us = sighting.seen_us + step
        box = moved(HERE, by, time_us - NOW_US)
        sighting = Sighting(Detection(box), time_us, drift(sighting, box, time_us))
    then = sighting.seen_us + us
    assert astuple(predicted(sighting, then)) == pytest.approx(astuple(moved(HERE, by, then - NOW_US)), abs=1e-6)


@given(st.integers(1, 150_000), st.floats(-0.01, 0.01))
def test_inexact_box_shortly_after_the_last_does_not_look_like_speed(us: int, error: float) -> None:
    box = Box(HERE.left + error, HERE.top, HERE.right, HERE.bottom)
    found = drift(seen(Drift()), box, NOW_US + us)
    assert found is not None
    assert abs(found.left) <= abs(error) / 0.15 + 1e-9


@pytest.mark.parametrize(("us", "known"), [(0, False), (19_999, False), (20_000, True), (200_000, True)])
def test_motion_shows_only_over_some_time(us: int, known: bool) -> None:
    assert (drift(seen(), moved(HERE, Drift(0.1, 0, 0.1, 0), us), NOW_US + us) is not None) is known
