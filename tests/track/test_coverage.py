"""Laws of covering, over random streams: frames, looks, answers in any order, failures, cuts, time that runs out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from streamproc.model.detection import Answer, Detection, Failed, Failure, Seen
from streamproc.model.frame import Cover, Decision
from streamproc.model.geometry import Box, ioa, iou
from streamproc.track.coverage import COVERED_WHOLE, Coverage
from streamproc.track.matching import SAME_IOU

STEP_US = 33_333
EXTEND_US = 250_000
MARGIN = 0.1


@dataclass(frozen=True)
class Shot:
    """One frame of a random stream.

    Attributes:
        answer: What its look says; None if nobody looks at it; "never" if no answer comes.
        cut: Nothing is carried from the frame before.
        scene: It shows another scene than the frame before.
    """

    time_us: int
    answer: Answer | Literal["never"] | None = None
    doubtful: bool = False
    cut: bool = False
    scene: bool = False

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
        scene = draw(st.integers(0, 5)) == 0
        shots.append(Shot(time_us, draw(answers), draw(st.integers(0, 9)) == 0, cut, scene))
    return shots


def play(
    shots: list[Shot], order: list[int] | None = None, margin: float = MARGIN, noise: bool = False
) -> list[tuple[int, Cover]]:
    """All frames, then all answers in the given order, then the end."""
    coverage = Coverage(margin, EXTEND_US)
    for ticket, shot in enumerate(shots):
        if shot.cut:
            coverage.cut()
        if shot.scene:
            coverage.scene()
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


def scenes_around(shots: list[Shot], place: int) -> tuple[int, int]:
    """How often the scene changes between the look before this frame and it, and from there to the look behind it."""
    before = behind = 0
    for i in range(place, -1, -1):
        if shots[i].answer is not None:
            break
        before += shots[i].scene
    for shot in shots[place + 1 :]:
        behind += shot.scene
        if shot.answer is not None:
            break
    return before, behind


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
        if shot.scene:
            coverage.scene()
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
        assert (cover == COVERED_WHOLE) == (cover.decision is Decision.WHOLE)
        assert sure or cover == COVERED_WHOLE
        if sure and cover == COVERED_WHOLE:  # something might have crossed much of the picture
            assert shot.answer is None
            if all(scenes_around(shots, place)):
                continue  # nobody looked at its scene
            came = [d.box for d in far.seen or ()] if far is not None else []
            before = [d.box for other in shots[:place] for d in other.seen or ()]
            assert any(a.hull(b).area > 0.25 for a in before for b in came)


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
        if any(scenes_around(shots, place)):
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


@given(streams())
def test_frame_between_a_look_and_a_cut_hides_what_that_look_saw_and_nothing_of_the_other_scene(
    shots: list[Shot],
) -> None:
    for place, (shot, cover) in enumerate(zip(shots, covers(shots), strict=True)):
        before, behind = scenes_around(shots, place)
        near, far = sides(shots, place)
        if shot.answer is not None or cover == COVERED_WHOLE or near is None or far is None or not before + behind:
            continue
        assert not (before and behind)
        mine, other = (near, far) if behind else (far, near)
        assert mine.seen is not None
        assert other.seen is not None
        assert all(hides(cover, d.box.enlarge(MARGIN)) for d in mine.seen)
        if mine is far:
            assert len(cover.regions) == len(mine.seen)


def test_nothing_is_held_behind_a_cut() -> None:
    shots = [Shot(i * STEP_US, Seen((FACE,) if i == 0 else ()) if i % 3 == 0 else None, scene=i == 2) for i in range(7)]
    assert [hides(c, FACE.box) for c in covers(shots)] == [True, True, False, False, False, False, False]


def test_scene_that_nobody_looked_at_is_covered_whole() -> None:
    shots = [Shot(i * STEP_US, Seen() if i in (0, 6) else None, scene=i in (2, 5)) for i in range(7)]
    assert [c == COVERED_WHOLE for c in covers(shots)] == [False, False, True, True, True, False, False]


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
        one = replace(shot, answer=answer)
        return covers([*shots[:place], one, *shots[place + 1 :]])

    failed = variant(Failed(Failure.THROTTLED))
    assert failed == variant("never")
    for worse, unasked in zip(failed, variant(None), strict=True):
        assert worse == COVERED_WHOLE or pixels(unasked) <= pixels(worse)


@given(streams(), streams())
def test_cut_carries_nothing_across(before: list[Shot], after: list[Shot]) -> None:
    later = before[-1].time_us + 1
    behind = [replace(s, time_us=s.time_us + later, cut=s.cut or i == 0) for i, s in enumerate(after)]
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
    there = Detection(Box(0.42, 0.4, 0.52, 0.5))
    shots = [Shot(0, Seen((FACE,))), *(Shot(i * 20_000) for i in range(1, 10)), Shot(200_000, Seen((there,)))]
    found = covers(shots)
    assert {c.decision for c in found[1:-1]} == {Decision.CARRIED}
    for place, cover in enumerate(found):
        assert hides(cover, FACE.box.between(there.box, place / 10))


# ---- objects that are really there: what a detector at five looks a second must not let out between two looks

EVERY = 6  # frames, at 30 a second


def shown(cover: Cover, box: Box) -> float:
    """Share of the part of the box that is in the picture which one region hides."""
    return max((ioa(box.clip(), region.box) for region in cover.regions), default=float(box.clip().empty))


def watch(
    truth: list[list[Box]], looks: list[bool], missed: Callable[[int, int], bool] = lambda _, __: False
) -> list[Cover]:
    """Covers of frames 33 ms apart with these boxes in them, of which some are looked at."""
    coverage = Coverage(MARGIN, 400_000)
    for i, looked in enumerate(looks):
        coverage.frame(i, i * STEP_US)
        if looked:
            coverage.look(i)
            seen = [b.clip() for n, b in enumerate(truth[i]) if not missed(i, n) and b.clip().area > 0.2 * b.area]
            coverage.answer(i, Seen(tuple(Detection(box) for box in seen)))
    coverage.close()
    return [cover for _, cover in coverage.decided()]


speeds = st.floats(0, 6)
turns = st.floats(0, 2 * math.pi)
first_looks = st.integers(0, EVERY - 1)


@given(
    speeds, turns, st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0.02, 0.1), first_looks, st.integers(7, 30)
)
def test_moving_object_is_hidden_from_its_first_look_until_it_is_gone_once_two_looks_saw_it(
    speed: float, turn: float, x: float, y: float, size: float, first: int, gone: int
) -> None:
    """At up to 6 of its sizes a second, in any direction, in and out across the border, and vanishing at any time."""
    height = size * 1.4
    frames, begin = 36, first
    path: list[Box] = []
    truth: list[list[Box]] = []
    for i in range(frames):
        s = (i - begin) * STEP_US / 1_000_000
        cx, cy = x + math.cos(turn) * speed * s * size, y + math.sin(turn) * speed * s * height
        box = Box(cx - size / 2, cy - height / 2, cx + size / 2, cy + height / 2)
        path.append(box)
        truth.append([box] if begin <= i < begin + gone else [])
    found = watch(truth, [i % EVERY == begin or i in (0, frames - 1) for i in range(frames)])
    for place in range(begin, min(frames, begin + gone + 1)):  # and in the frame after, had it stayed
        if path[place].clip().area > 0.2 * path[place].area:
            assert shown(found[place], path[place]) >= 0.9, place


@given(st.floats(0, 6), st.sampled_from(["left", "top", "right", "bottom"]), st.floats(0, 0.5))
@example(6, "left", 0.49)
def test_object_that_comes_in_straight_across_a_border_is_hidden_before_its_first_look(
    speed: float, side: str, depth: float
) -> None:
    """At up to 6 of its sizes a second, if it is seen at the first look at which half of it is in the picture."""
    size, along = 0.06, 0.4
    truth = []
    for i in range(EVERY + 1):
        inside = (depth + speed * i * STEP_US / 1_000_000) * size
        across = inside - size if side in ("left", "top") else 1 - inside
        x, y = (across, along) if side in ("left", "right") else (along, across)
        truth.append([Box(x, y, x + size, y + size)])
    assume(truth[-1][0].clip().area > 0.5 * size * size)
    found = watch(truth, [i in (0, EVERY) for i in range(EVERY + 1)], missed=lambda i, _: i == 0)
    for cover, (box,) in list(zip(found, truth, strict=True))[1:]:
        assert shown(cover, box) >= 0.9


@given(st.one_of(st.just(3.3), st.floats(0, 3.3)), turns, st.integers(1, EVERY))
def test_object_that_appears_or_vanishes_between_two_looks_seen_once_is_hidden_if_it_is_not_fast(
    speed: float, turn: float, frames: int
) -> None:
    """Up to 3.3 of its sizes a second: nobody knows where it came from."""

    def box(place: int) -> Box:
        s = (place - EVERY) * STEP_US / 1_000_000
        x, y = 0.5 + math.cos(turn) * speed * s * 0.05, 0.5 + math.sin(turn) * speed * s * 0.05
        return Box(x, y, x + 0.05, y + 0.05)

    truth = [[box(i)] if abs(i - EVERY) <= frames else [] for i in range(2 * EVERY + 1)]
    truth[0] = truth[-1] = []
    found = watch(truth, [i % EVERY == 0 for i in range(len(truth))])
    for cover, boxes in zip(found, truth, strict=True):
        assert all(shown(cover, b) >= 0.9 for b in boxes)


@given(st.floats(0, 12), turns, st.booleans(), st.floats(0, 1))
def test_object_seen_on_both_sides_is_hidden_anywhere_on_the_way_whenever_it_moves(
    speed: float, turn: float, jumps: bool, when: float
) -> None:
    """Up to 12 of its sizes a second from one look to the other, evenly, or standing still and jumping."""
    size, end = 0.03, EVERY * STEP_US / 1_000_000
    way = 0.99 * speed * end * size
    truth = []
    for i in range(EVERY + 1):
        share = i / EVERY if not jumps else float(i > when * (EVERY - 1))
        x, y = 0.5 + math.cos(turn) * way * share, 0.5 + math.sin(turn) * way * share
        truth.append([Box(x, y, x + size, y + size)])
    found = watch(truth, [i in (0, EVERY) for i in range(EVERY + 1)])
    for cover, (box,) in zip(found, truth, strict=True):
        assert shown(cover, box) >= 0.9


@given(boxes(), boxes(), st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=7))
def test_object_that_stands_still_is_hidden_as_long_as_told_whatever_is_seen_of_another(
    one: Box, other: Box, seen: list[tuple[bool, bool]]
) -> None:
    """Two boxes anywhere, unless they overlap like one; a detector that sees any of them at any look."""
    assume(iou(one, other) < SAME_IOU)
    truth = [[one, other] for _ in range((len(seen) - 1) * EVERY + 1)]
    looks = [i % EVERY == 0 for i in range(len(truth))]
    found = watch(truth, looks, missed=lambda i, n: not seen[i // EVERY][n])
    for n, box in enumerate((one, other)):
        for look, sees in enumerate(seen):
            for place in range(look * EVERY, min(len(truth), look * EVERY + 13)):  # 400 ms
                assert not sees[n] or shown(found[place], box) >= 0.9, (n, look, place)


def test_object_that_moved_on_is_not_searched_for_where_it_was() -> None:
    """The trace behind it grows slowly, and is not taken for the begin of any further way."""
    places = [(0.4, 0.4), (0.52, 0.4), (0.52, 0.52)]
    truth = [[Box(x, y, x + 0.1, y + 0.1)] for x, y in places for _ in range(EVERY)]
    found = watch(truth, [i % EVERY == 0 for i in range(len(truth))])
    assert len(found[EVERY].regions) == 2
    assert Box(0.37, 0.37, 0.53, 0.53).contains(found[EVERY].regions[1].box)
    corner = Box(0.41, 0.55, 0.42, 0.56)  # between the first place and the last, and not on the way
    assert not any(hides(cover, corner) for cover in found[: 2 * EVERY])


def test_motion_is_known_across_a_failed_look() -> None:
    def at(ms: int) -> tuple[Detection]:
        left = 0.2 + 0.0005 * ms
        return (Detection(Box(left, 0.4, left + 0.1, 0.5)),)

    shots = [
        Shot(0, Seen(at(0))),
        Shot(300_000, Failed(Failure.THROTTLED)),
        Shot(400_000, Seen(at(400))),
        Shot(600_000),
        Shot(640_000, Seen()),
    ]
    assert hides(covers(shots)[3], at(600)[0].box)


def test_neighbours_seen_in_turn_are_both_hidden_all_the_time() -> None:
    a, b = Box(0.30, 0.4, 0.40, 0.6), Box(0.41, 0.4, 0.51, 0.6)
    found = watch([[a, b]] * 7, [i in (0, 6) for i in range(7)], missed=lambda i, n: n != i // 6)
    assert [hides(c, a) for c in found] == [True] * 7
    assert [hides(c, b) for c in found] == [False] + [True] * 6


def test_object_that_might_have_crossed_much_of_the_picture_leaves_no_frame_uncovered() -> None:
    a, b = Box(0.1, 0.1, 0.3, 0.4), Box(0.55, 0.5, 0.75, 0.8)
    shots = [Shot(0, Seen((Detection(a),))), Shot(100_000), Shot(240_000, Seen((Detection(b),)))]
    assert [c.decision for c in covers(shots)] == [Decision.SEEN, Decision.WHOLE, Decision.SEEN]


@pytest.mark.parametrize(("rows", "whole"), [(2, False), (20, True)])
def test_crowd_of_which_others_are_seen_each_time_is_covered_whole_between(rows: int, whole: bool) -> None:
    even, odd = (
        tuple(
            Detection(Box(x / 20, y / 50, x / 20 + 0.02, y / 50 + 0.02))
            for x in range(first, 20, 2)
            for y in range(rows)
        )
        for first in (0, 1)
    )
    shots = [Shot(0, Seen(even)), Shot(100_000), Shot(240_000, Seen(odd))]
    assert [c == COVERED_WHOLE for c in covers(shots)] == [False, whole, False]


@pytest.mark.parametrize(("apart_us", "whole"), [(1_500_000, False), (1_500_001, True)])
def test_frames_between_two_looks_too_far_apart_are_covered_whole(apart_us: int, whole: bool) -> None:
    shots = [Shot(0, Seen()), Shot(700_000), Shot(apart_us, Seen())]
    assert [c == COVERED_WHOLE for c in covers(shots)] == [False, whole, False]


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
