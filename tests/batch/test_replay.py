"""Laws of playing a recording as if it were live."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.batch import replay as module
from streamproc.batch.replay import Circumstances, Replay
from streamproc.model.detection import Answer, Detection, Failed, Failure, Seen
from streamproc.model.frame import Cover, Decision
from streamproc.model.geometry import Box
from streamproc.pipeline.work import CoverOptions

OPTIONS = CoverOptions(calls_per_second=5, lookahead_us=1_000_000, margin=0.1, extend_us=400_000)
LUMA = np.full((36, 64), 90, np.uint8)
FACE = Seen((Detection(Box(0.4, 0.4, 0.6, 0.6)),))


class Script:
    """In the place of the rule: looks at every third frame, and asks about the frame before each answered one."""

    def __init__(self, options: CoverOptions) -> None:
        self.log: list[tuple[str, int, Any]] = []
        self.now_us = 0
        self.newest = -1
        self.questions = True
        self.asked: set[int] = set()

    def _look(self, ticket: int) -> list[int]:
        if ticket < 0 or ticket in self.asked:
            return []
        self.asked.add(ticket)
        self.log.append(("asked", ticket, self.now_us))
        return [ticket]

    def frame(self, ticket: int, time_us: int, luma: Any, *, damaged: bool = False, apart: bool = False) -> list[int]:
        self.now_us, self.newest = time_us, ticket
        self.log.append(("apart" if apart else "frame", ticket, time_us))
        return self._look(ticket) if ticket % 3 == 0 else []

    def tail(self, needed: bool = False) -> list[int]:
        self.log.append(("needed" if needed else "tail", self.newest, self.now_us))
        return self._look(self.newest)

    def answer(self, ticket: int, answer: Answer) -> list[int]:
        self.log.append(("answered", ticket, answer))
        return self._look(ticket - 1)

    def close(self) -> None:
        self.log.append(("closed", self.newest, None))

    def decided(self) -> list[tuple[int, Cover]]:
        return []


def played(times_us: list[int], circumstances: Circumstances) -> tuple[Script, Replay]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Covering", Script)
        replay = Replay(OPTIONS, circumstances)
    for index, time_us in enumerate(times_us):
        replay.frame(index, time_us, LUMA, FACE)
    replay.close()
    script: Any = replay._covering
    return script, replay


times = st.lists(st.integers(1_000, 90_000), min_size=1, max_size=80).map(lambda steps: list(accumulate(steps)))


@given(times, st.integers(0, 400_000))
def test_each_look_is_answered_once_and_not_before_its_time(times_us: list[int], latency_us: int) -> None:
    script, replay = played(times_us, Circumstances(latency_us=latency_us))
    asked = {ticket: number for number, (what, ticket, _) in enumerate(script.log) if what == "asked"}
    answered = [(number, ticket) for number, (what, ticket, _) in enumerate(script.log) if what == "answered"]
    assert sorted(ticket for _, ticket in answered) == sorted(asked)
    assert replay.calls == len(asked)
    assert script.log[-1][0] == "closed"
    for number, ticket in answered:
        assert number > asked[ticket]
        asked_us = script.log[asked[ticket]][2]
        # No frame whose time is before the answer's stands behind it; none that is later stands before it.
        later = [at for what, _, at in script.log[number:] if what in ("frame", "apart")]
        assert all(at >= asked_us + latency_us for at in later)
        if ticket % 3 == 0:  # asked when it came
            between = [at for what, _, at in script.log[asked[ticket] : number] if what in ("frame", "apart")]
            assert all(at < asked_us + latency_us for at in between)


@given(times, st.integers(100_000, 900_000))
def test_newest_frame_is_looked_at_where_a_fragment_ends(times_us: list[int], fragment_us: int) -> None:
    script, _ = played(times_us, Circumstances(fragment_us=fragment_us))
    ends, begun = [], times_us[0]
    for index, time_us in enumerate(times_us):
        if time_us - begun >= fragment_us:
            ends.append(index - 1)
            begun = time_us
    assert [ticket for what, ticket, _ in script.log if what == "tail"] == ends
    assert [ticket for what, ticket, _ in script.log if what == "needed"] == [len(times_us) - 1]


def test_nothing_is_carried_over_a_jump_of_the_time() -> None:
    script, _ = played([0, 40_000, 80_000, 2_000_000, 2_040_000, 1_000_000, 1_040_000], Circumstances())
    assert [ticket for what, ticket, _ in script.log if what == "apart"] == [3, 5]


def test_answer_later_than_the_deadline_is_a_failed_one() -> None:
    script, _ = played([0], Circumstances(latency_us=1_200_000, deadline_us=1_000_000))
    assert [answer for what, _, answer in script.log if what == "answered"] == [Failed(Failure.LATE)]


@settings(max_examples=40)
@given(times, st.integers(0, 900_000), st.floats(0, 1), st.floats(0, 1), st.floats(1, 30))
def test_every_frame_is_decided_once_in_order(
    times_us: list[int], latency_us: int, miss: float, fail: float, rate: float
) -> None:
    options = CoverOptions(rate, 1_300_000, 0.1, 400_000)
    replay = Replay(options, Circumstances(latency_us=latency_us, miss=miss, fail=fail))
    decided = [each for index, at in enumerate(times_us) for each in replay.frame(index, at, LUMA, FACE)]
    decided += replay.close()
    assert [index for index, _ in decided] == list(range(len(times_us)))
    if not miss and not fail:
        for _, cover in decided:
            whole = cover.decision is Decision.WHOLE
            assert whole or any(region.box.contains(FACE.detections[0].box) for region in cover.regions)


# ---- misses and failures

MANY = Seen(tuple(Detection(Box(i / 50, 0, (i + 1) / 50, 1)) for i in range(50)))


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 10**6), st.text(max_size=5))
def test_misses_are_always_the_same_and_more_of_them_miss_more(a: float, b: float, index: int, seed: str) -> None:
    few, many = sorted((a, b))

    def kept(miss: float) -> set[Detection]:
        answer = Circumstances(miss=miss, seed=seed).answered(index, MANY)
        assert isinstance(answer, Seen)
        return set(answer.detections)

    assert kept(few) == kept(few)
    assert kept(many) <= kept(few) <= set(MANY.detections)
    assert kept(0) == set(MANY.detections)
    assert kept(1) == set()


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_shares_are_kept_and_every_recording_has_its_own(share: float) -> None:
    def missed(seed: str) -> list[Detection]:
        answers = [Circumstances(miss=share, seed=seed).answered(index, MANY) for index in range(200)]
        return [d for answer in answers if isinstance(answer, Seen) for d in answer.detections]

    assert len(missed("a")) / 10_000 == pytest.approx(1 - share, abs=0.02)
    assert missed("a") != missed("b")
    failed = [Circumstances(fail=share).answered(index, MANY) for index in range(5_000)]
    assert failed.count(Failed(Failure.FAILED)) / 5_000 == pytest.approx(share, abs=0.03)
