"""Which frames of one stream are looked at, and what is covered in each: one rule, live and over recordings."""

from __future__ import annotations

from streamproc.detect.sampling import Sampler
from streamproc.model.detection import Answer, Seen
from streamproc.model.frame import Cover
from streamproc.pipeline.work import CoverOptions
from streamproc.track.coverage import Coverage
from streamproc.track.flow import Flow, reduced
from streamproc.track.scene import Luma, is_cut, is_unchanged, thumbnail

# Half of what one can see has been replaced since the last look.
_MOST_MOVED = 0.6


class Covering:
    """Joins sampling, scenes and coverage. Frames come in order of presentation, under tickets that rise.

    Each method that takes something returns the tickets of frames to look at now; every one of them must be answered by
    :meth:`answer`, in any order, or :meth:`close` be called.
    """

    def __init__(self, options: CoverOptions) -> None:
        self._lookahead_us = options.lookahead_us
        self._sampler = Sampler(options.calls_per_second, options.every_us)
        self._flow = Flow()
        self._coverage = Coverage(
            options.margin,
            options.extend_us,
            motion=self._flow,
            ask_us=options.ask_us,
            may_ask=self._sampler.question,
        )
        self._thumbnail: Luma | None = None  # of the newest frame
        self._newest: int | None = None
        self._moved = 0.0  # since the last look, in widths of the picture
        self._calm_us = options.calm_us
        self._looked: tuple[int, int, Luma] | None = None  # ticket, time and thumbnail of the newest look
        self._said: Seen | None = None  # in answer to it
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
        if self._newest is not None and not (apart or cut):
            self._moved += self._flow.moved(self._newest, ticket)
        self._newest = ticket
        # Behind a cut nothing is known, so the first frame there is looked at if there is credit for it.
        if apart or cut:
            self._looked = None
        if self._sampler.wants(time_us):
            if self._rests(time_us, damaged):
                self._sampler.rested(time_us)
                self._coverage.look(ticket)
                self._coverage.answer(ticket, self._said or Seen(), carried=True)
            else:
                looks.append(self._look(ticket))
        elif ((apart or cut) and self._sampler.closing(time_us)) or (
            self._moved >= _MOST_MOVED and self._sampler.question(time_us)
        ):
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
        if self._looked is not None and ticket == self._looked[0] and isinstance(answer, Seen):
            self._said = answer
        self._coverage.answer(ticket, answer)
        return self._coverage.wanted()

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
        assert self._thumbnail is not None
        self._looked, self._said, self._moved = (ticket, self._times[ticket], self._thumbnail), None, 0.0
        return ticket

    def _rests(self, time_us: int, damaged: bool) -> bool:
        """Whether a look would say what the last one said: nothing has changed since."""
        if self._looked is None or self._said is None or self._thumbnail is None or damaged:
            return False
        _, looked_us, then = self._looked
        return time_us - looked_us <= self._calm_us and is_unchanged(then, self._thumbnail)

    def _scene_changes(self, luma: Luma) -> bool:
        """Whether this frame shows something else than the one before it."""
        before, self._thumbnail = self._thumbnail, thumbnail(luma)
        return before is not None and is_cut(before, self._thumbnail)
