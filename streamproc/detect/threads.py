"""Threads for calls that block and may never return.

``ThreadPoolExecutor`` joins its threads when the interpreter exits, so one hung call would keep the process alive for
ever. These are daemon threads: nobody waits for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class DaemonThreads:
    """At most ``size`` threads, started when first needed."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._closed = False

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Start ``call`` on a thread as soon as one is free; a future of this loop with what it returns or raises.

        Cancelling the future does not stop the call.

        Raises:
            RuntimeError: :meth:`close` was called.
        """
        if self._closed:
            raise RuntimeError("these threads are closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            error: BaseException | None = None
            try:
                value = call()
            except BaseException as raised:  # noqa: BLE001 - belongs to the one who awaits the future
                error = raised

            def hand_over() -> None:
                if future.cancelled():
                    return
                if error is None:
                    future.set_result(value)
                else:
                    # A StopIteration cannot be set on a future, an exit must not end the loop.
                    plain = isinstance(error, Exception) and not isinstance(error, StopIteration)
                    future.set_exception(error if plain else RuntimeError(type(error).__name__))

            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(hand_over)

        if not self._idle.acquire(blocking=False) and len(self._threads) < self._size:
            thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put(job)
        return future

    def close(self) -> None:
        """Let idle threads end, and busy ones when their call returns. Does not wait."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # holds a picture
            self._idle.release()
