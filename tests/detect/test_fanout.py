"""Every look ends in exactly one answer by its deadline, whatever the detector and its threads do."""

from __future__ import annotations

import asyncio
import gc
import random
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.detect.fanout import FanOut, quantile_ms
from streamproc.detect.jpeg import Look
from streamproc.detect.threads import DaemonThreads
from streamproc.model.detection import Detection, Failed, Failure, Seen
from streamproc.model.geometry import Box

FACE = Seen((Detection(Box(0.1, 0.1, 0.2, 0.2)),))
LATE, SHED, FAILED = Failed(Failure.LATE), Failed(Failure.SHED), Failed(Failure.FAILED)
LONG_S = 30.0
"""A deadline that no test reaches."""


class RealClock:
    def now_us(self):
        return 0

    def monotonic(self):
        return time.monotonic()


CLOCK = RealClock()


def soon(seconds):
    return CLOCK.monotonic() + seconds


def picture():
    return Look(b"jpeg", 2, 2)


class Stepped:
    """A detector whose calls wait, each until the test lets one go."""

    api = "DetectFaces"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.called = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.calls = self.running = self.most = 0
        self.timeouts = []

    def look(self, jpeg, timeout_s):
        with self.lock:
            self.calls += 1
            self.running += 1
            self.most = max(self.most, self.running)
            self.timeouts.append(timeout_s)
            answer = self.answers.pop(0) if self.answers else FACE
        self.called.release()
        self.go.acquire(timeout=20)
        with self.lock:
            self.running -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def wait_called(self, times=1):
        for _ in range(times):
            assert await asyncio.to_thread(self.called.acquire, timeout=10)


class Instant(Stepped):
    """Answers at once."""

    def __init__(self, *answers):
        super().__init__(*answers)
        self.go = threading.Semaphore(10**6)


@pytest.fixture
async def make():
    """Builds fan-outs, and lets every thread go at the end."""
    made = []

    def build(detector, concurrency=1):
        fan = FanOut(detector, concurrency, CLOCK)
        made.append((fan, detector))
        return fan

    yield build
    for fan, detector in made:
        detector.go.release(1000)
        assert await fan.drain(10.0)
        fan.close()


def outcomes(fan):
    (counts,) = fan.counts().values()
    return counts.ok, counts.failed, counts.throttled, counts.shed


def one(fan):
    return fan.counts()["DetectFaces"]


async def test_an_answer_comes_through(make):
    detector = Instant()
    fan = make(detector)
    assert await fan.submit("a", picture, soon(LONG_S)) == FACE
    assert outcomes(fan) == (1, 0, 0, 0)
    assert 0 < detector.timeouts[0] <= LONG_S
    assert one(fan).max_in_flight == 1


async def test_exactly_concurrency_calls_run_at_once(make):
    detector = Stepped()
    fan = make(detector, 3)
    looks = [fan.submit(i, picture, soon(LONG_S)) for i in range(10)]
    await detector.wait_called(3)
    assert (detector.running, one(fan).in_flight) == (3, 3)
    for _ in range(7):
        detector.go.release()
        await detector.wait_called()
        assert detector.running == 3
    detector.go.release(3)
    assert await asyncio.gather(*looks) == [FACE] * 10
    assert await fan.drain(5.0)
    assert (detector.most, one(fan).max_in_flight, one(fan).in_flight) == (3, 3, 0)


async def test_submit_does_not_block_and_does_not_make_the_picture_itself(make):
    detector = Stepped()
    fan = make(detector)
    where = []

    def make_look():
        where.append(threading.current_thread())
        return picture()

    look = fan.submit("a", make_look, soon(LONG_S))
    assert where == []
    await detector.wait_called()
    assert where[0] is not threading.main_thread()
    assert where[0].daemon
    detector.go.release()
    assert await look == FACE


async def test_a_call_that_does_not_answer_is_late_at_the_deadline_and_keeps_its_slot(make):
    detector = Stepped()
    fan = make(detector)
    began = time.monotonic()
    first = fan.submit("a", picture, soon(0.2))
    await detector.wait_called()
    assert await first == LATE
    assert 0.15 < time.monotonic() - began < 5
    assert detector.running == 1
    second = fan.submit("b", picture, soon(0.05))
    assert await second == SHED
    assert detector.calls == 1
    assert not await fan.drain(0.0)
    assert (outcomes(fan), one(fan).late, one(fan).in_flight) == ((0, 1, 0, 1), 1, 1)
    detector.go.release()
    assert await fan.drain(5.0)
    third = fan.submit("c", picture, soon(LONG_S))
    detector.go.release()
    assert await third == FACE
    assert (outcomes(fan), one(fan).late) == ((1, 1, 0, 1), 1)


