"""One live stream: read, decode, look, cover, encode and publish, joined by bounded channels.

A thread reads and decodes; the event loop decides; a thread covers and encodes; a thread publishes::

    Reader ─frames→ Decider ─decided frames→ Encoder ─segments→ Publisher

Bounded by :class:`Room` (frames between decoder and encoder) and a queue of two segments. When the last is full, the
socket is not read, and the service keeps the data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from streamproc.decode.pyav import Decoder
from streamproc.detect.fanout import FanOut
from streamproc.detect.threads import DaemonThreads
from streamproc.encode.rolling import RollingSegments
from streamproc.errors import StreamprocError, UnavailableError
from streamproc.model.segment import Gap, Segment
from streamproc.pipeline.channel import Channel, Room
from streamproc.pipeline.decider import FEWEST_FRAMES, Decider
from streamproc.pipeline.encoder import Encoder
from streamproc.pipeline.reader import Reader
from streamproc.pipeline.tally import Tally
from streamproc.pipeline.work import Done, LiveOptions, Read, Work
from streamproc.ports import CheckpointStore, Clock, MediaSource
from streamproc.publish.publisher import Publisher
from streamproc.redact.redaction import Redaction

# A stop must not wait for a service that does not answer.
_STOP_READING_S = 2.0
_BATCH = 8
_MOST_WORK = 512
_LOOK_AGAIN_S = 0.02
_TELL_AFTER_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0

T = TypeVar("T")


class LivePipeline:
    """Runs one stream until its source ends or :meth:`stop` is called; then drains.

    Args:
        source: Where the media comes from. Its gaps are to be handed to :meth:`gap`.
        fanout: Shared by the streams of a process.
        tally: Counts; goes on from one pipeline to the next of the same run.
        note: Told in one line what people should know; called when something changes, not at each retry.
        skips: Where the source was told to begin, if not behind the checkpoint.
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
        skips: str = "",
    ) -> None:
        self._stream = stream
        self._publisher = publisher
        self._progress = progress
        self._clock = clock
        self._options = options
        self._tally = tally
        self._note = note
        self._room = Room(FEWEST_FRAMES)
        self._work: asyncio.Queue[Work | None] = asyncio.Queue()
        self._done: asyncio.Queue[Done | None] = asyncio.Queue(maxsize=2)
        position = publisher.checkpoint.position
        before = position.after if position is not None and not skips else ""
        decoder = Decoder(clock, options.max_pixels, options.keep_audio, before)
        self._reader = Reader(source, decoder, self._room, clock)
        rolling = RollingSegments(options.segment_s, options.encode, clock, publisher.checkpoint)
        self._encoder = Encoder(Redaction(options.effect), rolling, self._room, clock)
        self._decider = Decider(
            stream,
            fanout,
            clock,
            options,
            self._room,
            tally,
            position,
            skips,
            lambda: rolling.open_since_us,
            self._work.put_nowait,
            self.stop,
            note,
        )
        self._stopping_s: float | None = None
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Finish what was read, publish it, and end. From the event loop."""
        if self._stopping_s is None:
            self._stopping_s = self._clock.monotonic()
            self._stopped.set()
            self._reader.stop()

    def gap(self, gap: Gap) -> None:
        """Something was lost before the source's next event. From the source's thread."""
        self._reader.gap(gap)

    async def run(self) -> None:
        """Until everything that was read is published and committed.

        Raises:
            SegmentTaken: Another writer was first; begin anew from the publisher's checkpoint.
            UnavailableError: The source can't be had, or the store did not take the last segments in time.
        """
        channel: Channel[Read] = Channel(asyncio.get_running_loop())
        self._reader.start(channel, f"read-{self._stream}")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._publish())
                tasks.create_task(self._encode())
                watch = tasks.create_task(self._end_reading(channel))
                async for item in channel.items():
                    self._decider.take(item)
                    while self._work.qsize() > _MOST_WORK:  # the store is away: let the channel fill up
                        await asyncio.sleep(_LOOK_AGAIN_S)
                await self._decider.finish()
                self._work.put_nowait(None)
                watch.cancel()
        except BaseExceptionGroup as group:
            raise _most_telling(group) from None
        finally:
            self._room.close()
            self._reader.stop()

    async def _end_reading(self, channel: Channel[Read]) -> None:
        """A source that is deep in a call cannot hold up the end."""
        await self._stopped.wait()
        await asyncio.sleep(_STOP_READING_S)
        channel.end()

    async def _encode(self) -> None:
        with _thread(f"encode-{self._stream}") as thread:
            work: Work | None = await self._work.get()
            while work is not None:
                batch = [work]
                while len(batch) < _BATCH and not self._work.empty() and (work := self._work.get_nowait()) is not None:
                    batch.append(work)
                for done in await thread.run(partial(self._encoder.encode, batch)):
                    await self._done.put(done)
                if work is not None:
                    work = await self._work.get()
            await self._done.put(None)

    async def _publish(self) -> None:
        with _thread(f"publish-{self._stream}") as thread:
            while (done := await self._done.get()) is not None:
                if isinstance(done, Segment):
                    published = await self._insist(thread, partial(self._publisher.publish, done))
                    self._tally.published(done, published.durable_us, published.adopted)
                elif isinstance(done, Gap):
                    await self._insist(thread, partial(self._progress.record_gap, self._stream, done))
                else:
                    await self._insist(thread, partial(self._publisher.advance, done))
            await self._insist(thread, self._publisher.close)

    async def _insist(self, thread: DaemonThreads, call: Callable[[], T]) -> T:
        """Until the store takes it; while it does not, the channels fill up and the service keeps the data."""
        pause_s, told = _FIRST_PAUSE_S, ""
        while True:
            try:
                answer = thread.run(call)
                done, _ = await asyncio.wait({answer}, timeout=_TELL_AFTER_S)
                if not done:
                    told = "the store does not answer"
                    self._note(f"{told}; waiting for it")
                result = await answer
            except UnavailableError as error:
                stopping_s = self._stopping_s
                if stopping_s is not None and self._clock.monotonic() - stopping_s > self._options.drain_s:
                    raise
                if str(error) != told:
                    told = str(error)
                    self._note(f"{told} (trying again)")
                await asyncio.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
            else:
                if told:
                    self._note("the store takes segments again")
                return result


@contextmanager
def _thread(name: str) -> Iterator[DaemonThreads]:
    """One thread for calls that block. Nobody waits for it at the end: it may hang in a store."""
    thread = DaemonThreads(1, name)
    try:
        yield thread
    finally:
        thread.close()


def _most_telling(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of several errors at once: one of ours, else the first."""
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.append(_most_telling(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((e for e in leaves if isinstance(e, StreamprocError)), leaves[0])
