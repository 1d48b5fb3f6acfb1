"""asyncio-pool behind an adapter that keeps cancellation and time-outs alive.

asyncio-pool 0.6.0 has traps, each reproduced: ``spawn`` swallows a cancellation while it waits for room (so
``asyncio.timeout`` never fires around it); ``cancel`` before a task's first step loses the slot for ever; an exception
of a callback does the same; a worker's own exception is only logged. So here room is waited for on a semaphore of our
own, ``AioPool.spawn`` is only called when it cannot block, its ``cancel``, ``join`` and callbacks are not used, and
what the work returned or raised comes back as a value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from asyncio_pool import AioPool

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Returned(Generic[T]):
    """The work ended by itself."""

    value: T


@dataclass(frozen=True, slots=True)
class Raised:
    """The work ended with an exception (``asyncio.CancelledError`` when its task was cancelled)."""

    error: BaseException


class BoundedPool:
    """Runs at most ``size`` pieces of work at once. Belongs to the event loop it is made in."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError("a pool needs room for at least one")
        self._pool = AioPool(size=size)
        self._room = asyncio.Semaphore(size)
        self._running: set[asyncio.Future[Any]] = set()

    @property
    def running(self) -> int:
        """Pieces of work that hold a slot."""
        return len(self._running)

    async def spawn(self, work: Callable[[], Awaitable[T]]) -> asyncio.Future[Returned[T] | Raised]:
        """Wait for room, start the work, and return a future of how it ends.

        Cancelling the caller while it waits gives up its place; cancelling the future does not stop the work, nor
        free its slot.
        """

        async def run() -> Returned[T] | Raised:
            try:
                return Returned(await work())
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - handed back as a value
                return Raised(error)
            finally:
                # AioPool frees its own slot in the same step of the loop, before anybody who waits here wakes up.
                self._room.release()

        await self._room.acquire()
        try:
            future: asyncio.Future[Returned[T] | Raised] = await self._pool.spawn(run())
        except BaseException:
            self._room.release()
            raise
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing runs any more; False if something still does after ``timeout_s``."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=timeout_s)
        return not self._running
