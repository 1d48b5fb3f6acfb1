"""The encoding thread: decided frames are covered and become segments."""

from __future__ import annotations

from collections.abc import Sequence

from streamproc.encode.rolling import RollingSegments
from streamproc.model.media import Sound
from streamproc.model.segment import Gap
from streamproc.pipeline.channel import Room
from streamproc.pipeline.work import AudioTrack, Decided, Done, Entry, FragmentOver, Hole, Work
from streamproc.ports import Clock
from streamproc.redact.redaction import Redaction


class Encoder:
    """Covers and encodes one stream's frames. Used from one thread at a time."""

    def __init__(self, redaction: Redaction, rolling: RollingSegments, room: Room, clock: Clock) -> None:
        self._redaction = redaction
        self._rolling = rolling
        self._room = room
        self._clock = clock
        self._refused = ""
        self._gaps: list[Gap] = []

    def encode(self, batch: Sequence[Work]) -> list[Done]:
        """Work through a batch; returns what is complete, in order.

        A gap goes out with the first segment or position behind it, so that the ledger has it before the checkpoint
        passes it.
        """
        done: list[Done] = []
        for work in batch:
            found = self._one(work)
            if found and self._gaps:
                done += self._gaps
                self._gaps = []
            done += found
        return done

    def _one(self, work: Work) -> list[Done]:
        rolling = self._rolling
        if isinstance(work, Decided):
            try:
                return list(self._frame(work))
            finally:
                self._room.give_back()
        if isinstance(work, FragmentOver):
            segments = rolling.fragment_done(work.fragment, work.after)
            if not segments and rolling.open_since_us is None and rolling.position is not None:
                return [rolling.position]  # nothing of it can be shown, and still it is done
            return list(segments)
        if isinstance(work, Entry):
            rolling.entry(work.after, work.server_us)
        elif isinstance(work, Sound):
            rolling.sound(work)
        elif isinstance(work, AudioTrack):
            rolling.carry_audio(work.track)
        elif isinstance(work, Hole):
            rolling.mark_gap()
            self._gaps.append(work.gap)
        else:
            gaps, self._gaps = self._gaps, []
            # The ledger first: the segment's end lies behind what is missing.
            return [*gaps, *rolling.flush()]
        return []

    def _frame(self, work: Decided) -> Sequence[Done]:
        redacted = self._redaction.redact(work.frame, work.cover)
        if redacted is None:
            self._rolling.passed(work.frame.id)
            return ()
        done = self._rolling.add(redacted)
        if self._rolling.refused and self._refused != work.frame.id.fragment.number:
            self._refused = work.frame.id.fragment.number
            now_us = self._clock.now_us()
            self._gaps.append(Gap("unsupported", "", self._refused, None, now_us, self._rolling.refused))
            self._rolling.mark_gap()
        return done
