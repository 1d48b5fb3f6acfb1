"""The decision about every frame, from the looks on both sides of it.

Some frames are looked at; the frames between two looks wait until both are answered. Then

* an object seen on both sides in nearly one place is covered from one place to the other,
* one seen on one side only is held where it was and where it was going, over the whole interval and a while beyond,
* one that went and one that came and might be one object are both held, and all that lies between them is covered,

and all regions are enlarged. Knowing how an object moves only ever adds to what is covered. Where an answer failed or
never came, or two looks are too far apart to say anything about the frames between, those are covered whole.

Plain values in, plain values out: no pictures, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from streamproc.model.detection import Answer, Detection, Failed, Failure
from streamproc.model.frame import Cover, Decision, Region
from streamproc.model.geometry import WHOLE_PICTURE, Box
from streamproc.track.matching import distance, match, might_be_one
from streamproc.track.paths import Blind, Motion, Path, Step, paths
from streamproc.track.questions import Ends, question
from streamproc.track.sighting import Drift, Sighting, drift, predicted

COVERED_WHOLE = Cover(Decision.WHOLE, (Region(WHOLE_PICTURE, "frame", Decision.WHOLE),))

# An object that may be anywhere in more than this share of the picture may be anywhere.
_MOST_HULL = 0.25
# In a crowd of which the detector sees others each time, nobody knows who went where.
_MOST_WAYS = 200
# Over so short a time, what lies between two places of one object covers its way, but for the sway of the camera.
_SHORT_US = 300_000
_BLIND = Blind()
# Added to the margin where a question was not answered.
_UNANSWERED = 0.2
# A box is taken to be where its pixels went if at least this share of them is known to have gone there.
_SURE = 0.3
# Where the ways from both sides disagree, the box grows by up to this share of its size, most in the middle.
_DISAGREEMENT = 0.5
# Nobody knows how the rest of an object moved that was seen on one side: its box grows by this share per second.
_WAY_GROWTH_PER_S = 0.3


@dataclass(slots=True)
class _Waiting:
    """A frame without a decision."""

    ticket: int
    time_us: int
    doubtful: bool
    starts: bool = False  # nothing is carried from before it
    scene: bool = False  # it shows another scene than the frame before it
    looked_at: bool = False
    question: bool = False  # it was looked at only because two looks did not agree
    answer: Answer | None = None
    carried: bool = False  # the answer is that of an earlier look


@dataclass(slots=True)
class _Look:
    """An answered look, the near side of the frames after it.

    Attributes:
        ticket: Of the frame.
        seen: What was seen at this look; nothing if it failed.
        held: What was seen before and should have been seen here.
        seen_us: When the last look was made that did not fail.
    """

    ticket: int
    time_us: int
    failed: bool
    carried: bool = False
    seen: list[Sighting] = field(default_factory=list)
    held: list[Sighting] = field(default_factory=list)
    seen_us: int = 0


@dataclass(frozen=True, slots=True)
class _Way:
    """Where an object went between two looks, by frame.

    Attributes:
        boxes: By ticket; frames that are not in it are not covered by it.
        origin: ``carried`` if it was seen on both sides.
    """

    boxes: Mapping[int, Box]
    kind: str
    origin: Decision


@dataclass(frozen=True, slots=True)
class _Interval:
    """What two looks say about the frames between them.

    Attributes:
        whole: They say nothing.
        ways: Of objects whose motion could be followed.
        ends: What the two looks say about each other.
        hulls: Boxes covered in all of them: of objects that moved within, with their kinds.
        might: The same of objects that might have moved within.
        held: Objects seen on one side.
        after: The same for the frames after a cut that lies between the looks.
    """

    whole: bool
    hulls: list[tuple[Box, str]] = field(default_factory=list)
    might: list[tuple[Box, str]] = field(default_factory=list)
    held: list[Sighting] = field(default_factory=list)
    ways: list[_Way] = field(default_factory=list)
    ends: Ends = field(default_factory=Ends)
    after: _Interval | None = None


class Coverage:
    """Decides frames in order. Feed :meth:`frame` and :meth:`look` in order, :meth:`answer` in any order.

    Args:
        margin: Width and height of each region are ``1 + margin`` times the object's.
        extend_us: How long a region is held beyond its object's last sighting.
        max_interval_us: Two looks further apart prove nothing about the frames between them.
        motion: What is known of motion between frames.
        ask_us: Where two looks do not agree, one more is wanted between them, no closer to either; 0 for never.
        may_ask: Whether one more look may be made for that, at a frame of this time; it will be made then.
    """

    def __init__(
        self,
        margin: float,
        extend_us: int,
        max_interval_us: int = 1_500_000,
        motion: Motion | None = None,
        ask_us: int = 0,
        may_ask: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self._ask_us = ask_us
        self._may_ask = may_ask
        self._wanted: list[int] = []
        self._motion = motion or _BLIND
        self._margin = margin
        self._extend_us = extend_us
        self._max_interval_us = max_interval_us
        self._waiting: deque[_Waiting] = deque()
        self._by_ticket: dict[int, _Waiting] = {}
        self._near: _Look | None = None
        self._cut = True
        self._scene = False
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
        waiting = _Waiting(ticket, time_us, doubtful, starts=self._cut, scene=self._scene)
        self._cut = self._scene = False
        self._waiting.append(waiting)
        self._by_ticket[ticket] = waiting

    def look(self, ticket: int) -> None:
        """A detector looks at this frame; :meth:`answer` will follow, or :meth:`close`."""
        self._by_ticket[ticket].looked_at = True

    def answer(self, ticket: int, answer: Answer, *, carried: bool = False) -> None:
        """What the detector said. Repeated answers and answers about decided frames change nothing.

        Args:
            carried: It said so of an earlier frame, and nothing has changed since.
        """
        waiting = self._by_ticket.get(ticket)
        if waiting is None or not waiting.looked_at or waiting.answer is not None:
            return
        waiting.answer = Failed(Failure.FAILED) if waiting.doubtful else answer
        waiting.carried = carried
        self._settle()

    def wanted(self) -> list[int]:
        """Frames that are to be looked at because two looks did not agree: as if :meth:`look` had been called."""
        wanted, self._wanted = self._wanted, []
        return wanted

    def cut(self) -> None:
        """Time or picture jumps behind the newest frame: nothing is carried across.

        Looks under way still count; look at the newest frame first (:meth:`unlooked_tail`).
        """
        self._cut = True

    def scene(self) -> None:
        """The scene changes behind the newest frame: what was seen on one side of the cut is not on the other.

        Other than after :meth:`cut`, frames on either side are decided by the look on their own side alone.
        """
        self._scene = True

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
        ask_us, self._ask_us = self._ask_us, 0
        self._settle()
        self._ask_us = ask_us
        self._wanted.clear()
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
            if far.question and isinstance(far.answer, Failed):
                far.looked_at = False  # what was known without it still is
                continue
            scenes = self._scenes_until(far)
            look, interval = self._link(far, far.answer, scenes > 0)
            if self._asks(interval, far):
                return
            wide = _UNANSWERED if any(w.question and not w.looked_at for w in self._until(far)) else 0.0
            passed = 0
            while (waiting := self._waiting.popleft()) is not far:
                passed += waiting.scene
                side = interval.after if interval.after is not None and passed else interval
                # Of a scene that begins and ends between two looks nobody knows anything.
                whole = waiting.doubtful or side.whole or 0 < passed < scenes
                self._decide(waiting, COVERED_WHOLE if whole else self._between(waiting, side, wide))
            look.carried = far.carried
            self._decide(far, self._at(look))
            self._near = look

    def _scenes_until(self, far: _Waiting) -> int:
        """How many cuts lie between the near look and this one."""
        return sum(waiting.scene for waiting in self._until(far))

    def _until(self, far: _Waiting) -> Iterator[_Waiting]:
        """The frames that wait, up to this one and with it."""
        for waiting in self._waiting:
            yield waiting
            if waiting is far:
                return

    def _asks(self, interval: _Interval, far: _Waiting) -> bool:
        """Whether one more look between the near look and this one is under way now."""
        near = self._near
        if near is None or near.failed or interval.after is not None:
            return False
        at = question(self._steps(near, far), interval.ends, self._ask_us)
        if at is None:
            return False
        waiting = self._waiting[at - 1]
        if waiting.question or waiting.doubtful:
            return False
        waiting.question = True
        if not self._may_ask(waiting.time_us):
            return False
        waiting.looked_at = True
        self._wanted.append(waiting.ticket)
        return True

    def _link(self, far: _Waiting, answer: Answer, cut: bool) -> tuple[_Look, _Interval]:
        """The look at ``far`` with what is known from before it, and the interval that it ends.

        Args:
            cut: The scene changes between the near look and this one.
        """
        near, ticket, time_us = self._near, far.ticket, far.time_us
        if near is None:
            if isinstance(answer, Failed):
                return _Look(ticket, time_us, failed=True), _Interval(whole=True)
            first = [Sighting(d, time_us) for d in answer.detections]
            return _Look(ticket, time_us, failed=False, seen=first, seen_us=time_us), _Interval(whole=True)
        known = [*near.seen, *near.held]
        if cut:
            return self._link_across_a_cut(near, far, answer)
        if isinstance(answer, Failed):
            held = [s for s in known if self._holds(s, time_us) or s.seen_us == near.seen_us]
            return _Look(ticket, time_us, failed=True, held=held, seen_us=near.seen_us), _Interval(whole=True)

        found = answer.detections
        steps = self._steps(near, far)
        near_by = match([s.detection for s in known], found)
        calm = len(near_by) == len(known) == len(found) and time_us - near.time_us <= _SHORT_US
        motion = self._motion.sway() if calm else self._motion
        if calm and all(self._motion.still(near.ticket, step.ticket) for step in steps[1:]):
            motion = _BLIND
        onward = paths(motion, steps, [s.detection.box for s in known])
        backward = paths(motion, steps[::-1], [d.box for d in found])
        carried = [_carried(s.detection, path) for s, path in zip(known, onward, strict=True)]
        pairs = near_by if calm else match(carried, found)
        same = {j: known[i] for i, j in pairs}
        again = {i for i, _ in pairs}
        gone = [s for i, s in enumerate(known) if i not in again]
        come = [j for j in range(len(found)) if j not in same]
        might = [
            (i, j)
            for j in come
            for i, s in enumerate(gone)
            if not s.explained and might_be_one(s.detection, found[j], time_us - s.seen_us)
        ]
        for j in come:
            before = [gone[i] for i, other in might if other == j]
            if before:
                same[j] = min(before, key=lambda s: distance(predicted(s, time_us), found[j].box))
        seen = [
            Sighting(d, time_us, drift(same[j], d.box, time_us) if j in same else None) for j, d in enumerate(found)
        ]
        explained = {i for i, _ in might}
        gone = [
            replace(s, explained=True, drift=s.drift or Drift()) if i in explained else s for i, s in enumerate(gone)
        ]
        lost = [i for i in range(len(known)) if i not in again]
        held = [
            replace(s, detection=_carried(s.detection, onward[i]))
            for i, s in zip(lost, gone, strict=True)
            if self._holds(s, time_us)
        ]
        look = _Look(ticket, time_us, failed=False, seen=seen, held=held, seen_us=time_us)

        sure = [(i, j) for i, j in pairs if _followed(onward[i]) and _followed(backward[j])]
        ways = [_fused(steps, onward[i], backward[j], found[j].kind, calm) for i, j in sure]
        ways += [_single(steps, onward[i], known[i].detection.kind) for i in lost if _followed(onward[i])]
        ways += [_single(steps[::-1], backward[j], found[j].kind) for j in come if _followed(backward[j])]
        unsure = [pair for pair in pairs if pair not in sure]
        hulls = [(known[i].detection.box.hull(found[j].box), found[j].kind) for i, j in unsure]
        moved = [(gone[i].detection.box.hull(found[j].box), found[j].kind) for i, j in might]
        anywhere = len(moved) > _MOST_WAYS or any(box.area > _MOST_HULL for box, _ in moved)
        whole = near.failed or time_us - near.time_us > self._max_interval_us or anywhere
        ends = Ends(
            alone=[known[i].detection.box for i in lost if i < len(near.seen)] + [found[j].box for j in come],
            lost=[] if calm else [found[j].box for _, j in unsure],
            both=[] if calm else [(onward[i], backward[j]) for i, j in sure],
        )
        aside = [_sure_of(s, onward[i]) for i, s in zip(lost, gone, strict=True)]
        aside += [_sure_of(seen[j], backward[j]) for j in come]
        return look, _Interval(whole, hulls, moved, aside, ways, ends)

    def _steps(self, near: _Look, far: _Waiting) -> list[Step]:
        """The frames from one look to the other, with both."""
        return [Step(near.ticket, near.time_us), *(Step(w.ticket, w.time_us) for w in self._until(far))]

    def _link_across_a_cut(self, near: _Look, far: _Waiting, answer: Answer) -> tuple[_Look, _Interval]:
        ticket, time_us = far.ticket, far.time_us
        whole = near.failed or time_us - near.time_us > self._max_interval_us
        # The cut is why objects came and went, not a border of the picture.
        before = [replace(s, explained=True) for s in (*near.seen, *near.held)]
        if isinstance(answer, Failed):
            return _Look(ticket, time_us, failed=True), _Interval(whole=True)
        seen = [Sighting(d, time_us) for d in answer.detections]
        after = _Interval(whole, held=[replace(s, explained=True) for s in seen])
        look = _Look(ticket, time_us, failed=False, seen=seen, seen_us=time_us)
        return look, _Interval(whole, held=before, after=after)

    def _holds(self, sighting: Sighting, time_us: int) -> bool:
        return time_us - sighting.seen_us <= self._extend_us

    def _between(self, waiting: _Waiting, interval: _Interval, wide: float) -> Cover:
        time_us = waiting.time_us
        regions = [self._region(box, kind, Decision.CARRIED, wide) for box, kind in interval.hulls]
        regions += [self._region(box, kind, Decision.EXTENDED, wide) for box, kind in interval.might]
        regions += [self._held(s, time_us, wide) for s in interval.held]
        regions += [
            self._region(w.boxes[waiting.ticket], w.kind, w.origin, wide)
            for w in interval.ways
            if waiting.ticket in w.boxes
        ]
        extended = any(r.origin is Decision.EXTENDED for r in regions)
        return Cover(Decision.EXTENDED if extended else Decision.CARRIED, tuple(regions))

    def _at(self, look: _Look) -> Cover:
        """The cover of a looked-at frame: what was seen there, and what was seen before and may still be there."""
        if look.failed:
            return COVERED_WHOLE
        decision = Decision.CARRIED if look.carried else Decision.SEEN
        seen = [self._region(s.detection.box, s.detection.kind, decision) for s in look.seen]
        return Cover(decision, (*seen, *(self._held(s, look.time_us) for s in look.held)))

    def _held(self, sighting: Sighting, time_us: int, wide: float = 0.0) -> Region:
        return self._region(sighting.reach(time_us), sighting.detection.kind, Decision.EXTENDED, wide)

    def _region(self, box: Box, kind: str, origin: Decision, wide: float = 0.0) -> Region:
        return Region(box.enlarge(self._margin + wide).clip(), kind, origin)

    def _decide(self, waiting: _Waiting, cover: Cover) -> None:
        del self._by_ticket[waiting.ticket]
        self._decided.append((waiting.ticket, cover))


def _followed(path: Path) -> bool:
    return path.confidences[-1] >= _SURE


def _sure_of(sighting: Sighting, path: Path) -> Sighting:
    """Of an object that was followed one need not guess where it went."""
    return replace(sighting, explained=True, drift=sighting.drift or Drift()) if _followed(path) else sighting


def _carried(detection: Detection, path: Path) -> Detection:
    """The object at the end of its way, if that is known."""
    return replace(detection, box=path.boxes[-1]) if _followed(path) else detection


def _fused(steps: Sequence[Step], onward: Path, backward: Path, kind: str, between: bool) -> _Way:
    """The way of an object that was seen on both sides.

    Args:
        between: With all that lies between the two places where it was seen.
    """
    both = onward.boxes[0].hull(backward.boxes[0])
    begin_us, length_us = steps[0].time_us, max(1, steps[-1].time_us - steps[0].time_us)
    boxes = {}
    for at, step in enumerate(steps):
        a, b = onward.boxes[at], backward.boxes[-1 - at]
        share = (step.time_us - begin_us) / length_us
        apart = distance(a, b) if not (a.empty or b.empty) else 1.0
        box = a.hull(b).enlarge(min(1.0, apart) * _DISAGREEMENT * 4 * share * (1 - share))
        boxes[step.ticket] = box.hull(both) if between else box
    return _Way(boxes, kind, Decision.CARRIED)


def _single(steps: Sequence[Step], path: Path, kind: str) -> _Way:
    """The way of an object that was seen on one side only."""
    boxes = {
        step.ticket: box.enlarge(abs(step.time_us - steps[0].time_us) / 1_000_000 * _WAY_GROWTH_PER_S)
        for step, box in zip(steps, path.boxes, strict=True)
        if not box.clip().empty
    }
    return _Way(boxes, kind, Decision.EXTENDED)
