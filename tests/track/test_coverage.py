"""Laws of covering, over random streams: frames, looks, answers in any order, failures, cuts, time that runs out."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.model.detection import Answer, Detection, Failed, Failure, Seen
from streamproc.model.frame import Cover, Decision
from streamproc.model.geometry import Box
from streamproc.track.coverage import COVERED_WHOLE, Coverage

STEP_US = 33_333
EXTEND_US = 250_000
MARGIN = 0.1


@dataclass(frozen=True)
class Shot:
    """One frame of a random stream.

    Attributes:
        answer: What its look says; None if nobody looks at it; "never" if no answer comes.
        cut: Nothing is carried from the frame before.
    """

    time_us: int
    answer: Answer | Literal["never"] | None = None
    doubtful: bool = False
    cut: bool = False

    @property
    def seen(self) -> tuple[Detection, ...] | None:
        return self.answer.detections if isinstance(self.answer, Seen) and not self.doubtful else None


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    left, top = draw(st.integers(0, 18)) / 20, draw(st.integers(0, 18)) / 20
    return Box(left, top, left + draw(st.integers(1, 6)) / 20, top + draw(st.integers(1, 6)) / 20).clip()


answers = st.one_of(
    st.none(),
    st.none(),
    st.none(),
    st.just("never"),
    st.sampled_from(Failure).map(Failed),
    st.lists(st.builds(Detection, boxes(), st.sampled_from(["face", "plate"])), max_size=3).map(
        lambda d: Seen(tuple(d))
    ),
    st.lists(st.builds(Detection, boxes(), st.just("face")), max_size=2).map(lambda d: Seen(tuple(d))),
)


@st.composite
def streams(draw: st.DrawFn) -> list[Shot]:
    shots = []
    time_us = 0
    for _ in range(draw(st.integers(1, 16))):
        time_us += draw(st.sampled_from([1, STEP_US, STEP_US, 3 * STEP_US]))
        cut = draw(st.integers(0, 7)) == 0
        shots.append(Shot(time_us, draw(answers), draw(st.integers(0, 9)) == 0, cut))
    return shots


def play(
    shots: list[Shot], order: list[int] | None = None, margin: float = MARGIN, noise: bool = False
) -> list[tuple[int, Cover]]:
    """All frames, then all answers in the given order, then the end."""
    coverage = Coverage(margin, EXTEND_US)
    for ticket, shot in enumerate(shots):
        if shot.cut:
            coverage.cut()
        coverage.frame(ticket, shot.time_us, shot.doubtful)
        if shot.answer is not None:
            coverage.look(ticket)
    for ticket in order if order is not None else range(len(shots)):
        answer = shots[ticket].answer
        if answer is not None and answer != "never":
            coverage.answer(ticket, answer)
            if noise:  # again, and about a frame that nobody looks at, and about none
                coverage.answer(ticket, Seen())
                for other, shot in enumerate(shots):
                    if shot.answer is None:
                        coverage.answer(other, Seen())
                coverage.answer(-1, Seen())
    coverage.close()
    assert coverage.waiting == 0
    return coverage.decided()


def covers(shots: list[Shot], margin: float = MARGIN) -> list[Cover]:
    return [cover for _, cover in play(shots, margin=margin)]


def sides(shots: list[Shot], place: int) -> tuple[Shot | None, Shot | None]:
    """The looks on both sides of a frame that nobody looks at, not across a cut."""
    near = far = None
    for i in range(place, -1, -1):
        if shots[i].answer is not None:
            near = shots[i]
            break
        if shots[i].cut:
            break
    for shot in shots[place + 1 :]:
        if shot.cut:
            break
        if shot.answer is not None:
            far = shot
            break
    return near, far


def hides(cover: Cover, box: Box) -> bool:
    return any(region.box.contains(box.clip()) for region in cover.regions)


def pixels(cover: Cover, grid: int = 60) -> set[tuple[int, int]]:
    """What is covered, as points of a grid."""
    return {
        (x, y)
        for r in cover.regions
        for x in range(grid)
        for y in range(grid)
        if r.box.left <= (x + 0.5) / grid < r.box.right and r.box.top <= (y + 0.5) / grid < r.box.bottom
    }


@given(streams(), st.data())
def test_every_frame_is_decided_exactly_once_and_in_order_whatever_happens_when(
    shots: list[Shot], data: st.DataObject
) -> None:
    coverage = Coverage(MARGIN, EXTEND_US)
    decided: list[int] = []
    pending: list[int] = []
    for ticket, shot in enumerate(shots):
        if shot.cut:
            coverage.cut()
        coverage.frame(ticket, shot.time_us, shot.doubtful)
        if shot.answer is not None:
            coverage.look(ticket)
            pending.append(ticket)
        step = data.draw(st.sampled_from(["answer", "expire", "close", "nothing", "nothing"]))
        if step == "answer" and pending:
            ready = data.draw(st.sampled_from(pending))
            pending.remove(ready)
            answer = shots[ready].answer
            coverage.answer(ready, Seen() if answer in (None, "never") else answer)  # type: ignore[arg-type]
        elif step == "expire":
            coverage.expire(shot.time_us - data.draw(st.sampled_from([0, STEP_US, 4 * STEP_US])))
        elif step == "close":
            coverage.close()
            assert coverage.waiting == 0
        decided += [t for t, _ in coverage.decided()]
        assert decided == list(range(len(decided)))
        assert len(decided) + coverage.waiting == ticket + 1
        assert coverage.oldest_us == (shots[len(decided)].time_us if coverage.waiting else None)
    coverage.close()
    decided += [t for t, _ in coverage.decided()]
    assert decided == list(range(len(shots)))


@given(streams())
def test_frame_with_a_failed_or_absent_look_on_either_side_or_in_doubt_is_covered_whole(shots: list[Shot]) -> None:
    for place, (shot, cover) in enumerate(zip(shots, covers(shots), strict=True)):
        if shot.answer is not None:
            sure = shot.seen is not None
        else:
            near, far = sides(shots, place)
            sure = not shot.doubtful and all(side is not None and side.seen is not None for side in (near, far))
        assert (cover == COVERED_WHOLE) == (not sure)
        assert (cover.decision is Decision.WHOLE) == (not sure)


@given(streams())
def test_looked_at_frame_hides_everything_that_was_seen_in_it(shots: list[Shot]) -> None:
    for shot, cover in zip(shots, covers(shots), strict=True):
        if shot.seen is not None:
            assert cover.decision is Decision.SEEN
            for detection in shot.seen:
                assert hides(cover, detection.box.enlarge(MARGIN))
            origins = [r.origin for r in cover.regions]
            assert origins.count(Decision.SEEN) == len(shot.seen)
            assert {r.kind for r in cover.regions} <= {"face", "plate"}


@given(streams())
def test_between_two_looks_every_object_of_either_end_is_hidden_where_it_may_be(shots: list[Shot]) -> None:
    for place, (shot, cover) in enumerate(zip(shots, covers(shots), strict=True)):
        near, far = sides(shots, place)
        if shot.answer is not None or cover == COVERED_WHOLE or near is None or far is None:
            continue
        assert near.seen is not None
        assert far.seen is not None
        share = (shot.time_us - near.time_us) / (far.time_us - near.time_us)
        for mine, theirs in ((near.seen, far.seen), (far.seen, near.seen)):
            along = share if mine is near.seen else 1 - share
            for d in mine:
                ways = [d.box.between(other.box, along) for other in theirs if other.kind == d.kind]
                assert hides(cover, d.box) or any(hides(cover, way) for way in ways)
        regions = [r for r in cover.regions if r.kind == "face"]
        assert len(regions) >= max(sum(d.kind == "face" for d in near.seen), sum(d.kind == "face" for d in far.seen))
        extended = any(r.origin is Decision.EXTENDED for r in cover.regions)
        assert cover.decision is (Decision.EXTENDED if extended else Decision.CARRIED)


@given(streams(), st.randoms(use_true_random=False))
def test_same_answers_in_any_order_give_the_same_covers(shots: list[Shot], random: Random) -> None:
    order = list(range(len(shots)))
    random.shuffle(order)
    assert play(shots, order) == play(shots)


@given(streams(), st.randoms(use_true_random=False))
def test_repeated_answers_and_answers_that_nobody_asked_for_change_nothing(shots: list[Shot], random: Random) -> None:
    order = list(range(len(shots)))
    random.shuffle(order)
    assert play(shots, order, noise=True) == play(shots)


@given(streams(), st.floats(0, 1), st.floats(0, 1))
def test_covers_never_shrink_when_the_margin_grows(shots: list[Shot], one: float, more: float) -> None:
    for small, large in zip(covers(shots, one), covers(shots, one + more), strict=True):
        assert small.decision is large.decision
        for a, b in zip(small.regions, large.regions, strict=True):
            assert b.box.contains(a.box)
            assert (a.kind, a.origin) == (b.kind, b.origin)


@given(streams(), st.data())
@settings(max_examples=60)
def test_failed_answer_never_leaves_less_covered_than_one_that_never_came_or_was_never_asked(
    shots: list[Shot], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(shots) - 1))
    shot = shots[place]

    def variant(answer: Answer | Literal["never"] | None) -> list[Cover]:
        one = Shot(shot.time_us, answer, shot.doubtful, shot.cut)
        return covers([*shots[:place], one, *shots[place + 1 :]])

    failed = variant(Failed(Failure.THROTTLED))
    assert failed == variant("never")
    for worse, unasked in zip(failed, variant(None), strict=True):
        assert worse == COVERED_WHOLE or pixels(unasked) <= pixels(worse)


@given(streams(), streams())
def test_cut_carries_nothing_across(before: list[Shot], after: list[Shot]) -> None:
    later = before[-1].time_us + 1
    behind = [Shot(s.time_us + later, s.answer, s.doubtful, s.cut or i == 0) for i, s in enumerate(after)]
    assert covers([*before, *behind]) == covers(before) + covers(behind)


@given(streams(), streams())
def test_cut_carries_nothing_across_even_where_all_frames_ran_out_of_time(
    before: list[Shot], after: list[Shot]
) -> None:
    later = before[-1].time_us + 1
    coverage = Coverage(MARGIN, EXTEND_US)
    for ticket, shot in enumerate(before):
        coverage.frame(ticket, shot.time_us)
        if isinstance(shot.answer, Seen):
            coverage.look(ticket)
            coverage.answer(ticket, shot.answer)
    coverage.cut()
    coverage.frame(1000, later)
    coverage.expire(later + 1)
    coverage.decided()
    for ticket, shot in enumerate(after, 2000):
        coverage.frame(ticket, later + shot.time_us)
        if isinstance(shot.answer, Seen):
            coverage.look(ticket)
            coverage.answer(ticket, shot.answer)
    coverage.close()
    alone = [Shot(s.time_us, s.answer if isinstance(s.answer, Seen) else None) for s in after]
    assert [cover for _, cover in coverage.decided()] == covers(alone)


FACE = Detection(Box(0.4, 0.4, 0.5, 0.5))


def test_object_stays_hidden_at_looks_that_miss_it_for_as_long_as_told() -> None:
    shots = [Shot(i * 100_000, Seen((FACE,) if i == 0 else ())) for i in range(6)]
    assert [hides(c, FACE.box) for c in covers(shots)] == [True, True, True, False, False, False]


def test_object_missed_once_is_covered_once_when_it_is_back() -> None:
    shots = [Shot(i * 50_000, Seen((FACE,) if i != 1 else ())) for i in range(4)]
    assert [len(c.regions) for c in covers(shots)] == [1, 1, 1, 1]


def test_object_seen_again_behind_a_failed_look_is_covered_once() -> None:
    shots = [Shot(i * 50_000, Failed(Failure.THROTTLED) if i == 1 else Seen((FACE,))) for i in range(4)]
    assert [len(c.regions) for c in covers(shots)] == [1, 1, 1, 1]


def test_held_region_grows_with_the_time_since_its_object_was_seen() -> None:
    shots = [Shot(0, Seen((FACE,))), *(Shot(i * 40_000) for i in (1, 2, 3)), Shot(160_000, Seen())]
    areas = [c.regions[0].box.area for c in covers(shots)]
    assert areas == sorted(areas)
    assert len(set(areas)) == 5


def test_damaged_frame_between_two_good_looks_is_covered_whole() -> None:
    shots = [Shot(0, Seen((FACE,))), Shot(20_000, doubtful=True), Shot(40_000), Shot(60_000, Seen((FACE,)))]
    assert [c.decision for c in covers(shots)] == [Decision.SEEN, Decision.WHOLE, Decision.CARRIED, Decision.SEEN]


def test_object_that_two_looks_missed_is_hidden_between_them() -> None:
    shots = [Shot(0, Seen((FACE,))), Shot(60_000, Seen()), Shot(90_000), Shot(120_000, Seen())]
    assert [hides(c, FACE.box) for c in covers(shots)] == [True] * 4


def test_moving_object_is_hidden_at_every_point_between_its_sightings() -> None:
    there = Detection(Box(0.46, 0.4, 0.56, 0.5))
    shots = [Shot(0, Seen((FACE,))), *(Shot(i * 20_000) for i in range(1, 10)), Shot(200_000, Seen((there,)))]
    found = covers(shots)
    assert {c.decision for c in found[1:-1]} == {Decision.CARRIED}
    for place, cover in enumerate(found):
        assert hides(cover, FACE.box.between(there.box, place / 10))


def test_frames_run_out_of_time_only_while_nobody_looks() -> None:
    coverage = Coverage(MARGIN, EXTEND_US)
    for ticket in range(4):
        coverage.frame(ticket, ticket * 1000)
    coverage.expire(2000)
    assert coverage.decided() == [(0, COVERED_WHOLE), (1, COVERED_WHOLE)]
    coverage.look(3)
    coverage.expire(9000)
    assert coverage.decided() == []
    assert coverage.waiting == 2


def test_newest_frame_is_named_for_a_look_until_somebody_looks_at_it() -> None:
    coverage = Coverage(MARGIN, EXTEND_US)
    assert coverage.unlooked_tail() is None
    coverage.frame(7, 0)
    coverage.look(7)
    assert coverage.unlooked_tail() is None
    coverage.frame(8, 1)
    assert coverage.unlooked_tail() == 8


def test_decided_frames_are_handed_out_once() -> None:
    coverage = Coverage(MARGIN, EXTEND_US)
    coverage.frame(1, 0)
    coverage.look(1)
    coverage.answer(1, Seen())
    assert coverage.decided() == [(1, Cover(Decision.SEEN))]
    assert coverage.decided() == []


def test_look_at_a_frame_that_does_not_wait_is_an_error() -> None:
    with pytest.raises(KeyError):
        Coverage(MARGIN, EXTEND_US).look(3)
