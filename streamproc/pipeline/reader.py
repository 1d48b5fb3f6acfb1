"""The reading thread: from the source through the decoder to the event loop."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from streamproc.decode.pyav import Decoded, Decoder
from streamproc.model.frame import Frame
from streamproc.model.media import Block, FragmentEnd, FragmentStart, MediaEvent
from streamproc.model.segment import Gap
from streamproc.pipeline.channel import Channel, Room
from streamproc.pipeline.work import Ended, Quiet, Read
from streamproc.ports import Clock, MediaSource


class Reader:
    """Reads and decodes as fast as there is room for frames."""

    def __init__(self, source: MediaSource, decoder: Decoder, room: Room, clock: Clock) -> None:
        self._source = source
        self._decoder = decoder
        self._room = room
        self._clock = clock
        self._gaps: deque[Gap] = deque()

    def start(self, channel: Channel[Read], name: str) -> None:
        """Begin, in a thread that does not hold up the end of the process."""
        threading.Thread(target=self._read, args=(channel,), name=name, daemon=True).start()

    def gap(self, gap: Gap) -> None:
        """Something was lost before the next event. From the source, in this thread."""
        self._gaps.append(gap)

    def stop(self) -> None:
        """End soon. The source is told in a thread, because it may be slow to let go of its connection."""
        threading.Thread(target=self._source.stop, daemon=True).start()

    def _read(self, channel: Channel[Read]) -> None:
        ended = Ended()
        try:
            for event in self._source.events():
                self._send_gaps(channel)
                if event is None:
                    channel.put(Quiet())
                    continue
                for item in self._decoded(event):
                    self._send(channel, item)
                if isinstance(event, FragmentStart | FragmentEnd):
                    channel.put(event)
            for item in self._decoder.drain_finished():
                self._send(channel, item)
        except Exception as error:  # noqa: BLE001 - handed to the event loop, which raises it
            ended = Ended(error)
        finally:
            self._send_gaps(channel)
            channel.put(ended)
            channel.end()

    def _decoded(self, event: MediaEvent) -> Iterator[Decoded]:
        if isinstance(event, Block):
            return self._decoder.block(event, self._clock.now_us())
        if isinstance(event, FragmentStart):
            return self._decoder.start(event)
        if isinstance(event, FragmentEnd):
            return self._decoder.end(event)
        return iter(())

    def _send(self, channel: Channel[Read], item: Decoded) -> None:
        if not isinstance(item, Frame) or self._room.take():
            channel.put(item)

    def _send_gaps(self, channel: Channel[Read]) -> None:
        while self._gaps:
            channel.put(self._gaps.popleft())
