"""Laws of matching: which box of one look is which of the next."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamproc.model.detection import Detection
from streamproc.model.geometry import Box
from streamproc.track.matching import _likeness, match


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
    likes = [like for a in before for b in after if (like := _likeness(a.box, b.box)) > 0]
    assume(len(set(likes)) == len(likes))
    assert sorted(match(before, after)) == sorted((i, j) for j, i in match(after, before))


@given(looks)
def test_things_that_stand_still_are_themselves(look: list[Detection]) -> None:
    assume(len({(d.box, d.kind) for d in look}) == len(look))
    assert sorted(match(look, look)) == [(i, i) for i in range(len(look))]


def at(x: float, size: float = 0.1, kind: str = "face") -> Detection:
    return Detection(Box(x, 0.4, x + size, 0.4 + size), kind)


@pytest.mark.parametrize(
    ("before", "after", "pairs"),
    [
        pytest.param([], [], [], id="nothing"),
        pytest.param([at(0.1)], [], [], id="gone"),
        pytest.param([at(0.1)], [at(0.15)], [(0, 0)], id="overlapping"),
        pytest.param([at(0.1)], [at(0.21)], [(0, 0)], id="moved-by-its-width"),
        pytest.param([at(0.1)], [at(0.35)], [], id="far"),
        pytest.param([at(0.1)], [at(0.15, kind="plate")], [], id="another-kind"),
        pytest.param([at(0.1, 0.05)], [at(0.151, 0.12)], [], id="near-but-much-larger"),
        pytest.param([at(0.10), at(0.16)], [at(0.16)], [(1, 0)], id="best-overlap-first"),
        pytest.param([at(0.10), at(0.30)], [at(0.31), at(0.11)], [(0, 1), (1, 0)], id="crossed-lists"),
        pytest.param([at(0.1), at(0.22)], [at(0.20)], [(1, 0)], id="overlap-before-nearness"),
    ],
)
def test_pairs_of_a_case(before: list[Detection], after: list[Detection], pairs: list[tuple[int, int]]) -> None:
    assert sorted(match(before, after)) == pairs
