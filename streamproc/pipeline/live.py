"""One live stream: read, decode, look, cover, encode and publish, joined by bounded channels.

A thread reads and decodes; the event loop decides; a thread covers and encodes; a thread publishes::

    source ─thread→ frames ─loop→ looks, decisions ─thread→ segments ─thread→ objects, checkpoint

Bounded by :class:`Room` (frames between decoder and encoder) and a queue of two segments. When the last is full, the
socket is not read, and the service keeps the data.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from streamproc.decode.pyav import Decoded, Decoder, FragmentDecoded
from streamproc.detect.fanout import FanOut
from streamproc.detect.jpeg import Look, encode_look, upright_to_coded
from streamproc.detect.sampling import Sampler
from streamproc.encode.pyav import EncodeOptions
from streamproc.encode.rolling import RollingSegments
from streamproc.errors import StreamprocError, UnavailableError
from streamproc.model.detection import Answer, Seen
from streamproc.model.frame import Cover, Frame
from streamproc.model.media import Block, Damage, Fragment, FragmentEnd, FragmentStart, ServiceError, Sound, Track
from streamproc.model.segment import Gap, Position, Segment
from streamproc.pipeline.channel import Channel, Room
from streamproc.pipeline.tally import Tally
from streamproc.ports import CheckpointStore, Clock, MediaSource
from streamproc.publish.publisher import Published, Publisher
from streamproc.redact.effects import Effect
from streamproc.redact.redaction import Redaction, readable_planes
from streamproc.track.coverage import Coverage

# Frames between decoder and encoder: as many as come between two looks and while an answer is on its way. At 30 fps and
# five looks a second that is 20, of 1.4 MB each at 720p.
_WIDEST_LOOKS = 1.3
_ANSWER_S = 0.4
_FEWEST_FRAMES, _MOST_FRAMES = 16, 240
# Nothing is carried over a longer step of the producer's clock.
_CUT_US = 1_000_000
# Media that the service has held for longer than this is a backlog, where answers may take so many times longer.
_BACKLOG_US = 15_000_000
_BACKLOG_PATIENCE = 10
# A stop must not wait for a service that does not answer.
_STOP_READING_S = 2.0
_BATCH = 8

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What one stream's pipeline is told. Durations in the unit of the name."""

    segment_s: float
    lookahead_us: int
    calls_per_second: float
    deadline_s: float
    long_side_px: int
    jpeg_quality: int
    margin: float
    extend_us: int
    effect: Effect
    encode: EncodeOptions
    keep_audio: bool
    max_pixels: int
    until_idle_s: float | None = None
    drain_s: float = 25.0


# What the encoding thread is handed, in order.
@dataclass(frozen=True, slots=True)
class _Decided:
    frame: Frame
    cover: Cover


@dataclass(frozen=True, slots=True)
class _FragmentOver:
    fragment: Fragment


@dataclass(frozen=True, slots=True)
class _Audio:
    track: Track | None


@dataclass(frozen=True, slots=True)
class _Hole:
    gap: Gap


@dataclass(frozen=True, slots=True)
class _Flush:
    pass


_Done = Segment | Position | Gap

_Work = _Decided | _FragmentOver | _Audio | _Hole | _Flush | Sound


# What the reading thread sends besides frames.
@dataclass(frozen=True, slots=True)
class _Quiet:
    pass


@dataclass(frozen=True, slots=True)
class _Ended:
    error: Exception | None


_Read = Decoded | FragmentStart | FragmentEnd | Gap | _Quiet | _Ended


