"""Laws of the ways between two looks, with motion that is known exactly."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.model.detection import Detection, Seen
from streamproc.model.frame import Cover
from streamproc.model.geometry import Box
from streamproc.track.coverage import Coverage
from streamproc.track.paths import Blind, Carried, Step, paths

FACE = Box(0.4, 0.4, 0.48, 0.52)


class Moves:
    """Everything in frame ``t`` stands ``at[t]`` from where it is in frame 0."""

    def __init__(self, at: Sequence[tuple[float, float]], confidence: float = 1.0) -> None:
        self.at = at
        self.confidence = confidence
        self.asked: list[tuple[int, int]] = []

    def carry(self, ticket: int, to: int, boxes: Sequence[Box]) -> list[Carried]:
        self.asked.append((ticket, to))
        dx, dy = (b - a for a, b in zip(self.at[ticket], self.at[to], strict=True))
        return [Carried(shifted(box, dx, dy), self.confidence) for box in boxes]

    def sway(self) -> Moves:
        return self

    def still(self, ticket: int, to: int) -> bool:
        return max(abs(a - b) for a, b in zip(self.at[ticket], self.at[to], strict=True)) < 0.003


def shifted(box: Box, dx: float, dy: float) -> Box:
    return Box(box.left + dx, box.top + dy, box.right + dx, box.bottom + dy)


places = st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))
rows = st.lists(places, min_size=2, max_size=12)


def steps(count: int, step_us: int = 33_333) -> list[Step]:
    return [Step(i, i * step_us) for i in range(count)]


@given(rows, st.booleans())
def test_box_goes_where_everything_goes_in_either_direction(at: list[tuple[float, float]], back: bool) -> None:
    way = steps(len(at))[:: -1 if back else 1]
    first = way[0].ticket
    (path,) = paths(Moves(at), way, [FACE])
    assert path.boxes[0] == FACE
    for step, box in zip(way, path.boxes, strict=True):
        dx, dy = (b - a for a, b in zip(at[first], at[step.ticket], strict=True))
        wanted = shifted(FACE, dx, dy)
        assert max(abs(box.left - wanted.left), abs(box.top - wanted.top)) < 0.0031  # between two that are still


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_confidence_never_grows_on_the_way(confidences: list[float]) -> None:
    class Fading(Moves):
        def carry(self, ticket: int, to: int, boxes: Sequence[Box]) -> list[Carried]:
            return [Carried(box, confidences[ticket]) for box in boxes]

    (path,) = paths(Fading([(0.1 * i, 0) for i in range(len(confidences) + 1)]), steps(len(confidences) + 1), [FACE])
    assert path.confidences == tuple([1.0] + [min(confidences[: i + 1]) for i in range(len(confidences))])


def test_still_pictures_are_compared_at_every_other_frame_and_moving_ones_at_each() -> None:
    still, moving = Moves([(0, 0)] * 7), Moves([(0.05 * i, 0) for i in range(7)])
    for motion in (still, moving):
        paths(motion, steps(7), [FACE])
    assert still.asked == [(0, 2), (2, 4), (4, 6)]
    assert moving.asked == [(i, i + 1) for i in range(6)]
    assert paths(Blind(), steps(3), []) == []


def covered(
    at: Sequence[tuple[float, float]], looks: Sequence[int], motion: Moves | Blind, unseen: int = -1
) -> list[Cover]:
    """A face that moves as told, looked at in these frames and missed in one of them."""
    coverage = Coverage(0.1, 500_000, motion=motion)
    for ticket in range(len(at)):
        coverage.frame(ticket, ticket * 33_333)
        if ticket in looks:
            coverage.look(ticket)
    for ticket in looks:
        face = Detection(shifted(FACE, *at[ticket]))
        coverage.answer(ticket, Seen((face,) if ticket != unseen else ()))
    coverage.close()
    return [cover for _, cover in coverage.decided()]


def hidden(cover: Cover, box: Box) -> bool:
    return any(region.box.contains(box.clip(), 1e-6) for region in cover.regions)


@given(st.lists(places, min_size=10, max_size=10))
def test_face_is_hidden_on_any_way_that_can_be_followed(inside: list[tuple[float, float]]) -> None:
    at = [(0.0, 0.0), *inside, (0.0, 0.0)]
    covers = covered(at, (0, 11), Moves(at))
    assert all(hidden(c, shifted(FACE, *p)) for c, p in zip(covers, at, strict=True))


def test_nod_between_two_looks_shows_only_to_the_blind() -> None:
    at = [(0.0, 0.03 * (4 <= i <= 7)) for i in range(12)]
    assert not all(hidden(c, shifted(FACE, *p)) for c, p in zip(covered(at, (0, 11), Blind()), at, strict=True))
    assert all(hidden(c, shifted(FACE, *p)) for c, p in zip(covered(at, (0, 11), Moves(at)), at, strict=True))


@pytest.mark.parametrize("unseen", [0, 11])
def test_face_that_one_look_missed_is_followed_from_the_other(unseen: int) -> None:
    at = [(0.02 * i, 0.01 * i) for i in range(12)]
    covers = covered(at, (0, 11), Moves(at), unseen)
    seen = range(12) if unseen else range(1, 12)
    assert all(hidden(covers[i], shifted(FACE, *at[i])) for i in seen)


@given(st.lists(places, min_size=10, max_size=10), st.floats(0, 0.29))
def test_motion_that_is_not_sure_changes_nothing(inside: list[tuple[float, float]], confidence: float) -> None:
    at = [(0.0, 0.0), *inside, (0.0, 0.0)]
    assert covered(at, (0, 11), Moves(at, confidence)) == covered(at, (0, 11), Blind())
