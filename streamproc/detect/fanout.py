"""Many looks at once, each with a deadline: submit a picture, get a future of its answer. No look is ever lost.

A look takes a slot of the pool and keeps it until its thread has really returned, even when the answer is given up at
the deadline, so hung calls cannot pile up beyond ``concurrency``. What becomes of a look:

- no room before its deadline, or the picture not ready by then: ``SHED``, and the detector is not called;
- the detector does not answer by the deadline: ``LATE`` at the deadline, whatever it says later;
- an exception, or an answer that is none: ``FAILED``, ``NONSENSE``;
- a ``FAILED`` call is made once more if half of the look's time is left: it may have been the connection. Throttled
  and late calls are not, since that makes both worse.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum

from streamproc.detect.jpeg import Look
from streamproc.detect.pool import BoundedPool
from streamproc.detect.threads import DaemonThreads
from streamproc.model.detection import Answer, Failed, Failure, Seen
from streamproc.ports import Clock, Detector

_LATENCIES_KEPT = 2048


@dataclass(frozen=True, slots=True)
class CallCounts:
    """Detector calls so far, by outcome.

    ``ok + failed + throttled + shed`` is the number of finished looks plus ``retried``: every look ends in one of them.

    Attributes:
        failed: Everything that gave no answer and was not throttled or shed; ``late`` are some of these.
        shed: Looks for which no call was made.
        retried: Calls made for a second time.
        in_flight, max_in_flight: Calls that have not returned, late ones included.
        p50_ms, p95_ms, p99_ms, max_ms: Latency of the last 2048 calls that returned; 0 before the first.
    """

    ok: int = 0
    failed: int = 0
    throttled: int = 0
    shed: int = 0
    late: int = 0
    retried: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0


class FanOut:
    """Sends looks to one detector, ``concurrency`` at a time. Belongs to the event loop it is made in.

    Args:
        detector: Called from several threads at once.
        concurrency: Slots, and threads, at most.
        clock: Its ``monotonic`` is the clock of the deadlines.
    """

    def __init__(self, detector: Detector, concurrency: int, clock: Clock) -> None:
        self._detector = detector
        self._clock = clock
        self._pool = BoundedPool(concurrency)
        self._threads = DaemonThreads(concurrency, f"look-{detector.api}")
        self._tally = _Tally()
        self._looks: dict[Hashable, asyncio.Future[Answer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def submit(self, key: Hashable, make_look: Callable[[], Look], deadline: float) -> asyncio.Future[Answer]:
        """Begin a look and return at once.

        Args:
            key: Names the look; submitting it again while it is under way gives the same future.
            make_look: Makes the picture; runs on one of the threads.
            deadline: On the clock's ``monotonic``; the answer is there by then.

        Returns:
            The answer. It never has an exception. Cancelling it gives the look up.
        """
        under_way = self._looks.get(key)
        if under_way is not None:
            return under_way
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        look = _Call(self._detector, self._clock, self._tally, make_look, deadline)
        if self._closed:
            future.set_result(look.give_up())
            return future
        self._looks[key] = future
        task = asyncio.create_task(self._follow(look, future))
        self._tasks.add(task)

        def forget(_: object) -> None:
            if self._looks.get(key) is future:
                del self._looks[key]
            task.cancel()  # the caller cancelled; otherwise it has ended and this does nothing

        future.add_done_callback(forget)

        def ended(_: object) -> None:
            self._tasks.discard(task)
            answer = look.give_up()
            if not future.done():
                future.set_result(answer)

        task.add_done_callback(ended)
        return future

    async def drain(self, timeout_s: float) -> bool:
        """Wait until every look has its answer and every thread is back; False if that takes longer."""
        until = self._clock.monotonic() + timeout_s
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)
        idle = await self._pool.drain(max(0.0, until - self._clock.monotonic()))
        return idle and not self._tasks

    def close(self) -> None:
        """Give up all looks and take no more. Does not wait for calls that hang; neither does the interpreter."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self._threads.close()

    def counts(self) -> dict[str, CallCounts]:
        """Counts by API name."""
        return {self._detector.api: self._tally.snapshot()}

    async def _follow(self, look: _Call, future: asyncio.Future[Answer]) -> None:
        """Bring one look to its answer; ``submit`` gives it up if this ends early in any way."""
        if look.left_s() <= 0:
            return
        try:
            async with asyncio.timeout(look.left_s()):
                ended = await self._pool.spawn(lambda: self._threads.run(look.run))
        except TimeoutError:
            return
        await asyncio.wait({ended}, timeout=max(0.0, look.left_s()))
        answer = look.give_up()
        if not future.done():
            future.set_result(answer)


class _Stage(Enum):
    PREPARING = 1  # waits for room, or its picture is being made
    CALLING = 2
    ANSWERED = 3


