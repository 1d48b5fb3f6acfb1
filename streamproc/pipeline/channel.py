"""The two channels between the reading thread and the event loop: what was decoded, and the room for more."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Room:
    """Bounds the frames in flight: the reading thread waits here, so the socket is not read and the service keeps data.

    Args:
        limit: Frames that may be in flight.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def taken(self) -> int:
        return self._taken

    def take(self) -> bool:
        """Wait for room for one frame, and take it; False once closed."""
        with self._changed:
            while self._taken >= self.limit and not self._closed:
                self._changed.wait()
            self._taken += 1
            return not self._closed

    def give_back(self, count: int = 1) -> None:
        with self._changed:
            self._taken -= count
            self._changed.notify()

    def widen(self, limit: int) -> None:
        """Change the limit."""
        if limit != self.limit:
            with self._changed:
                self.limit = limit
                self._changed.notify_all()

    def close(self) -> None:
        """Let the waiting thread go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Channel(Generic[Item]):
    """Items from one thread to one coroutine, in order.

    Frames are bounded by :class:`Room`; ``limit`` bounds everything else, and the thread waits when it is reached.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int = 1024) -> None:
        self._loop = loop
        self._limit = limit
        self._changed = threading.Condition()
        self._items: deque[Item] = deque()
        self._ready = asyncio.Event()
        self._ended = False

    def put(self, item: Item) -> None:
        """From the thread."""
        if len(self._items) >= self._limit:
            with self._changed:
                while len(self._items) >= self._limit and not self._ended:
                    self._changed.wait()
        self._items.append(item)
        self._wake()

    def end(self) -> None:
        """Nothing more will come; a waiting thread is let go."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._wake()

    async def items(self) -> AsyncIterator[Item]:
        """All items until the end."""
        while True:
            while self._items:
                full = len(self._items) >= self._limit
                item = self._items.popleft()
                if full:
                    with self._changed:
                        self._changed.notify_all()
                yield item
            if self._ended and not self._items:
                return
            self._ready.clear()
            if not self._items and not self._ended:
                await self._ready.wait()

    def _wake(self) -> None:
        # Setting it again while it is set costs a wake-up of the loop for each item.
        if not self._ready.is_set():
            try:
                self._loop.call_soon_threadsafe(self._ready.set)
            except RuntimeError:  # the loop is closed: nobody listens any more
                self._items.clear()
