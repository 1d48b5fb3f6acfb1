"""The drawing of a sweep: whatever the figures, there is a picture, and each rate is on it."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.batch.chart import _number, _ticks, curve
from streamproc.batch.evaluation import Score


def scored(calls: int, exposed: int, over: float, long: int) -> Score:
    return Score(1000, 100.0, 1000, exposed, min(exposed, 1), min(exposed, long), 50.0, over, over, 0, calls)


scores = st.builds(scored, st.integers(0, 6000), st.integers(0, 1000), st.floats(0, 1), st.integers(0, 1))


def patches(png: bytes, colour: tuple[int, int, int]) -> int:
    """How many discs of this colour there are."""
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    same = np.all(np.abs(picture.astype(int) - colour) < 12, axis=2).astype(np.uint8)
    return cv2.connectedComponents(cv2.erode(same, np.ones((7, 7), np.uint8)))[0] - 1


@settings(max_examples=25)
@given(st.lists(scores, min_size=1, max_size=6))
def test_there_is_a_picture_of_any_figures(found: list[Score]) -> None:
    assert curve(found, "some recordings").startswith(b"\x89PNG")


def test_every_rate_is_a_point_in_both_panels_and_long_exposures_are_red() -> None:
    found = [scored(100, 30, 0.02, 1), scored(200, 12, 0.012, 0), scored(300, 3, 0.009, 0), scored(500, 0, 0.004, 1)]
    png = curve(found, "four")
    assert patches(png, (40, 40, 200)) == 2
    assert patches(png, (170, 95, 30)) == 6
    assert png == curve(found[::-1], "four"), "in the order of what they cost"


@given(st.floats(0, 1000), st.floats(0.001, 1000))
def test_ticks_are_round_numbers_around_the_values(low: float, span: float) -> None:
    ticks = _ticks(low, low + span)
    assert ticks[0] <= low + 1e-6 * span
    assert ticks[-1] >= low + span * (1 - 1e-6)
    assert 2 <= len(ticks) <= 9
    assert ticks == sorted(set(ticks))
    assert all(abs(float(_number(tick, ticks)) - tick) < 1e-8 for tick in ticks)
