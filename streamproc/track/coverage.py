"""The decision about every frame, from the looks on both sides of it.

Some frames are looked at; the frames between two looks wait until both are answered. Then each object seen on both
sides is interpolated, each object seen on one side only is held over the whole interval and for a while beyond, and all
regions are enlarged. Where an answer failed or never came, every frame that needed it is covered whole.

Plain values in, plain values out: no pictures, no clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from streamproc.model.detection import Answer, Detection, Failed, Failure, Seen
from streamproc.model.frame import Cover, Decision, Region
from streamproc.model.geometry import WHOLE_PICTURE, Box
from streamproc.track.matching import match

COVERED_WHOLE = Cover(Decision.WHOLE, (Region(WHOLE_PICTURE, "frame", Decision.WHOLE),))

# A held box grows, because nobody knows where its object went: by this share of its size per second, each way.
_GROWTH_PER_S = 1.0
# An interpolated box is drawn towards both ends by this share of the way it moved, because things do not move evenly.
_SLACK = 0.15


@dataclass(slots=True)
class _Waiting:
    """A frame without a decision."""

    ticket: int
    time_us: int
    doubtful: bool
    starts: bool = False  # nothing is carried from before it
    looked_at: bool = False
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    """An object that was seen at ``seen_us`` and not at the look after it."""

    detection: Detection
    seen_us: int


@dataclass(slots=True)
class _Look:
    """An answered look, the near side of the frames after it."""

    time_us: int
    answer: Answer
    held: list[_Held] = field(default_factory=list)


class Coverage:
    """Decides frames in order. Feed :meth:`frame` and :meth:`look` in order, :meth:`answer` in any order.

    Args:
        margin: Width and height of each region are ``1 + margin`` times the object's.
        extend_us: How long a region is held beyond its object's last sighting.
    """

    def __init__(self, margin: float, extend_us: int) -> None:
        self._margin = margin
        self._extend_us = extend_us
        self._waiting: deque[_Waiting] = deque()
        self._by_ticket: dict[int, _Waiting] = {}
        self._near: _Look | None = None
        self._cut = True
        self._decided: list[tuple[int, Cover]] = []

    @property
    def waiting(self) -> int:
        """Frames without a decision."""
        return len(self._waiting)

    @property
    def oldest_us(self) -> int | None:
        """Producer time of the oldest frame without a decision."""
        return self._waiting[0].time_us if self._waiting else None

    def unlooked_tail(self) -> int | None:
        """Ticket of the newest frame if no look is under way at or after it, else None: nothing will decide it."""
        if self._waiting and not self._waiting[-1].looked_at:
            return self._waiting[-1].ticket
        return None

    def frame(self, ticket: int, time_us: int, doubtful: bool = False) -> None:
        """A frame arrived, in order of presentation.

        Args:
            ticket: Any number, unique among the frames that wait.
            time_us: Producer's wall clock.
            doubtful: The picture is damaged: it will be covered whole whatever a detector says.
        """
        waiting = _Waiting(ticket, time_us, doubtful, starts=self._cut)
        self._cut = False
        self._waiting.append(waiting)
        self._by_ticket[ticket] = waiting

    def look(self, ticket: int) -> None:
        """A detector looks at this frame; :meth:`answer` will follow, or :meth:`close`."""
        self._by_ticket[ticket].looked_at = True

    def answer(self, ticket: int, answer: Answer) -> None:
        """What the detector said. Repeated answers and answers about decided frames change nothing."""
        waiting = self._by_ticket.get(ticket)
        if waiting is None or not waiting.looked_at or waiting.answer is not None:
            return
        waiting.answer = Failed(Failure.FAILED) if waiting.doubtful else answer
        self._settle()

    def cut(self) -> None:
        """Time or picture jumps behind the newest frame: nothing is carried across.

        Looks under way still count; look at the newest frame first (:meth:`unlooked_tail`).
        """
        self._cut = True

    def expire(self, before_us: int) -> None:
        """Frames older than this that no look under way will decide are covered whole: their time is up."""
        if any(w.looked_at for w in self._waiting):
            return
        while self._waiting and self._waiting[0].time_us < before_us:
            waiting = self._waiting.popleft()
            self._decide(waiting, COVERED_WHOLE)
            if waiting.starts:
                self._near = None

    def close(self) -> None:
        """No further frame or answer will come in time: decide all that wait."""
        for waiting in self._waiting:
            if waiting.looked_at and waiting.answer is None:
                waiting.answer = Failed(Failure.LATE)
        self._settle()
        for waiting in self._waiting:  # these have no look on their far side
            self._decide(waiting, COVERED_WHOLE)
        self._waiting.clear()
        self._cut = True

    def decided(self) -> list[tuple[int, Cover]]:
        """Frames decided since the last call, in order, as (ticket, cover)."""
        decided, self._decided = self._decided, []
        return decided

    def _settle(self) -> None:
        """Decide every interval whose far look is answered."""
        while self._waiting:
            if self._waiting[0].starts:
                self._near, self._waiting[0].starts = None, False
            far = next((w for w in self._waiting if w.looked_at or w.starts), None)
            if far is None or (far.answer is None and not far.starts):
                return
            if far.starts:  # the frames before this cut have no look on their far side
                while self._waiting[0] is not far:
                    self._decide(self._waiting.popleft(), COVERED_WHOLE)
                continue
            assert far.answer is not None
            look = self._carry(far.time_us, far.answer)
            between: list[_Waiting] = []
            while (waiting := self._waiting.popleft()) is not far:
                between.append(waiting)
            for waiting in between:
                self._decide(waiting, COVERED_WHOLE if waiting.doubtful else self._between(waiting.time_us, look))
            self._decide(far, _at(look, self._margin, self._extend_us))
            self._near = look

    def _carry(self, time_us: int, answer: Answer) -> _Look:
        """The look at ``time_us`` together with the objects that it should have seen and did not."""
        near = self._near
        if near is None:
            return _Look(time_us, answer)
        held = [h for h in near.held if time_us - h.seen_us <= self._extend_us]
        if isinstance(near.answer, Seen):
            found: set[int] = set()
            if isinstance(answer, Seen):
                found = {i for i, _ in match(near.answer.detections, answer.detections)}
            held += [_Held(d, near.time_us) for i, d in enumerate(near.answer.detections) if i not in found]
        if isinstance(answer, Seen):
            again = {i for i, _ in match([h.detection for h in held], answer.detections)}
            held = [h for i, h in enumerate(held) if i not in again]
        return _Look(time_us, answer, held)

    def _between(self, time_us: int, far: _Look) -> Cover:
        near = self._near
        if near is None or not isinstance(near.answer, Seen) or not isinstance(far.answer, Seen):
            return COVERED_WHOLE
        regions: list[Region] = []
        a, b = near.answer.detections, far.answer.detections
        pairs = match(a, b)
        share = (time_us - near.time_us) / (far.time_us - near.time_us) if far.time_us > near.time_us else 1.0
        for i, j in pairs:
            box = _moved(a[i].box, b[j].box, min(1.0, max(0.0, share)))
            regions.append(self._region(box, a[i].kind, Decision.CARRIED))
        left, right = {i for i, _ in pairs}, {j for _, j in pairs}
        gone = [_Held(d, near.time_us) for i, d in enumerate(a) if i not in left]
        come = [_Held(d, far.time_us) for j, d in enumerate(b) if j not in right]
        for held in [*near.held, *gone, *come]:
            regions.append(self._region(_grown(held, time_us), held.detection.kind, Decision.EXTENDED))
        extended = any(r.origin is Decision.EXTENDED for r in regions)
        return Cover(Decision.EXTENDED if extended else Decision.CARRIED, tuple(regions))

    def _region(self, box: Box, kind: str, origin: Decision) -> Region:
        return Region(box.enlarge(self._margin).clip(), kind, origin)

    def _decide(self, waiting: _Waiting, cover: Cover) -> None:
        del self._by_ticket[waiting.ticket]
        self._decided.append((waiting.ticket, cover))


def _at(look: _Look, margin: float, extend_us: int) -> Cover:
    """The cover of a looked-at frame: what was seen there, and what was seen a moment ago and may still be there."""
    if not isinstance(look.answer, Seen):
        return COVERED_WHOLE
    seen = [Region(d.box.enlarge(margin).clip(), d.kind, Decision.SEEN) for d in look.answer.detections]
    held = [
        Region(_grown(h, look.time_us).enlarge(margin).clip(), h.detection.kind, Decision.EXTENDED)
        for h in look.held
        if look.time_us - h.seen_us <= extend_us
    ]
    return Cover(Decision.SEEN, tuple(seen + held))


def _moved(a: Box, b: Box, share: float) -> Box:
    """The box at ``share`` of the way from ``a`` to ``b``, drawn out along the way."""
    slack = _SLACK * 4 * share * (1 - share)  # none at the ends, where the object was seen
    return a.between(b, max(0.0, share - slack)).hull(a.between(b, min(1.0, share + slack)))


def _grown(held: _Held, time_us: int) -> Box:
    return held.detection.box.enlarge(2 * _GROWTH_PER_S * abs(time_us - held.seen_us) / 1_000_000)
