"""A recording through the rule of covering as if it were live: fragments, and answers that take their time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from heapq import heappop, heappush

from streamproc.model.detection import Answer, Failed, Failure, Seen
from streamproc.model.frame import Cover
from streamproc.pipeline.covering import Covering
from streamproc.pipeline.work import CoverOptions
from streamproc.track.scene import Luma

# As live: nothing is carried over a longer step of the time, nor back.
_CUT_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a live stream and its detector do to the answers.

    Attributes:
        latency_us: Of each answer, in time of the video.
        deadline_us: An answer that takes longer is a failed one, told then.
        fragment_us: Length of a fragment; at its end, the frames in it are to be decided soon.
        miss: Share of the faces that the detector does not see, in [0, 1].
        fail: Share of the looks that fail, in [0, 1].
        seed: Whatever decides which; the same one gives the same misses and failures at every rate.
    """

    latency_us: int = 150_000
    deadline_us: int = 1_000_000
    fragment_us: int = 2_000_000
    miss: float = 0.0
    fail: float = 0.0
    seed: str = ""

    def answered(self, index: int, answer: Answer) -> Answer:
        """What comes back when the frame of this number is looked at, where ``answer`` would be right."""
        if self.latency_us > self.deadline_us:
            return Failed(Failure.LATE)
        if self._chance("fail", index) < self.fail:
            return Failed(Failure.FAILED)
        if isinstance(answer, Failed) or not self.miss:
            return answer
        kept = (d for i, d in enumerate(answer.detections) if self._chance("miss", index, i) >= self.miss)
        return Seen(tuple(kept))

    def _chance(self, *what: object) -> float:
        """A number in [0, 1) that looks random and is always the same."""
        digest = hashlib.blake2b(repr((self.seed, *what)).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64


class Replay:
    """One recording at one rate. Feed :meth:`frame` in order, then :meth:`close`.

    Attributes:
        calls: Looks so far, those that failed too.
    """

    def __init__(self, options: CoverOptions, circumstances: Circumstances) -> None:
        self._covering = Covering(options)
        self._circumstances = circumstances
        self._answers: dict[int, Answer] = {}  # of frames without a decision
        self._due: list[tuple[int, int, int, Answer]] = []  # (when it is here, number of the call, frame, answer)
        self._now_us = 0
        self._fragment_us: int | None = None  # when the fragment at hand began
        self._begun = False
        self.calls = 0

    def frame(
        self, index: int, time_us: int, luma: Luma, answer: Answer, damaged: bool = False
    ) -> list[tuple[int, Cover]]:
        """The next frame. Returns the frames decided by now, in order, each with its number.

        Args:
            answer: What a detector says about it, if it is looked at.
        """
        if self._fragment_us is None:
            self._fragment_us = time_us
        elif time_us - self._fragment_us >= self._circumstances.fragment_us or time_us < self._now_us:
            self._ask(self._covering.tail())
            self._fragment_us = time_us
        apart = self._begun and not 0 <= time_us - self._now_us <= _CUT_US
        # Answers under way take as long whatever the frames' times do.
        if time_us < self._now_us:
            self._due = [(due - self._now_us + time_us, n, ticket, late) for due, n, ticket, late in self._due]
        self._begun = True
        self._deliver(time_us)
        self._now_us = time_us
        self._answers[index] = answer
        self._ask(self._covering.frame(index, time_us, luma, damaged=damaged, apart=apart))
        self._deliver(time_us)
        return self._decided()

    def close(self) -> list[tuple[int, Cover]]:
        """No more will come. Returns the frames that were not decided yet."""
        self._ask(self._covering.tail(needed=True))
        while self._due:
            self._deliver(self._due[0][0])
        self._covering.close()
        return self._decided()

    def _ask(self, tickets: list[int]) -> None:
        wait_us = min(self._circumstances.latency_us, self._circumstances.deadline_us)
        for ticket in tickets:
            self.calls += 1
            answer = self._circumstances.answered(ticket, self._answers[ticket])
            heappush(self._due, (self._now_us + wait_us, self.calls, ticket, answer))

    def _deliver(self, until_us: int) -> None:
        """Hand over the answers that are here by then; they may raise further questions, asked at that moment."""
        while self._due and self._due[0][0] <= until_us:
            self._now_us, _, ticket, answer = heappop(self._due)
            self._ask(self._covering.answer(ticket, answer))

    def _decided(self) -> list[tuple[int, Cover]]:
        decided = self._covering.decided()
        for index, _ in decided:
            self._answers.pop(index, None)
        return decided
