"""The adapter bounds exactly, hands results back as values, and keeps cancellation and time-outs alive."""

from __future__ import annotations

import asyncio
import random

import pytest

from streamproc.detect.pool import BoundedPool, Raised, Returned


async def settle():
    """Let the loop run until everything that can go on has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


class Gate:
    """Work that waits until it is let go, and knows how much of it runs at once."""

    def __init__(self):
        self.open = asyncio.Event()
        self.running = self.most = self.started = 0

    async def work(self):
        self.started += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.open.wait()
        finally:
            self.running -= 1
        return "done"


async def test_exactly_size_run_at_once():
    pool, gate = BoundedPool(3), Gate()
    spawning = [asyncio.create_task(pool.spawn(gate.work)) for _ in range(10)]
    await settle()
    assert (gate.running, pool.running) == (3, 3)
    gate.open.set()
    futures = await asyncio.gather(*spawning)
    assert await asyncio.gather(*futures) == [Returned("done")] * 10
    assert (gate.most, gate.started) == (3, 10)
    assert await pool.drain(1.0)


async def test_what_the_work_raises_comes_back_as_a_value():
    pool = BoundedPool(1)
    error = ValueError("no")

    async def fails():
        raise error

    assert await (await pool.spawn(fails)) == Raised(error)
    assert await (await pool.spawn(lambda: asyncio.sleep(0, "next"))) == Returned("next")


async def test_cancelling_a_caller_that_waits_for_room_stops_it_at_once():
    pool, gate = BoundedPool(1), Gate()
    spawned = []

    async def producer():
        while True:
            spawned.append(await pool.spawn(gate.work))

    task = asyncio.create_task(producer())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open.set()
    assert await pool.drain(1.0)
    assert (len(spawned), gate.started) == (1, 1)


async def test_a_time_out_around_the_wait_for_room_fires():
    pool, gate = BoundedPool(1), Gate()
    await pool.spawn(gate.work)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await pool.spawn(gate.work)
    gate.open.set()
    assert await pool.drain(1.0)
    assert gate.started == 1


async def test_cancelling_the_future_neither_stops_the_work_nor_frees_its_slot():
    pool, gate = BoundedPool(1), Gate()
    (await pool.spawn(gate.work)).cancel()
    waiting = asyncio.create_task(pool.spawn(gate.work))
    await settle()
    assert gate.running == 1
    assert not waiting.done()
    gate.open.set()
    assert await (await waiting) == Returned("done")
    assert gate.most == 1


async def test_drain_says_when_something_still_runs():
    pool, gate = BoundedPool(2), Gate()
    await pool.spawn(gate.work)
    assert not await pool.drain(0.01)
    gate.open.set()
    assert await pool.drain(1.0)
    assert await pool.drain(0.0)


@pytest.mark.parametrize("seed", range(20))
async def test_no_slot_is_lost_whatever_is_cancelled_when(seed):
    """Callers are cancelled at any moment, in any number; afterwards all slots can be taken again."""
    chance = random.Random(seed)
    size = chance.randint(1, 4)
    pool, gate = BoundedPool(size), Gate()
    tasks, futures = [], []

    async def call():
        futures.append(await pool.spawn(lambda: asyncio.sleep(0, "x")))

    for _ in range(60):
        match chance.choice(["call", "call", "cancel", "future", "step"]):
            case "call":
                tasks.append(asyncio.create_task(call()))
            case "cancel" if tasks:
                chance.choice(tasks).cancel()
            case "future" if futures:
                chance.choice(futures).cancel()
            case _:
                await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await pool.drain(1.0)
    again = [asyncio.create_task(pool.spawn(gate.work)) for _ in range(size + 1)]
    await settle()
    assert gate.running == size
    gate.open.set()
    await asyncio.gather(*again)
    assert await pool.drain(1.0)


def test_a_pool_without_room_is_refused():
    with pytest.raises(ValueError):
        BoundedPool(0)