async def test_a_look_that_waits_beyond_its_deadline_is_shed_without_a_call(make):
    detector = Stepped()
    fan = make(detector)
    first = fan.submit("a", picture, soon(LONG_S))
    await detector.wait_called()
    assert await fan.submit("b", picture, soon(0.02)) == SHED
    assert await fan.submit("c", picture, soon(-1)) == SHED
    detector.go.release()
    assert await first == FACE
    made = []
    assert await fan.submit("d", lambda: made.append(1) or picture(), soon(-1)) == SHED
    assert await fan.drain(5.0)
    assert made == []
    assert detector.calls == 1
    assert outcomes(fan) == (1, 0, 0, 3)


async def test_a_picture_that_is_not_ready_by_the_deadline_is_shed_and_never_sent(make):
    detector = Instant()
    fan = make(detector)
    ready = threading.Event()

    def slow():
        ready.wait(20)
        return picture()

    assert await fan.submit("a", slow, soon(0.02)) == SHED
    ready.set()
    assert await fan.drain(5.0)
    assert detector.calls == 0
    assert outcomes(fan) == (0, 0, 0, 1)


async def test_what_make_look_raises_is_a_failure(make):
    detector = Instant()
    fan = make(detector)

    def broken():
        raise ValueError("no picture")

    assert await fan.submit("a", broken, soon(LONG_S)) == FAILED
    assert await fan.submit("b", picture, soon(LONG_S)) == FACE
    assert detector.calls == 1
    assert outcomes(fan) == (1, 1, 0, 0)


@pytest.mark.parametrize("first", [FAILED, RuntimeError("a bug"), StopIteration()], ids=["failed", "raised", "stop"])
async def test_a_failed_call_is_made_once_more_while_half_of_the_time_is_left(make, first):
    detector = Instant(first, FACE)
    fan = make(detector)
    assert await fan.submit("a", picture, soon(LONG_S)) == FACE
    assert (detector.calls, outcomes(fan), one(fan).retried) == (2, (1, 1, 0, 0), 1)


async def test_a_call_that_fails_twice_is_failed(make):
    detector = Instant(FAILED, FAILED, FACE)
    fan = make(detector)
    assert await fan.submit("a", picture, soon(LONG_S)) == FAILED
    assert (detector.calls, outcomes(fan)) == (2, (0, 2, 0, 0))


async def test_no_second_call_when_less_than_half_of_the_time_is_left():
    class Slow(Instant):
        """Each call takes two thirds of the time, on a clock that only calls move."""

        def look(self, jpeg, timeout_s):
            clock.now += 20
            return super().look(jpeg, timeout_s)

    class Moved(RealClock):
        now = 0.0

        def monotonic(self):
            return self.now

    clock, detector = Moved(), Slow(FAILED, FACE)
    fan = FanOut(detector, 1, clock)
    assert await fan.submit("a", picture, 30.0) == FAILED
    assert detector.calls == 1
    assert one(fan).max_ms == 20_000
    fan.close()


@pytest.mark.parametrize("answer", [Failed(reason) for reason in Failure if reason is not Failure.FAILED], ids=str)
async def test_other_failures_are_passed_on_without_a_second_call(make, answer):
    detector = Instant(answer)
    fan = make(detector)
    assert await fan.submit("a", picture, soon(LONG_S)) == answer
    assert detector.calls == 1
    expected = {Failure.THROTTLED: (0, 0, 1, 0), Failure.SHED: (0, 0, 0, 1)}.get(answer.reason, (0, 1, 0, 0))
    assert outcomes(fan) == expected
    assert one(fan).late == (answer.reason is Failure.LATE)


@pytest.mark.parametrize("nonsense", [None, [], "seen", ()], ids=repr)
async def test_an_answer_that_is_none_is_nonsense(make, nonsense):
    fan = make(Instant(nonsense))
    assert await fan.submit("a", picture, soon(LONG_S)) == Failed(Failure.NONSENSE)


async def test_the_same_key_under_way_is_one_look(make):
    detector = Stepped()
    fan = make(detector)
    first = fan.submit("a", picture, soon(LONG_S))
    assert fan.submit("a", picture, soon(LONG_S)) is first
    detector.go.release(2)
    await first
    assert await fan.submit("a", picture, soon(LONG_S)) == FACE
    assert detector.calls == 2


async def test_cancelling_a_waiting_look_gives_its_place_up(make):
    detector = Stepped()
    fan = make(detector)
    first, second, third = (fan.submit(i, picture, soon(LONG_S)) for i in range(3))
    await detector.wait_called()
    second.cancel()
    detector.go.release(2)
    assert await first == await third == FACE
    with pytest.raises(asyncio.CancelledError):
        await second
    assert detector.calls == 2
    assert outcomes(fan) == (2, 0, 0, 1)


async def test_cancelling_a_look_that_is_being_made_keeps_the_slot_until_its_thread_is_back(make):
    detector = Stepped()
    fan = make(detector)
    first = fan.submit("a", picture, soon(LONG_S))
    await detector.wait_called()
    first.cancel()
    second = fan.submit("b", picture, soon(LONG_S))
    assert not await asyncio.to_thread(detector.called.acquire, timeout=0.05)
    detector.go.release(2)
    assert await second == FACE
    assert detector.most == 1
    assert outcomes(fan) == (1, 1, 0, 0)


