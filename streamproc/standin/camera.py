"""A stream, the camera that fills it, and the timetable that both follow.

Nothing runs between two fragments: when a block reaches the service follows from its fragment's start, so a reader
sleeps until the next one is due.
"""

from __future__ import annotations

import hashlib
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from streamproc.standin.matroska import Layout
from streamproc.standin.media import MediaFragment

SESSION_STEP = 1000
"""How far ``fragment number >> 92`` jumps from one PutMedia session to the next (991 and 1001 were seen)."""


def now_us() -> int:
    """The service's clock: µs since the epoch."""
    return time.time_ns() // 1000


class Delivery(Enum):
    """When a live block becomes readable."""

    FORWARD = "forward"  # as it arrives
    WHOLE = "whole"  # when its fragment has ended


@dataclass(slots=True, eq=False)
class StoredFragment:
    """One fragment under its number and times.

    Attributes:
        index: Its place in the stream's life, without gaps.
        timecode_ms: Since the PutMedia session's start.
        speed: How many times faster than captured it came in.
        cut_us: When the camera broke off inside it (service clock), None for a fragment that came whole.
    """

    index: int
    number: int
    server_us: int
    producer_us: int
    timecode_ms: int
    media: MediaFragment
    speed: float
    whole: bool
    cut_us: int | None = None

    @property
    def end_us(self) -> int:
        """When its last byte has reached the service."""
        end = self.server_us + round(self.media.duration_us / self.speed)
        return end if self.cut_us is None else min(end, self.cut_us)

    def due_us(self, block: int) -> int:
        """When this block can be read."""
        return self.end_us if self.whole else self.arrival_us(block)

    def arrival_us(self, block: int) -> int:
        """When this block reached the service."""
        return self.server_us + round(self.media.dues_us[block] / self.speed)

    @property
    def count(self) -> int:
        """How many of the blocks came, or will come."""
        if self.cut_us is None:
            return len(self.media.blocks)
        return bisect_right(self.media.dues_us, (self.cut_us - self.server_us) * self.speed)


@dataclass(eq=False)
class Stream:
    """A video stream: its fragments, oldest first, and its settings.

    Attributes:
        changed: Notified when there is something new to look at; guards everything else.
        retention_s: Fragments older than this are gone; None keeps all.
    """

    name: str
    retention_s: float | None = None
    layout: Layout = field(default_factory=Layout)
    created_us: int = field(default_factory=now_us)
    media_type: str = "video/h264"
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)
    _fragments: deque[StoredFragment] = field(default_factory=deque, repr=False)
    _next_index: int = 0
    _last_high: int = 0

    def arn(self, region: str = "us-east-1") -> str:
        return f"arn:aws:kinesisvideo:{region}:123456789012:stream/{self.name}/{self.created_us // 1000}"

    def fragments(self) -> list[StoredFragment]:
        """What is retained now, oldest first, the fragment being received included."""
        with self.changed:
            self._forget()
            return list(self._fragments)

    def after(self, index: int) -> StoredFragment | None:
        """The first retained fragment whose index is greater; None if it is still to come."""
        with self.changed:
            self._forget()
            if not self._fragments or self._fragments[-1].index <= index:
                return None
            return self._fragments[max(0, index + 1 - self._fragments[0].index)]

    def begin_session(self) -> None:
        """A new PutMedia session: numbers jump. They rise over the restarts of this program as well."""
        with self.changed:
            self._last_high = max(self._last_high + SESSION_STEP, 2**64 + now_us() // 100_000) - 1

    def put(
        self, media: MediaFragment, server_us: int, producer_us: int, timecode_ms: int, speed: float, whole: bool
    ) -> StoredFragment:
        """Take in a fragment that begins at ``server_us``."""
        with self.changed:
            self._last_high += 1
            low = int.from_bytes(hashlib.sha256(f"{self.name}/{self._last_high}".encode()).digest()[:11], "big")
            stored = StoredFragment(
                self._next_index, self._last_high << 92 | low, server_us, producer_us, timecode_ms, media, speed, whole
            )
            self._next_index += 1
            self._fragments.append(stored)
            self._forget()
            self.changed.notify_all()
            return stored

    def _forget(self) -> None:
        if self.retention_s is None:
            return
        horizon = now_us() - round(self.retention_s * 1e6)
        while self._fragments and self._fragments[0].end_us < horizon:
            self._fragments.popleft()


class Camera:
    """Puts fragments into a stream on a clock.

    Args:
        stream: Where they go.
        source: What it sees, in order.
        loop: Start over at the end.
        speed: Times real time.
        delivery: How its live fragments are handed to readers.
        archive: Put everything at once, as if it had been recorded until now; nothing follows.
        history_s: It began this many seconds ago, so that a reader has something to catch up with.
        latency_s: From capture to the service.
    """

    def __init__(
        self,
        stream: Stream,
        source: Sequence[MediaFragment],
        *,
        loop: bool = False,
        speed: float = 1.0,
        delivery: Delivery = Delivery.FORWARD,
        archive: bool = False,
        history_s: float = 0.0,
        latency_s: float = 0.0,
    ) -> None:
        if not source:
            raise ValueError("a camera needs at least one fragment")
        self.stream = stream
        self._source = tuple(source)
        self._loop = loop and not archive
        self._speed = speed
        self._whole = delivery is Delivery.WHOLE
        self._archive = archive
        self._history_us = round(history_s * 1e6)
        self._latency_us = round(latency_s * 1e6)
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._current: StoredFragment | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin a PutMedia session with the source's first fragment. Does nothing while one runs."""
        if self.running:
            return
        self._stopping.clear()
        self.stream.begin_session()
        if self._archive:
            total = sum(m.duration_us for m in self._source)
            self._play(_whole_ms(now_us() - total), wait=False)
            return
        start = _whole_ms(now_us() - self._history_us)
        self._history_us = 0
        self._thread = threading.Thread(
            target=self._play, args=(start,), name=f"camera {self.stream.name}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Break off now: the fragment under way ends with the blocks that have come."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self.stream.changed:
            current = self._current
            if current is not None and current.end_us > now_us():
                current.cut_us = now_us()
            self.stream.changed.notify_all()

    def restart(self) -> None:
        """End the PutMedia session and begin another, with the source's first fragment."""
        self.stop()
        self.start()

    def wait(self) -> None:
        """Until everything is sent; for ever with ``loop``."""
        if self._thread is not None:
            self._thread.join()

    def _play(self, start_us: int, wait: bool = True) -> None:
        for offset_us, media in self._timetable():
            due = start_us + round(offset_us / self._speed) + self._latency_us
            while wait and (left := due - now_us()) > 0:
                if self._stopping.wait(left / 1e6):
                    return
            if self._stopping.is_set():
                return
            producer = start_us + offset_us
            self._current = self.stream.put(media, due, producer, offset_us // 1000, self._speed, self._whole)
        if wait and self._current is not None:
            self._stopping.wait(max(0, self._current.end_us - now_us()) / 1e6)

    def _timetable(self) -> Iterator[tuple[int, MediaFragment]]:
        offset = 0
        while True:
            for media in self._source:
                yield offset, media
                offset += media.duration_us
            if not self._loop:
                return


def _whole_ms(us: int) -> int:
    """Producer timestamps have three decimals; a start between two milliseconds would shift every frame."""
    return us // 1000 * 1000