class LivePipeline:
    """Runs one stream until its source ends or :meth:`stop` is called; then drains.

    Args:
        source: Where the media comes from. Its gaps are to be handed to :meth:`gap`.
        fanout: Shared by the streams of a process.
        tally: Counts; goes on from one pipeline to the next of the same run.
        note: Told in one line what people should know; called when something changes, not at each retry.
    """

    def __init__(
        self,
        stream: str,
        source: MediaSource,
        fanout: FanOut,
        publisher: Publisher,
        progress: CheckpointStore,
        clock: Clock,
        options: LiveOptions,
        tally: Tally,
        note: Callable[[str], None],
    ) -> None:
        self._stream = stream
        self._source = source
        self._fanout = fanout
        self._publisher = publisher
        self._progress = progress
        self._clock = clock
        self._options = options
        self.tally = tally
        self._note = note
        self._decoder = Decoder(clock, options.max_pixels, options.keep_audio)
        self._sampler = Sampler(options.calls_per_second)
        self._coverage = Coverage(options.margin, options.extend_us)
        self._redaction = Redaction(options.effect)
        self._rolling = RollingSegments(options.segment_s, options.encode, clock, publisher.checkpoint)
        self._room = Room(_FEWEST_FRAMES)
        self._taken = publisher.checkpoint.position
        self._frames: dict[int, Frame] = {}
        self._looks: dict[int, asyncio.Future[Answer]] = {}
        self._markers: deque[tuple[int, _Work]] = deque()
        self._ticket = 0
        self._given = 0
        self._last: Frame | None = None
        self._audio: Track | None = None
        self._active_s = clock.monotonic()
        self._flushed = True
        self._problems: set[str] = set()
        self._stopping_s: float | None = None
        self._stopped = asyncio.Event()
        self._gaps: deque[Gap] = deque()
        self._entered = ""
        self._left = ""
        self._holes: list[Gap] = []

    def stop(self) -> None:
        """Finish what was read, publish it, and end. From the event loop."""
        if self._stopping_s is None:
            self._stopping_s = self._clock.monotonic()
            self._stopped.set()
            # In a thread, because a source may be slow to let go of its connection.
            threading.Thread(target=self._source.stop, daemon=True).start()

    def gap(self, gap: Gap) -> None:
        """Something was lost before the next event. From the source's thread."""
        self._gaps.append(gap)

    async def run(self) -> None:
        """Until everything that was read is published and committed.

        Raises:
            SegmentTaken: Another writer was first; begin anew from the publisher's checkpoint.
            UnavailableError: The source can't be had, or the store did not take the last segments in time.
        """
        channel: Channel[_Read] = Channel(asyncio.get_running_loop())
        self._work: asyncio.Queue[_Work | None] = asyncio.Queue()
        self._segments: asyncio.Queue[_Done | None] = asyncio.Queue(maxsize=2)
        reader = threading.Thread(target=self._read, args=(channel,), name=f"read-{self._stream}", daemon=True)
        reader.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._publish())
                tasks.create_task(self._encode())
                watch = tasks.create_task(self._end_reading(channel))
                await self._decide(channel)
                watch.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            self._room.close()
            self._source.stop()

    # ---- the reading thread

    def _read(self, channel: Channel[_Read]) -> None:
        error: Exception | None = None
        try:
            for event in self._source.events():
                while self._gaps:
                    channel.put(self._gaps.popleft())
                if event is None:
                    channel.put(_Quiet())
                    continue
                for item in self._decoded(event):
                    if isinstance(item, Frame) and not self._room.take():
                        return
                    channel.put(item)
                if isinstance(event, FragmentStart | FragmentEnd):
                    channel.put(event)
            for item in self._decoder.drain_finished():
                if not isinstance(item, Frame) or self._room.take():
                    channel.put(item)
        except Exception as caught:  # noqa: BLE001 - handed to the event loop, which raises it
            error = caught
        finally:
            while self._gaps:
                channel.put(self._gaps.popleft())
            channel.put(_Ended(error))
            channel.end()

    def _decoded(self, event: FragmentStart | Block | FragmentEnd | Damage | ServiceError) -> Iterator[Decoded]:
        if isinstance(event, Block):
            return self._decoder.block(event, self._clock.now_us())
        if isinstance(event, FragmentStart):
            return self._decoder.start(event)
        if isinstance(event, FragmentEnd):
            return self._decoder.end(event)
        return iter(())

    async def _end_reading(self, channel: Channel[_Read]) -> None:
        """A source that is deep in a call cannot hold up the end."""
        await self._stopped.wait()
        await asyncio.sleep(_STOP_READING_S)
        channel.end()

    # ---- the event loop: decisions

    async def _decide(self, channel: Channel[_Read]) -> None:
        async for item in channel.items():
            self._take(item)
        self._look_at_tail(needed=True)
        while self._looks:
            await asyncio.wait(set(self._looks.values()))
            await asyncio.sleep(0)  # lets their callbacks run
        self._coverage.close()
        self._pump()
        self._work.put_nowait(_Flush())
        self._work.put_nowait(None)

    def _take(self, item: _Read) -> None:
        if isinstance(item, Frame):
            self._active()
            self._take_frame(item)
        elif isinstance(item, _Quiet):
            self._quiet()
        elif isinstance(item, FragmentDecoded):
            self._active()
            self._fragment_decoded(item)
        elif isinstance(item, Sound):
            self._take_sound(item)
        elif isinstance(item, FragmentStart):
            self._active()
            if item.fragment.number != self._entered:
                self._entered = item.fragment.number
                self.tally.fragments_in += 1
        elif isinstance(item, FragmentEnd):
            self._fragment_end(item)
        elif isinstance(item, Gap):
            self._take_gap(item)
        elif item.error is not None:
            raise item.error

    def _active(self) -> None:
        self._active_s = self._clock.monotonic()

    def _take_frame(self, frame: Frame) -> None:
        if self._taken is not None and self._taken.covers(frame.id):
            self.tally.frames_skipped += 1
            self._room.give_back()
            return
        fragment = frame.id.fragment
        before = self._taken.after if self._taken else ""
        self._taken = Position(fragment.number, frame.id.index + 1, fragment.server_us, before)
        self.tally.frames_in += 1
        if self._last is not None and _apart(self._last, frame):
            self._look_at_tail()
            self._coverage.cut()
        self._room.widen(self._frames_needed(frame))
        self._last = frame
        self._ticket += 1
        self._flushed = False
        time_us = frame.id.time_us
        self._frames[self._ticket] = frame
        self._coverage.frame(self._ticket, time_us, frame.damaged)
        if self._sampler.wants(time_us):
            self._look(self._ticket)
        elif not self._looks and self._coverage.waiting >= self._room.limit:
            # No frame can come in before one goes out, and no look is under way that would let one go.
            self._sampler.forced(time_us)
            self._look(self._ticket)
        self._coverage.expire(time_us - self._options.lookahead_us)
        self._pump()

    def _frames_needed(self, frame: Frame) -> int:
        step_us = frame.id.time_us - self._last.id.time_us if self._last is not None else 0
        if not 0 < step_us <= _CUT_US:
            return self._room.limit
        span_s = _WIDEST_LOOKS / self._options.calls_per_second + _ANSWER_S
        return min(_MOST_FRAMES, max(_FEWEST_FRAMES, round(span_s * 1_000_000 / step_us)))

    def _look(self, ticket: int) -> None:
        frame = self._frames[ticket]
        self._coverage.look(ticket)
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
        return encode_look(
            readable_planes(frame.picture),
            frame.width,
            frame.height,
            self._options.long_side_px,
            self._options.jpeg_quality,
            frame.rotation,
        )

    def _answered(self, ticket: int, rotation: int, future: asyncio.Future[Answer]) -> None:
        self._looks.pop(ticket, None)
        if future.cancelled():
            return
        answer = future.result()
        if isinstance(answer, Seen) and rotation:
            answer = Seen(tuple(replace(d, box=upright_to_coded(d.box, rotation)) for d in answer.detections))
        self._coverage.answer(ticket, answer)
        self._pump()

    def _look_at_tail(self, needed: bool = False) -> None:
        """Look at the newest frame, so that the frames before it can be decided without the next fragment."""
        ticket = self._coverage.unlooked_tail()
        if ticket is None:
            return
        time_us = self._frames[ticket].id.time_us
        if needed:
            self._sampler.forced(time_us)
        elif not self._sampler.closing(time_us):
            return
        self._look(ticket)

    def _fragment_decoded(self, item: FragmentDecoded) -> None:
        self._look_at_tail()
        fragment, taken = item.fragment, self._taken
        if item.problem:
            self._lost(Gap("unsupported", self._before(), fragment.number, None, self._clock.now_us(), item.problem))
            if item.problem not in self._problems:
                self._problems.add(item.problem)
                self._note(f"fragment {fragment.number}: {item.problem}; recorded as a gap")
        elif item.lost and not (taken is not None and taken.frames is None and taken.fragment == fragment.number):
            self._lost(Gap("undecodable", self._before(), fragment.number, item.lost, self._clock.now_us()))
        if taken is not None and fragment.order < int(taken.fragment or -1):
            return
        if item.complete and taken is not None and taken.frames is None and taken.fragment == fragment.number:
            return  # read again, and published before
        self._taken = Position(fragment.number, None, fragment.server_us, fragment.number)
        self._mark(_FragmentOver(fragment))

    def _before(self) -> str:
        return self._taken.after if self._taken else ""

    def _fragment_end(self, item: FragmentEnd) -> None:
        if item.behind_now_ms is not None:
            self.tally.behind_now_ms = item.behind_now_ms
            self.tally.service_clock.observe(item.fragment.server_us, item.behind_now_ms, self._clock.now_us())

    def _take_sound(self, sound: Sound) -> None:
        if sound.track != self._audio:
            self._audio = sound.track
            self._mark(_Audio(sound.track))
        if self._taken is None or sound.fragment.order >= int(self._taken.fragment or -1):
            self._mark(sound)

    def _take_gap(self, gap: Gap) -> None:
        self._lost(gap)
        self._note(f"gap: {gap.reason} after fragment {gap.after or '(start)'}{': ' if gap.detail else ''}{gap.detail}")

    def _lost(self, gap: Gap) -> None:
        """Ledger first, then the player: a hole is never silent."""
        self.tally.gaps.append(gap)
        self._mark(_Hole(gap))

    def _quiet(self) -> None:
        quiet_s = self._clock.monotonic() - self._active_s
        options = self._options
        if options.until_idle_s is not None and quiet_s >= options.until_idle_s:
            self.stop()
        if not self._flushed and quiet_s >= options.segment_s + 2:
            self._flushed = True
            self._look_at_tail(needed=True)
            self._mark(_Flush())

    def _mark(self, work: _Work) -> None:
        """Hand this to the encoder once all frames before it are handed over."""
        if not self._markers and self._given == self._ticket:
            self._work.put_nowait(work)
        else:
            self._markers.append((self._ticket, work))

    def _pump(self) -> None:
        """Hand decided frames, and what stands between them, to the encoder."""
        now_us = self._clock.now_us()
        for ticket, cover in self._coverage.decided():
            self._emit_markers()
            frame = self._frames.pop(ticket)
            frame.stamps.decided_us = now_us
            self._given = ticket
            self._work.put_nowait(_Decided(frame, cover))
        self._emit_markers()

    def _emit_markers(self) -> None:
        while self._markers and self._markers[0][0] <= self._given:
            self._work.put_nowait(self._markers.popleft()[1])

    # ---- the encoding thread

    async def _encode(self) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix=f"encode-{self._stream}") as thread:
            ended = False
            while not ended:
                batch: list[_Work] = []
                work = await self._work.get()
                while work is not None:
                    batch.append(work)
                    if len(batch) == _BATCH or self._work.empty():
                        break
                    work = self._work.get_nowait()
                ended = work is None
                for segment in await loop.run_in_executor(thread, self._encode_batch, batch):
                    await self._segments.put(segment)
            await self._segments.put(None)

    def _encode_batch(self, batch: list[_Work]) -> list[_Done]:
        done: list[_Done] = []
        rolling = self._rolling
        for work in batch:
            if isinstance(work, _Decided):
                try:
                    redacted = self._redaction.redact(work.frame, work.cover)
                    if redacted is None:
                        rolling.passed(work.frame.id)
                    else:
                        done += rolling.add(redacted)
                finally:
                    self._room.give_back()
            elif isinstance(work, Sound):
                rolling.sound(work)
            elif isinstance(work, _FragmentOver):
                done += rolling.fragment_done(work.fragment)
                if rolling.open_since_us is None and rolling.position is not None and not done:
                    done.append(rolling.position)  # nothing of it could be shown, and still it is done
            elif isinstance(work, _Audio):
                rolling.carry_audio(work.track)
            elif isinstance(work, _Hole):
                rolling.mark_gap()
                self._holes.append(work.gap)
            else:
                done += [*self._holes, *rolling.flush()]
                self._holes = []
        if done and self._holes:
            done[:0], self._holes = self._holes, []
        return done

    # ---- the publishing thread

    async def _publish(self) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix=f"publish-{self._stream}") as thread:
            while (item := await self._segments.get()) is not None:
                if isinstance(item, Segment):
                    published = await self._insist(loop, thread, partial(self._publisher.publish, item))
                    self._published(item, published)
                elif isinstance(item, Gap):
                    await self._insist(loop, thread, partial(self._progress.record_gap, self._stream, item))
                else:
                    await self._insist(loop, thread, partial(self._publisher.advance, item))
            await self._insist(loop, thread, self._publisher.close)

    def _published(self, segment: Segment, published: Published) -> None:
        self.tally.published(segment, published.durable_us, published.adopted)
        for frame in segment.frames:
            if frame.id.fragment.number != self._left:
                self._left = frame.id.fragment.number
                self.tally.fragments_out += 1

    async def _insist(self, loop: asyncio.AbstractEventLoop, thread: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        """Until the store takes it; while it does not, the channels fill up and the service keeps the data."""
        pause_s, told = 0.5, ""
        while True:
            try:
                result = await loop.run_in_executor(thread, call)
            except UnavailableError as error:
                stopping_s = self._stopping_s
                if stopping_s is not None and self._clock.monotonic() - stopping_s > self._options.drain_s:
                    raise
                if str(error) != told:
                    told = str(error)
                    self._note(f"{told} (trying again)")
                await asyncio.sleep(pause_s)
                pause_s = min(10.0, pause_s * 2)
            else:
                if told:
                    self._note("the store takes segments again")
                return result


def _apart(last: Frame, frame: Frame) -> bool:
    """Whether nothing can be carried from one frame to the next."""
    step_us = frame.id.time_us - last.id.time_us
    size = (frame.width, frame.height, frame.rotation) != (last.width, last.height, last.rotation)
    return size or not 0 < step_us <= _CUT_US


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that tells most: one of ours, else the first."""
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.append(_first(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((e for e in leaves if isinstance(e, StreamprocError)), leaves[0])
