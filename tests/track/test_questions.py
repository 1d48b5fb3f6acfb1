"""Laws of asking once more between two looks: only where they do not agree, and never without end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamproc.model.detection import Answer, Detection, Failed, Failure, Seen
from streamproc.model.frame import Cover
from streamproc.model.geometry import Box
from streamproc.track.coverage import Coverage
from streamproc.track.paths import Path, Step
from streamproc.track.questions import Ends, question

FACE = Box(0.4, 0.4, 0.5, 0.55)
STEP_US = 33_333
LEAST_US = 100_000


def steps(count: int) -> list[Step]:
    return [Step(i, i * STEP_US) for i in range(count)]


def straight(count: int, dx: float = 0.0) -> Path:
    boxes = tuple(Box(FACE.left + dx * i, FACE.top, FACE.right + dx * i, FACE.bottom) for i in range(count))
    return Path(boxes, (1.0,) * count)


@given(st.integers(2, 60))
def test_ends_that_agree_need_no_middle(count: int) -> None:
    assert question(steps(count), Ends(both=[(straight(count), straight(count))]), LEAST_US) is None
    assert question(steps(count), Ends(), LEAST_US) is None


@given(st.integers(2, 60), st.booleans(), st.integers(1, 300_000))
def test_object_that_one_end_has_alone_is_asked_for_in_the_middle_unless_that_is_too_close(
    count: int, lost: bool, least_us: int
) -> None:
    ends = Ends(lost=[FACE]) if lost else Ends(alone=[FACE])
    at = question(steps(count), ends, least_us)
    length_us = (count - 1) * STEP_US
    if at is None:
        assert length_us < 2 * least_us + STEP_US
    else:
        assert least_us <= at * STEP_US <= length_us - least_us
        assert abs(2 * at - (count - 1)) <= 1


def test_ways_that_part_are_asked_about_where_they_stand_furthest_apart() -> None:
    onward = straight(21)
    bent = list(straight(21).boxes)
    bent[7] = Box(0.7, 0.4, 0.8, 0.55)
    assert question(steps(21), Ends(both=[(onward, Path(tuple(bent[::-1]), (1.0,) * 21))]), LEAST_US) == 7
    near = [b if i != 7 else Box(b.left + 0.02, b.top, b.right + 0.02, b.bottom) for i, b in enumerate(onward.boxes)]
    assert question(steps(21), Ends(both=[(onward, Path(tuple(near[::-1]), (1.0,) * 21))]), LEAST_US) is None


def test_small_objects_and_runs_that_do_not_ask_are_left_alone() -> None:
    assert question(steps(30), Ends(alone=[Box(0.5, 0.5, 0.51, 0.529)]), LEAST_US) is None
    assert question(steps(30), Ends(alone=[FACE]), 0) is None


def watched(
    visible: range, answers: dict[int, Answer], may_ask: bool = True, frames: int = 16, ask_us: int = LEAST_US
) -> tuple[list[int], list[Cover]]:
    """A face that is there in some frames, looked at in the first and the last; what was asked, and the covers."""
    coverage = Coverage(0.1, 0, ask_us=ask_us, may_ask=lambda _: may_ask)
    for ticket in range(frames):
        coverage.frame(ticket, ticket * STEP_US)
    asked = []
    open_ = [0, frames - 1]
    for ticket in open_:
        coverage.look(ticket)
    while open_:
        ticket = open_.pop(0)
        truth = Seen((Detection(FACE),) if ticket in visible else ())
        coverage.answer(ticket, answers.get(ticket, truth))
        wanted = coverage.wanted()
        asked += wanted
        open_ += wanted
    decided = coverage.decided()
    assert [t for t, _ in decided] == list(range(frames))
    return asked, [cover for _, cover in decided]


def hidden(cover: Cover) -> bool:
    return any(r.box.contains(FACE) for r in cover.regions)


@given(st.integers(0, 16), st.integers(0, 16))
def test_asking_ends_and_finds_where_a_face_comes_and_goes_to_within_twice_the_least_distance(a: int, b: int) -> None:
    visible = range(min(a, b), max(a, b))
    asked, covers = watched(visible, {})
    assert len(asked) == len(set(asked)) <= 4
    for ticket in asked:
        assert LEAST_US <= ticket * STEP_US <= 15 * STEP_US - LEAST_US
    if (0 in visible) != (15 in visible):
        assert all(hidden(covers[i]) for i in visible)
        assert asked


def test_question_that_fails_or_cannot_be_paid_leaves_what_was_known_with_a_wider_margin() -> None:
    visible = range(8)
    _, unasked = watched(visible, {}, ask_us=0)
    asked, failed = watched(visible, {i: Failed(Failure.THROTTLED) for i in range(1, 15)})
    assert len(asked) == 1
    for a, b in zip(unasked, failed, strict=True):
        assert a.decision is b.decision
        assert all(any(wide.box.contains(r.box) for wide in b.regions) for r in a.regions)
    assert failed != unasked
    assert watched(visible, {}, may_ask=False) == ([], failed)


def test_close_waits_for_no_question() -> None:
    coverage = Coverage(0.1, 0, ask_us=LEAST_US)
    for ticket in range(16):
        coverage.frame(ticket, ticket * STEP_US)
    for ticket in (0, 15):
        coverage.look(ticket)
    coverage.answer(0, Seen((Detection(FACE),)))
    coverage.answer(15, Seen())
    assert coverage.wanted() == [7]
    coverage.close()
    assert coverage.wanted() == []
    assert len(coverage.decided()) == 16