class _Call:
    """One look: its thread's side (``run``) and the loop's (``give_up``). Whichever decides first gives the answer."""

    def __init__(
        self, detector: Detector, clock: Clock, tally: _Tally, make_look: Callable[[], Look], deadline: float
    ) -> None:
        self._detector = detector
        self._clock = clock
        self._tally = tally
        self._make_look: Callable[[], Look] | None = make_look
        self._deadline = deadline
        self._time_s = deadline - clock.monotonic()
        self._lock = threading.Lock()
        self._stage = _Stage.PREPARING
        self._answer: Answer | None = None

    def left_s(self) -> float:
        """Seconds to the deadline; negative once it has passed."""
        return self._deadline - self._clock.monotonic()

    def run(self) -> None:
        """Make the picture and call the detector. On a thread; never raises."""
        make_look = self._make_look
        if make_look is None:
            return
        try:
            look = make_look()
        except Exception:  # noqa: BLE001 - whatever went wrong, the frame has not been looked at
            self._decide(Failed(Failure.FAILED))
            return
        finally:
            del make_look
            self._make_look = None  # it holds the decoded picture
        if self._begin():
            answer = self._call(look.jpeg)
            if answer == Failed(Failure.FAILED) and self.left_s() >= self._time_s / 2 and self._again(answer):
                answer = self._call(look.jpeg)
            self._decide(answer)

    def give_up(self) -> Answer:
        """The answer; if there is none yet, none will be taken any more."""
        with self._lock:
            if self._answer is None:
                late = self._stage is _Stage.CALLING
                self._settle(Failed(Failure.LATE if late else Failure.SHED))
            self._make_look = None
            assert self._answer is not None
            return self._answer

    def _call(self, jpeg: bytes) -> Answer:
        began = self._clock.monotonic()
        self._tally.begin()
        answer: object = Failed(Failure.FAILED)
        try:
            answer = self._detector.look(jpeg, self.left_s())
        except Exception:  # noqa: BLE001, S110 - a detector must not raise; if it does, it has not looked
            pass
        finally:
            self._tally.end(self._clock.monotonic() - began)
        return answer if isinstance(answer, Seen | Failed) else Failed(Failure.NONSENSE)

    def _begin(self) -> bool:
        with self._lock:
            if self._answer is not None or self.left_s() <= 0:
                return False
            self._stage = _Stage.CALLING
            return True

    def _again(self, answer: Answer) -> bool:
        with self._lock:
            if self._answer is not None:
                return False
            self._tally.count(answer, retried=True)
            return True

    def _decide(self, answer: Answer) -> None:
        with self._lock:
            if self._answer is None:
                self._settle(answer)

    def _settle(self, answer: Answer) -> None:
        self._answer = answer
        self._stage = _Stage.ANSWERED
        self._tally.count(answer)


class _Tally:
    """The counts; written from the threads and from the loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes = dict.fromkeys(("ok", "failed", "throttled", "shed", "late", "retried"), 0)
        self._in_flight = 0
        self._max_in_flight = 0
        self._latencies_s: deque[float] = deque(maxlen=_LATENCIES_KEPT)

    def begin(self) -> None:
        with self._lock:
            self._in_flight += 1
            self._max_in_flight = max(self._max_in_flight, self._in_flight)

    def end(self, latency_s: float) -> None:
        with self._lock:
            self._in_flight -= 1
            self._latencies_s.append(latency_s)

    def count(self, answer: Answer, retried: bool = False) -> None:
        with self._lock:
            match answer:
                case Seen():
                    outcome = "ok"
                case Failed(Failure.THROTTLED):
                    outcome = "throttled"
                case Failed(Failure.SHED):
                    outcome = "shed"
                case _:
                    outcome = "failed"
            self._outcomes[outcome] += 1
            self._outcomes["late"] += answer == Failed(Failure.LATE)
            self._outcomes["retried"] += retried

    def snapshot(self) -> CallCounts:
        with self._lock:
            ordered = sorted(self._latencies_s)
            return CallCounts(
                **self._outcomes,
                in_flight=self._in_flight,
                max_in_flight=self._max_in_flight,
                p50_ms=quantile_ms(ordered, 0.5),
                p95_ms=quantile_ms(ordered, 0.95),
                p99_ms=quantile_ms(ordered, 0.99),
                max_ms=quantile_ms(ordered, 1.0),
            )


def quantile_ms(ordered_s: list[float], share: float) -> float:
    """The least of the values (seconds, ascending) that ``share`` of them do not exceed, in ms; 0 if there is none."""
    if not ordered_s:
        return 0.0
    rank = math.ceil(len(ordered_s) * share - 1e-9)
    return round(ordered_s[max(1, rank) - 1] * 1000, 3)
