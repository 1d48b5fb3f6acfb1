"""Laws of the tickets: which decoded picture is which, in whatever order and number they come out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.decode.timeline import Timeline
from streamproc.model.media import Fragment

T0 = 1_795_095_371_123_000
offsets_us = st.lists(st.integers(-200_000, 5_000_000), min_size=1, max_size=12)


def fragment(number: int) -> Fragment:
    return Fragment(str(number), T0 + number * 2_000_000)


@given(st.lists(offsets_us, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_each_ticket_gives_its_own_fragment_time_and_arrival_in_whatever_order(
    fragments: list[list[int]], random
) -> None:  # type: ignore[no-untyped-def]
    timeline = Timeline()
    tickets = []
    for number, offsets in enumerate(fragments):
        timeline.begin(fragment(number))
        tickets += [(timeline.block(o, 1000 * number + i), number, o, 1000 * number + i) for i, o in enumerate(offsets)]
    assert [t for t, *_ in tickets] == sorted({t for t, *_ in tickets})
    assert timeline.waiting == len(tickets)
    random.shuffle(tickets)
    for ticket, number, offset, arrived in tickets:
        held = timeline.frame(ticket)
        assert held is not None
        assert (held[0].fragment, held[0].time_us, held[1]) == (
            fragment(number),
            fragment(number).producer_us + offset,
            arrived,
        )
        assert timeline.frame(ticket) is None
    assert timeline.waiting == 0


@given(offsets_us, st.data())
def test_index_is_the_place_in_order_of_presentation_whatever_was_lost(offsets: list[int], data: st.DataObject) -> None:
    timeline = Timeline()
    timeline.begin(fragment(0))
    blocks = [(offset, timeline.block(offset, 0)) for offset in offsets]
    lost = data.draw(st.sets(st.sampled_from([ticket for _, ticket in blocks])))
    for place, (_, ticket) in enumerate(sorted(blocks)):  # equal offsets: in order of arrival
        if ticket not in lost:
            held = timeline.frame(ticket)
            assert held is not None
            assert held[0].index == place
    assert timeline.lost(fragment(0)) == len(lost)
    assert timeline.lost(fragment(0)) == 0
    assert timeline.waiting == 0


@given(st.integers(1, 5), st.integers(1, 5))
def test_forgetting_one_fragment_leaves_the_others(earlier: int, later: int) -> None:
    timeline = Timeline()
    timeline.begin(fragment(0))
    kept = [timeline.block(i, 0) for i in range(earlier)]
    timeline.begin(fragment(1))
    gone = [timeline.block(i, 0) for i in range(later)]
    timeline.forget(fragment(1))
    assert [timeline.frame(t) for t in gone] == [None] * later
    assert [held[0].index for t in kept if (held := timeline.frame(t))] == list(range(earlier))


def test_block_before_any_fragment_is_refused() -> None:
    with pytest.raises(ValueError, match="before its fragment"):
        Timeline().block(0, 0)
