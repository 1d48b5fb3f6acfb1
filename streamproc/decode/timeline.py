"""Which picture is which: the fragment, the place in it and the producer's time of each decoded frame.

Decoders hand pictures out in order of presentation, while blocks come in order of decoding, and damaged blocks give no
picture at all without an error. So each block gets a ticket, the decoder carries the ticket through, and what is still
open when a fragment is over was lost.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field

from streamproc.model.frame import FrameId
from streamproc.model.media import Fragment


@dataclass(slots=True)
class _Opened:
    fragment: Fragment
    offsets: list[tuple[int, int]] = field(default_factory=list)  # (offset, ticket), sorted


@dataclass(frozen=True, slots=True)
class _Ticket:
    opened: _Opened
    offset_us: int
    arrived_us: int


class Timeline:
    """Gives tickets to blocks and takes them back for frames. Without clock or codec.

    A frame's index counts the blocks of its fragment that are shown before it, decoded or not: the same bytes give the
    same index, whatever state the decoder was in.
    """

    def __init__(self) -> None:
        self._next = 0
        self._open: dict[int, _Ticket] = {}
        self._current: _Opened | None = None

    @property
    def waiting(self) -> int:
        """Blocks that have not come out as frames."""
        return len(self._open)

    def begin(self, fragment: Fragment) -> None:
        """The blocks that follow belong to this fragment."""
        self._current = _Opened(fragment)

    def block(self, offset_us: int, arrived_us: int) -> int:
        """A block goes into the decoder; returns its ticket (unique and rising)."""
        if self._current is None:
            raise ValueError("a block before its fragment")
        ticket = self._next
        self._next += 1
        insort(self._current.offsets, (offset_us, ticket))
        self._open[ticket] = _Ticket(self._current, offset_us, arrived_us)
        return ticket

    def frame(self, ticket: int) -> tuple[FrameId, int] | None:
        """A frame came out: its identity and when its block had arrived; None for a ticket that nobody holds."""
        held = self._open.pop(ticket, None)
        if held is None:
            return None
        fragment = held.opened.fragment
        index = held.opened.offsets.index((held.offset_us, ticket))
        return FrameId(fragment, index, fragment.producer_us + held.offset_us), held.arrived_us

    def overtaken(self, ticket: int) -> bool:
        """Whether a block that is shown before this one, in the same fragment, has not come out: it will not any more.

        To be asked before :meth:`frame` takes the ticket back.
        """
        mine = self._open.get(ticket)
        if mine is None:
            return False
        return any(h.opened is mine.opened and h.offset_us < mine.offset_us for h in self._open.values())

    def lost(self, fragment: Fragment) -> int:
        """How many blocks of this fragment never came out; they are forgotten with this call."""
        dead = [ticket for ticket, held in self._open.items() if held.opened.fragment == fragment]
        for ticket in dead:
            del self._open[ticket]
        return len(dead)

    def forget(self, fragment: Fragment) -> None:
        """Drop the open tickets of this fragment: a frame that still comes out of it is nobody's."""
        self.lost(fragment)
