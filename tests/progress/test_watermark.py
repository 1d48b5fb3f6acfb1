"""Laws of the watermark, against a model that remembers everything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.model.segment import Position
from streamproc.progress.watermark import Watermark


def at(number: int) -> Position:
    return Position(str(number), None)


@given(st.data(), st.integers(0, 12))
def test_watermark_is_the_last_before_the_first_unfinished_and_never_goes_back(data: st.DataObject, count: int) -> None:
    mark = Watermark()
    begun: list[int] = []
    finished: set[int] = set()
    highest = -1
    while len(finished) < count:
        pending = [number for number in begun if number not in finished]
        if len(begun) < count and (not pending or data.draw(st.booleans())):
            begun.append(len(begun))
            mark.begin(at(begun[-1]))
        else:
            number = data.draw(st.sampled_from(pending))
            finished.add(number)
            mark.finish(at(number))
        model = -1
        while model + 1 in finished:
            model += 1
        assert mark.value == (at(model) if model >= 0 else None)
        assert model >= highest
        assert mark.unfinished == len(begun) - len(finished)
        highest = model
    assert mark.unfinished == 0


def test_watermark_goes_on_from_where_it_was() -> None:
    mark = Watermark(at(4))
    assert mark.value == at(4)
    mark.begin(at(5))
    assert mark.value == at(4)
    mark.finish(at(5))
    assert mark.value == at(5)


def test_positions_inside_one_fragment_are_told_apart() -> None:
    mark = Watermark()
    parts = [Position("7", 10), Position("7", 20), Position("7", None)]
    for part in parts:
        mark.begin(part)
    mark.finish(parts[2])
    mark.finish(parts[0])
    assert mark.value == parts[0]


def test_nothing_is_begun_or_finished_twice() -> None:
    mark = Watermark()
    for number in (1, 2):
        mark.begin(at(number))
    with pytest.raises(ValueError, match="begun twice"):
        mark.begin(at(2))
    mark.finish(at(2))
    for number in (2, 3):
        with pytest.raises(ValueError, match="not in flight"):
            mark.finish(at(number))
    assert mark.value is None
