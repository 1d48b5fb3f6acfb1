"""Laws of the channels between the reading thread and the event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.pipeline.channel import Channel, Room

PATIENCE_S = 20


def started(target) -> threading.Thread:  # type: ignore[no-untyped-def]
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def joined(thread: threading.Thread) -> bool:
    thread.join(PATIENCE_S)
    return not thread.is_alive()


@given(st.integers(1, 6), st.lists(st.integers(0, 3), max_size=12))
def test_room_never_holds_more_than_its_limit_and_fills_it(limit: int, returns: list[int]) -> None:
    room = Room(limit)
    taken = 0
    for back in returns:
        while taken < limit:
            assert room.take()
            taken += 1
        assert room.taken == limit
        room.give_back(min(back, taken))
        taken -= min(back, taken)
        assert room.taken == taken


def test_thread_waits_for_room_and_goes_on_when_it_is_given_back() -> None:
    room = Room(2)
    most = 0
    passed = threading.Semaphore(0)

    def take() -> None:
        nonlocal most
        for _ in range(50):
            assert room.take()
            most = max(most, room.taken)
            passed.release()

    thread = started(take)
    for _ in range(50):
        assert passed.acquire(timeout=PATIENCE_S)
        assert room.taken <= 2
        room.give_back()
    assert joined(thread)
    assert most <= 2
    assert room.taken == 0


@pytest.mark.parametrize("wake", ["close", "give back", "widen"])
def test_waiting_thread_is_woken(wake: str) -> None:
    room = Room(1)
    assert room.take()
    answers: list[bool] = []
    thread = started(lambda: answers.append(room.take()))
    assert thread.is_alive()
    assert answers == []
    {"close": room.close, "give back": room.give_back, "widen": lambda: room.widen(2)}[wake]()
    assert joined(thread)
    assert answers == [wake != "close"]


def test_closed_room_lets_nobody_wait_and_says_so() -> None:
    room = Room(1)
    room.close()
    assert [room.take() for _ in range(3)] == [False] * 3


def test_narrower_room_takes_nobody_until_enough_is_given_back() -> None:
    room = Room(4)
    for _ in range(4):
        room.take()
    room.widen(2)
    answers: list[bool] = []
    thread = started(lambda: answers.append(room.take()))
    room.give_back(2)
    assert room.taken == 2
    assert answers == []
    room.give_back()
    assert joined(thread)
    assert (answers, room.taken) == ([True], 2)


async def test_channel_keeps_order_and_loses_nothing_from_a_thread() -> None:
    channel: Channel[int] = Channel(asyncio.get_running_loop())

    def put() -> None:
        for number in range(20_000):
            channel.put(number)
        channel.end()

    thread = started(put)
    async with asyncio.timeout(PATIENCE_S):
        assert [item async for item in channel.items()] == list(range(20_000))
    assert joined(thread)


async def test_each_item_wakes_a_reader_that_waits() -> None:
    channel: Channel[int] = Channel(asyncio.get_running_loop())
    taken = threading.Semaphore(0)

    def put() -> None:
        for number in range(200):  # the next only when the last was read, so the reader has to be woken each time
            channel.put(number)
            assert taken.acquire(timeout=PATIENCE_S)
        channel.end()

    thread = started(put)
    read = []
    async with asyncio.timeout(PATIENCE_S):
        async for item in channel.items():
            read.append(item)
            taken.release()
    assert read == list(range(200))
    assert joined(thread)


async def test_end_wakes_a_reader_and_what_was_put_before_is_still_read() -> None:
    channel: Channel[str] = Channel(asyncio.get_running_loop())
    reading = asyncio.create_task(_all(channel))
    await asyncio.sleep(0)
    channel.put("last")
    channel.end()
    async with asyncio.timeout(PATIENCE_S):
        assert await reading == ["last"]
        assert await _all(channel) == []


async def _all(channel: Channel[str]) -> list[str]:
    return [item async for item in channel.items()]


def test_thread_may_go_on_putting_when_nobody_listens_any_more() -> None:
    loop = asyncio.new_event_loop()
    channel: Channel[int] = Channel(loop)
    loop.close()
    channel.put(1)
    channel.end()
    assert not channel._items
