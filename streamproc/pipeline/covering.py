"""Which frames of one stream are looked at, and what is covered in each: one rule, live and over recordings."""

from __future__ import annotations

from streamproc.detect.sampling import Sampler
from streamproc.model.detection import Answer
from streamproc.model.frame import Cover
from streamproc.pipeline.work import CoverOptions
from streamproc.track.coverage import Coverage
from streamproc.track.flow import Flow, reduced
from streamproc.track.scene import Luma, is_cut, thumbnail


class Covering:
    """Joins sampling, scenes and coverage. Frames come in order of presentation, under tickets that rise.

    Each method that takes something returns the tickets of frames to look at now; every one of them must be answered by
    :meth:`answer`, in any order, or :meth:`close` be called.
    """

    def __init__(self, options: CoverOptions) -> None:
        self._lookahead_us = options.lookahead_us
        self._sampler = Sampler(options.calls_per_second)
        self._flow = Flow()
        self._coverage = Coverage(options.margin, options.extend_us, motion=self._flow)
        self._thumbnail: Luma | None = None  # of the newest frame
        self._times: dict[int, int] = {}  # of frames without a decision

    @property
    def waiting(self) -> int:
        """Frames without a decision."""
        return self._coverage.waiting

    def frame(
        self, ticket: int, time_us: int, luma: Luma, *, damaged: bool = False, apart: bool = False, full: bool = False
    ) -> list[int]:
        """The next frame.

        Args:
            time_us: Producer's wall clock.
            luma: Its luma plane; only read, and not kept.
            damaged: It will be covered whole whatever a detector says.
            apart: Time or shape jump before it: nothing can be carried across.
            full: No frame can come in before one goes out, and no look is under way that would let one go.
        """
        looks = []
        small = reduced(luma)
        cut = self._scene_changes(small) and not apart
        if apart or cut:
            looks += self.tail()
        if apart:
            self._coverage.cut()
        elif cut:
            self._coverage.scene()
        self._times[ticket] = time_us
        self._flow.frame(ticket, small)
        self._coverage.frame(ticket, time_us, damaged)
        # Behind a cut nothing is known, so the first frame there is looked at if there is credit for it.
        if self._sampler.wants(time_us) or ((apart or cut) and self._sampler.closing(time_us)):
            looks.append(self._look(ticket))
        elif full:
            self._sampler.forced(time_us)
            looks.append(self._look(ticket))
        self._coverage.expire(time_us - self._lookahead_us)
        return looks

    def tail(self, needed: bool = False) -> list[int]:
        """Look at the newest frame, so that the frames before it can be decided without those to come.

        Args:
            needed: Even without credit for it.
        """
        ticket = self._coverage.unlooked_tail()
        if ticket is None:
            return []
        time_us = self._times[ticket]
        if needed:
            self._sampler.forced(time_us)
        elif not self._sampler.closing(time_us):
            return []
        return [self._look(ticket)]

    def answer(self, ticket: int, answer: Answer) -> list[int]:
        """What a detector said about a frame."""
        self._coverage.answer(ticket, answer)
        return []

    def close(self) -> None:
        """No further frame or answer will come: decide all that wait."""
        self._coverage.close()

    def decided(self) -> list[tuple[int, Cover]]:
        """Frames decided since the last call, in order, as (ticket, cover)."""
        decided = self._coverage.decided()
        for ticket, _ in decided:
            del self._times[ticket]
        if decided:
            self._flow.forget(decided[-1][0])  # the newest may be the near side of what follows
        return decided

    def _look(self, ticket: int) -> int:
        self._coverage.look(ticket)
        return ticket

    def _scene_changes(self, luma: Luma) -> bool:
        """Whether this frame shows something else than the one before it."""
        before, self._thumbnail = self._thumbnail, thumbnail(luma)
        return before is not None and is_cut(before, self._thumbnail)