async def test_cancelling_the_one_who_waits_for_an_answer_propagates_at_once(make):
    detector = Stepped()
    fan = make(detector)

    async def stage():
        await fan.submit("a", picture, soon(LONG_S))

    task = asyncio.create_task(stage())
    await detector.wait_called()
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 2
    assert detector.running == 1


async def test_drain_waits_for_all_answers(make):
    fan = make(Instant(), 2)
    looks = [fan.submit(i, picture, soon(LONG_S)) for i in range(20)]
    assert await fan.drain(10.0)
    assert all(look.done() and look.result() == FACE for look in looks)


async def test_close_gives_everything_up_at_once_and_takes_no_more(make):
    detector = Stepped()
    fan = make(detector)
    looks = [fan.submit(i, picture, soon(LONG_S)) for i in range(3)]
    await detector.wait_called()
    fan.close()
    assert await asyncio.gather(*looks) == [LATE, SHED, SHED]
    assert await fan.submit("new", picture, soon(LONG_S)) == SHED
    assert detector.calls == 1


async def test_a_finished_look_lets_its_picture_go(make):
    """The picture is megabytes, and a thread that idles must not hold it."""

    class Decoded:
        pass

    fan = make(Instant())
    decoded = Decoded()
    gone = weakref.ref(decoded)

    def make_look(held=decoded):
        return picture() if held else None

    look = fan.submit("a", make_look, soon(LONG_S))
    del decoded, make_look
    await look
    assert await fan.drain(5.0)
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("seed", range(10))
async def test_every_look_is_answered_and_counted_exactly_once(make, seed):
    chance = random.Random(seed)
    choices = [FACE, Seen(), FAILED, Failed(Failure.THROTTLED), LATE, Failed(Failure.NONSENSE), None, KeyError("x")]
    detector = Instant(*(chance.choice(choices) for _ in range(200)))
    size = chance.randint(1, 5)
    fan = make(detector, size)
    looks = []
    for i in range(100):
        look = fan.submit(i, picture, soon(chance.choice([-1, 0, 0.0001, 0.002, LONG_S, LONG_S])))
        looks.append(look)
        match chance.randrange(8):
            case 0:
                look.cancel()
            case 1:
                await asyncio.sleep(0)
            case 2:
                await asyncio.sleep(0.001)
    ended = await asyncio.gather(*looks, return_exceptions=True)
    assert all(isinstance(answer, Seen | Failed | asyncio.CancelledError) for answer in ended)
    assert await fan.drain(10.0)
    counts = one(fan)
    assert sum(outcomes(fan)) == 100 + counts.retried
    assert (counts.in_flight, detector.most <= size) == (0, True)
    assert counts.max_in_flight <= size


@pytest.mark.parametrize("error", [StopIteration(), SystemExit(3), ValueError("x")], ids=repr)
async def test_whatever_a_thread_raises_reaches_the_one_who_waits(error):
    threads = DaemonThreads(1, "test")

    def raises():
        raise error

    with pytest.raises((ValueError, RuntimeError)):
        await asyncio.wait_for(threads.run(raises), 5)
    assert await asyncio.wait_for(threads.run(lambda: "next"), 5) == "next"
    threads.close()
    with pytest.raises(RuntimeError):
        threads.run(lambda: "after")


def test_the_process_exits_although_a_call_hangs():
    program = textwrap.dedent(
        """
        import asyncio, threading, time
        from streamproc.detect.fanout import FanOut
        from streamproc.detect.jpeg import Look
        class Clock:
            def now_us(self): return 0
            def monotonic(self): return time.monotonic()
        class Hangs:
            api = "local"
            def look(self, jpeg, timeout_s): threading.Event().wait()
        async def main():
            fan = FanOut(Hangs(), 2, Clock())
            looks = [fan.submit(i, lambda: Look(b"", 2, 2), time.monotonic() + 0.2) for i in range(5)]
            print(sorted(answer.reason.value for answer in await asyncio.gather(*looks)))
            print(await fan.drain(0.05), fan.counts()["local"].in_flight)
            fan.close()
        asyncio.run(main())
        """
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.stdout.splitlines() == ["['late', 'late', 'shed', 'shed', 'shed']", "False 2"]
    assert (ended.returncode, ended.stderr) == (0, "")


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_is_a_value_that_enough_others_do_not_exceed(values, share):
    ordered = sorted(values)
    quantile = quantile_ms(ordered, share)
    assert quantile in [round(v * 1000, 3) for v in values]
    assert sum(round(v * 1000, 3) <= quantile for v in values) >= share * len(values) - 1e-6


def test_there_is_no_quantile_of_nothing():
    assert quantile_ms([], 0.5) == 0.0
