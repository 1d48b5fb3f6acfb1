"""The decisions of one stream, on the event loop: which frames to look at, and what is covered in each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from streamproc.decode.pyav import EntryPoint, FragmentDecoded
from streamproc.detect.fanout import FanOut
from streamproc.detect.jpeg import Look, encode_look, upright_to_coded
from streamproc.errors import shown_text
from streamproc.model.detection import Answer, Seen
from streamproc.model.frame import Frame, FrameId
from streamproc.model.media import Fragment, FragmentEnd, FragmentStart, Sound, Track, TrackKind
from streamproc.model.segment import Gap, Position
from streamproc.pipeline.channel import Room
from streamproc.pipeline.covering import Covering
from streamproc.pipeline.tally import Tally
from streamproc.pipeline.work import (
    AudioTrack,
    Decided,
    Entry,
    Flush,
    FragmentOver,
    Hole,
    LiveOptions,
    Quiet,
    Read,
    Work,
)
from streamproc.ports import Clock
from streamproc.redact.redaction import readable_planes

# Nothing is carried over a longer step of the producer's clock.
_CUT_US = 1_000_000
# Frames between decoder and encoder: as many as come between two looks and while an answer is on its way. At 30 fps and
# five looks a second that is 20, of 1.4 MB each at 720p.
_WIDEST_LOOKS = 1.3
_ANSWER_S = 0.4
FEWEST_FRAMES, _MOST_FRAMES, _MOST_BYTES = 16, 240, 512_000_000
# Media that the service has held for longer than this is a backlog, where answers may take so many times longer.
_BACKLOG_US = 15_000_000
_BACKLOG_PATIENCE = 10
# While no media comes, a segment is closed wherever it stands, so long after it should have been full.
_QUIET_S = 0.9
_FLUSH_AFTER_S = 0.5


class Decider:
    """Takes what was read, in order, and hands out what is to be encoded, in order.

    Args:
        taken: Frames up to here are published and come again because their fragment does.
        skips: Where the run was told to begin, if not behind ``taken``.
        open_since_us: When the first frame of the encoder's open segment arrived (our wall clock, µs), if one is open.
        put: Where work for the encoder goes.
        on_idle: Called when nothing came for ``options.until_idle_s``.
    """

    def __init__(
        self,
        stream: str,
        fanout: FanOut,
        clock: Clock,
        options: LiveOptions,
        room: Room,
        tally: Tally,
        taken: Position | None,
        skips: str,
        open_since_us: Callable[[], int | None],
        put: Callable[[Work], None],
        on_idle: Callable[[], None],
        note: Callable[[str], None],
    ) -> None:
        self._stream = stream
        self._fanout = fanout
        self._clock = clock
        self._options = options
        self._room = room
        self._tally = tally
        self._taken = taken
        self._skips = skips
        self._open_since_us = open_since_us
        self._put = put
        self._on_idle = on_idle
        self._note = note
        self._covering = Covering(options.cover)
        self._frames: dict[int, Frame] = {}
        self._looks: dict[int, asyncio.Future[Answer]] = {}
        self._markers: deque[tuple[int, Work]] = deque()
        self._ticket = 0  # of the newest frame
        self._given = 0  # of the newest frame that went to the encoder
        self._last: Frame | None = None
        self._audio: Track | None = None
        self._entered = ""
        self._missed = 0  # frames lost so far of the fragment at hand
        self._whole = taken.fragment if taken is not None and taken.frames is None else ""  # the last that is over
        self._holed = ""
        self._told: set[str] = set()
        self._active_s = clock.monotonic()
        self._flushed = True

    def take(self, item: Read) -> None:
        """The next thing that was read. Raises the error that ended the reading."""
        if isinstance(item, Quiet):
            self._quiet()
            return
        if isinstance(item, Frame | FragmentStart | FragmentDecoded):
            self._active_s = self._clock.monotonic()
        if isinstance(item, Frame):
            self._frame(item)
        elif isinstance(item, EntryPoint):
            self._mark(Entry(item.after, item.server_us))
        elif isinstance(item, FragmentDecoded):
            self._fragment_decoded(item)
        elif isinstance(item, Sound):
            self._sound(item)
        elif isinstance(item, FragmentStart):
            self._fragment_start(item)
        elif isinstance(item, FragmentEnd):
            if item.behind_now_ms is not None:
                self._tally.behind(item.fragment, item.behind_now_ms, self._clock.now_us())
        elif isinstance(item, Gap):
            self._lost(item)
            detail = f": {item.detail}" if item.detail else ""
            self._note(f"gap: {item.reason} after fragment {item.after or '(start)'}{detail}")
        elif item.error is not None:
            raise item.error

    async def finish(self) -> None:
        """No more will come: decide what is left, once the answers under way are in."""
        self._look_at(self._covering.tail(needed=True))
        while self._looks:
            await asyncio.wait(set(self._looks.values()))
            await asyncio.sleep(0)  # lets their callbacks run
        self._covering.close()
        self._pump()
        self._put(Flush())

    def _fragment_start(self, item: FragmentStart) -> None:
        if self._skips and not self._entered:
            self._skipped(item.fragment)
        if item.fragment.number != self._entered:
            self._entered = item.fragment.number
            self._tally.fragment(item.fragment)
        if self._options.keep_audio:
            # Before the first frame, so that its segment has the track already.
            sound = next((t for t in item.tracks if t.kind is TrackKind.AUDIO), None)
            if sound is not None and not (sound.codec_id.startswith("A_AAC") and sound.codec_private):
                self._once(
                    f"sound of codec {shown_text(sound.codec_id)} cannot be kept in MP4 (only AAC can); it is left out"
                )
                sound = None
            if sound != self._audio:
                self._audio = sound
                self._mark(AudioTrack(sound))

    def _skipped(self, fragment: Fragment) -> None:
        """The run was told to begin elsewhere than behind its checkpoint: what lies between is not seen."""
        if self._taken is not None and fragment.order > self._taken.order[0]:
            gap = Gap("skipped", self._whole, "", None, self._clock.now_us(), f"begun at {self._skips} by request")
            self._lost(gap)
            self._note(
                f"gap: {gap.detail}; fragments between {self._taken.fragment} and {fragment.number} are not seen"
            )

    def _frame(self, frame: Frame) -> None:
        if self._taken is not None and self._taken.covers(frame.id):
            self._tally.frames_skipped += 1
            self._room.give_back()
            return
        fragment, time_us = frame.id.fragment, frame.id.time_us
        self._overtook(frame.id)
        self._taken = Position(fragment.number, frame.id.index + 1)
        self._tally.arrived(frame.stamps.arrived_us)
        apart = self._last is not None and _apart(self._last, frame)
        self._room.widen(self._frames_needed(frame))
        self._last, self._flushed = frame, False
        self._ticket += 1
        self._frames[self._ticket] = frame
        looks = self._covering.frame(
            self._ticket,
            time_us,
            readable_planes(frame.picture)[0],
            damaged=frame.damaged,
            apart=apart,
            full=not self._looks and self._covering.waiting + 1 >= self._room.limit,
        )
        self._look_at(looks)
        self._pump()

    def _overtook(self, frame: FrameId) -> None:
        """Frames that are shown before this one and did not come will not come: they are lost."""
        taken = self._taken
        goes_on = taken is not None and taken.order[0] == frame.fragment.order
        if not goes_on:
            self._missed = 0
        missed = frame.index - ((taken.frames or 0) if taken is not None and goes_on else 0)
        if missed > 0:
            self._missed += missed
            self._lost(Gap("undecodable", self._whole, frame.fragment.number, missed, self._clock.now_us()))

    def _frames_needed(self, frame: Frame) -> int:
        step_us = frame.id.time_us - self._last.id.time_us if self._last is not None else 0
        if not 0 < step_us <= _CUT_US:
            return self._room.limit
        cover = self._options.cover
        span_s = max(_WIDEST_LOOKS / cover.calls_per_second, cover.every_us / 1_000_000) + _ANSWER_S
        most = min(_MOST_FRAMES, _MOST_BYTES // (frame.width * frame.height * 3 // 2))
        return max(FEWEST_FRAMES, min(most, round(span_s * 1_000_000 / step_us)))

    # ---- looks

    def _look_at(self, tickets: list[int]) -> None:
        for ticket in tickets:
            self._look(ticket)

    def _look(self, ticket: int) -> None:
        frame = self._frames[ticket]
        # Now, so that covering it never moves the pixels under the thread that makes the JPEG.
        frame.picture.make_writable()
        deadline = self._clock.monotonic() + self._options.deadline_s * self._patience(frame)
        future = self._fanout.submit((self._stream, id(self), ticket), partial(self._picture, frame), deadline)
        self._looks[ticket] = future
        future.add_done_callback(partial(self._answered, ticket, frame.rotation))

    def _patience(self, frame: Frame) -> int:
        """Old media is in no hurry: there, a slow detector costs time and not pictures."""
        server_us = frame.id.server_us
        behind_us = self._clock.now_us() - server_us if server_us else 0
        return _BACKLOG_PATIENCE if behind_us > _BACKLOG_US else 1

    def _picture(self, frame: Frame) -> Look:
        options = self._options
        planes = readable_planes(frame.picture)
        return encode_look(
            planes, frame.width, frame.height, options.long_side_px, options.jpeg_quality, frame.rotation
        )

    def _answered(self, ticket: int, rotation: int, future: asyncio.Future[Answer]) -> None:
        self._looks.pop(ticket, None)
        if future.cancelled():
            return
        answer = future.result()
        if isinstance(answer, Seen) and rotation:
            answer = Seen(tuple(replace(d, box=upright_to_coded(d.box, rotation)) for d in answer.detections))
        self._look_at(self._covering.answer(ticket, answer))
        self._pump()

    # ---- what stands between frames

    def _fragment_decoded(self, item: FragmentDecoded) -> None:
        self._look_at(self._covering.tail())
        fragment, taken = item.fragment, self._taken
        over = Position(fragment.number, None)
        if taken is not None and over.order <= taken.order:
            return  # read again, and done before
        if fragment.number == self._holed:
            pass  # the source has said what is wrong with it
        elif item.problem:
            self._lost(self._gap("unsupported", item, None, item.problem))
            self._once(f"{item.problem}; from fragment {fragment.number} on this is recorded as gaps", item.problem)
        elif item.lost:
            missed = self._missed if taken is not None and taken.order[0] == fragment.order else 0
            if item.lost > missed:
                self._lost(self._gap("undecodable", item, item.lost - missed))
            self._note(f"fragment {fragment.number}: {item.lost} frames could not be decoded; recorded as a gap")
        self._taken, self._whole = over, fragment.number
        self._mark(FragmentOver(fragment, item.entry.after if item.entry is not None else fragment.number))

    def _once(self, text: str, kind: str = "") -> None:
        """Tell people, unless they know."""
        if (kind or text) not in self._told:
            self._told.add(kind or text)
            self._note(text)

    def _gap(self, reason: str, item: FragmentDecoded, frames: int | None, detail: str = "") -> Gap:
        return Gap(reason, self._whole, item.fragment.number, frames, self._clock.now_us(), detail)

    def _sound(self, sound: Sound) -> None:
        known = self._audio is not None and sound.track.number == self._audio.number
        if known and (self._taken is None or sound.fragment.order >= self._taken.order[0]):
            self._mark(sound)

    def _lost(self, gap: Gap) -> None:
        if gap.reason != "undecodable":
            self._holed = gap.fragment
        self._tally.gaps.append(gap)
        self._mark(Hole(gap))

    def _quiet(self) -> None:
        quiet_s = self._clock.monotonic() - self._active_s
        if self._options.until_idle_s is not None and quiet_s >= self._options.until_idle_s:
            self._on_idle()
        if not self._flushed and quiet_s >= _QUIET_S and self._overdue():
            self._flushed = True
            self._look_at(self._covering.tail(needed=True))
            self._mark(Flush())

    def _overdue(self) -> bool:
        """Whether a segment would be full by now if media had kept coming."""
        oldest = next(iter(self._frames.values()), None)
        since_us = [self._open_since_us(), oldest.stamps.arrived_us if oldest is not None else None]
        waited_us = self._clock.now_us() - min((s for s in since_us if s is not None), default=self._clock.now_us())
        return waited_us >= (self._options.segment_s + _FLUSH_AFTER_S) * 1_000_000

    # ---- out, in order

    def _mark(self, work: Work) -> None:
        """Hand this to the encoder once all frames before it are handed over."""
        self._markers.append((self._ticket, work))
        self._emit_markers()

    def _pump(self) -> None:
        """Hand decided frames, and what stands between them, to the encoder."""
        now_us = self._clock.now_us()
        for ticket, cover in self._covering.decided():
            self._emit_markers()
            frame = self._frames.pop(ticket)
            frame.stamps.decided_us = now_us
            self._given = ticket
            self._put(Decided(frame, cover))
        self._emit_markers()

    def _emit_markers(self) -> None:
        while self._markers and self._markers[0][0] <= self._given:
            self._put(self._markers.popleft()[1])


def _apart(last: Frame, frame: Frame) -> bool:
    """Whether nothing can be carried from one frame to the next."""
    step_us = frame.id.time_us - last.id.time_us
    size = (frame.width, frame.height, frame.rotation) != (last.width, last.height, last.rotation)
    return size or not 0 <= step_us <= _CUT_US
