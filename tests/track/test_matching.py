"""Laws of matching: which box of one look is which of the next."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamproc.model.detection import Detection
from streamproc.model.geometry import Box, iou
from streamproc.track.matching import SAME_IOU, match, might_be_one


@st.composite
def detections(draw: st.DrawFn) -> Detection:
    left, top = draw(st.integers(0, 80)), draw(st.integers(0, 80))
    width, height = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    box = Box(left / 100, top / 100, (left + width) / 100, (top + height) / 100)
    return Detection(box, draw(st.sampled_from(["face", "plate"])))


looks = st.lists(detections(), max_size=6)


@given(looks, looks)
def test_each_index_is_paired_at_most_once_and_kinds_are_not_mixed(
    before: list[Detection], after: list[Detection]
) -> None:
    pairs = match(before, after)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(before[i].kind == after[j].kind for i, j in pairs)


@given(looks, looks)
def test_looking_backward_gives_the_same_pairs(before: list[Detection], after: list[Detection]) -> None:
    # Of two equally good partners the first is taken, and that is another one from the other side.
    likes = [like for a in before for b in after if (like := iou(a.box, b.box)) > 0]
    assume(len(set(likes)) == len(likes))
    assert sorted(match(before, after)) == sorted((i, j) for j, i in match(after, before))


@given(looks)
def test_things_that_stand_still_are_themselves(look: list[Detection]) -> None:
    assume(len({(d.box, d.kind) for d in look}) == len(look))
    assert sorted(match(look, look)) == [(i, i) for i in range(len(look))]


@given(looks, looks)
def test_only_what_overlaps_well_is_the_same_and_nothing_such_is_left_unpaired(
    before: list[Detection], after: list[Detection]
) -> None:
    pairs = match(before, after)
    assert all(iou(before[i].box, after[j].box) >= SAME_IOU for i, j in pairs)
    for i in {*range(len(before))} - {i for i, _ in pairs}:
        for j in {*range(len(after))} - {j for _, j in pairs}:
            assert before[i].kind != after[j].kind or iou(before[i].box, after[j].box) < SAME_IOU


@given(detections(), detections(), st.integers(1, 1_000_000), st.integers(0, 1_000_000))
def test_what_might_be_one_looks_so_from_either_side_and_after_a_longer_time_too(
    one: Detection, other: Detection, apart_us: int, longer_us: int
) -> None:
    might = might_be_one(one, other, apart_us)
    assert might_be_one(other, one, apart_us) == might
    assert not might or might_be_one(one, other, apart_us + longer_us)


def at(x: float, size: float = 0.1, kind: str = "face") -> Detection:
    return Detection(Box(x, 0.4, x + size, 0.4 + size), kind)


@pytest.mark.parametrize(
    ("before", "after", "pairs"),
    [
        pytest.param([], [], [], id="nothing"),
        pytest.param([at(0.1)], [], [], id="gone"),
        pytest.param([at(0.1)], [at(0.13)], [(0, 0)], id="overlapping"),
        pytest.param([at(0.1)], [at(0.15)], [], id="moved-by-half-its-width"),
        pytest.param([at(0.1)], [at(0.21)], [], id="a-neighbour"),
        pytest.param([at(0.1)], [at(0.13, kind="plate")], [], id="another-kind"),
        pytest.param([at(0.1, 0.05)], [at(0.1, 0.12)], [], id="there-but-much-larger"),
        pytest.param([at(0.10), at(0.13)], [at(0.14)], [(1, 0)], id="best-overlap-first"),
        pytest.param([at(0.10), at(0.30)], [at(0.31), at(0.11)], [(0, 1), (1, 0)], id="crossed-lists"),
    ],
)
def test_pairs_of_a_case(before: list[Detection], after: list[Detection], pairs: list[tuple[int, int]]) -> None:
    assert sorted(match(before, after)) == pairs


@pytest.mark.parametrize(
    ("before", "after", "apart_us", "might"),
    [
        pytest.param(at(0.1), at(0.3), 200_000, True, id="two-widths-in-a-fifth-of-a-second"),
        pytest.param(at(0.1), at(0.4), 200_000, False, id="three-widths-in-a-fifth-of-a-second"),
        pytest.param(at(0.1), at(0.4), 300_000, True, id="three-widths-in-more-time"),
        pytest.param(at(0.1), at(0.7), 1_000_000, False, id="too-far-at-any-time"),
        pytest.param(at(0.1), at(0.2, kind="plate"), 200_000, False, id="another-kind"),
        pytest.param(at(0.1, 0.05), at(0.1, 0.12), 200_000, False, id="much-larger"),
        pytest.param(
            Detection(Box(0.0, 0.4, 0.02, 0.5)),
            at(0.05),
            200_000,
            True,
            id="much-larger-because-it-was-cut-by-the-border",
        ),
    ],
)
def test_what_might_be_one_object(before: Detection, after: Detection, apart_us: int, might: bool) -> None:
    assert might_be_one(before, after, apart_us) is might
