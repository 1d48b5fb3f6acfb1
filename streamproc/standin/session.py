"""One GetMedia session: which fragments, in what bytes, and when."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from streamproc.standin import matroska
from streamproc.standin.camera import StoredFragment, Stream, now_us
from streamproc.standin.matroska import error_segment

_SLACK_US = 2_000
"""Blocks due this soon go out together: one wake-up instead of two."""

_LONGEST_SLEEP_S = 0.5
"""How long a client that has gone away may keep its connection counted."""


class Ended(Exception):
    """The session is over: the client has gone, or the program stops."""


class NotFound(Exception):
    """The selector asks for a fragment that is not retained."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How the service bounds a session.

    Attributes:
        session_s: After this long it ends at the next fragment's end.
        idle_s: It ends this long after the last byte that came from the producer.
        fragments_per_second: A fragment is begun no sooner than this allows.
    """

    session_s: float = 2700.0
    idle_s: float = 3.0
    fragments_per_second: float = 5.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the body that are due now; ``blocks``: each part is one block."""

    parts: tuple[bytes, ...]
    blocks: bool = False


class Session:
    """The body of one GetMedia answer.

    Args:
        alive: Asked while nothing is due; raises :class:`Ended` when nobody listens any more.
    """

    def __init__(self, stream: Stream, limits: Limits, alive: Callable[[], None]) -> None:
        self._stream = stream
        self._limits = limits
        self._alive = alive
        self._started = time.monotonic()
        self._last_us = now_us()

    def pieces(self, after_index: int) -> Iterator[Piece]:
        """Every piece when it is due, from the fragment after ``after_index`` until the session ends."""
        next_start = 0.0
        while time.monotonic() - self._started < self._limits.session_s:
            stored = self._next(after_index)
            if stored is None:
                return
            while (early := next_start - time.monotonic()) > 0:
                self._sleep(early)
            next_start = time.monotonic() + 1 / self._limits.fragments_per_second
            yield from self._fragment(stored)
            after_index = stored.index
            self._last_us = max(self._last_us, now_us())

    def _next(self, after_index: int) -> StoredFragment | None:
        while True:
            with self._stream.changed:
                stored = self._stream.after(after_index)
                if stored is None:
                    left_s = self._limits.idle_s - (now_us() - self._last_us) / 1e6
                    if left_s <= 0:
                        return None
                    self._stream.changed.wait(min(left_s, _LONGEST_SLEEP_S))
            if stored is not None:
                return stored
            self._alive()

    def _fragment(self, stored: StoredFragment) -> Iterator[Piece]:
        layout = self._stream.layout
        wire = stored.media.wire(layout)
        self._wait_for(stored, 0)
        yield Piece((_opening(self._stream, stored, wire),))
        sent = 0
        while sent < stored.count:
            horizon = now_us() + _SLACK_US
            upto = sent
            while upto < stored.count and stored.due_us(upto) <= horizon:
                upto += 1
            if upto > sent:
                yield Piece(wire[sent:upto], blocks=True)
                sent = upto
            else:
                self._wait_for(stored, sent)
        while (left := stored.end_us - now_us()) > 0:
            self._sleep(left / 1e6)
        behind_now_ms = max(0, (now_us() - stored.server_us) // 1000)
        yield Piece((matroska.tags(stored.media.tags_after) + matroska.trailing_tags(stored.number, behind_now_ms),))

    def _wait_for(self, stored: StoredFragment, block: int) -> None:
        while block < stored.count and (left := stored.due_us(block) - now_us()) > 0:
            self._sleep(left / 1e6)

    def _sleep(self, seconds: float) -> None:
        """Until that much later, or something changes."""
        if seconds > _LONGEST_SLEEP_S / 2:
            self._alive()
        with self._stream.changed:
            self._stream.changed.wait(min(seconds, _LONGEST_SLEEP_S))


def _opening(stream: Stream, stored: StoredFragment, wire: tuple[bytes, ...]) -> bytes:
    layout = stream.layout
    timecode = stored.producer_us // 1000 if layout.epoch_timecodes else stored.timecode_ms
    size = sum(map(len, wire)) if layout.sized_cluster else None
    return (
        stored.media.opening()
        + matroska.leading_tags(stored.number, stored.server_us, stored.producer_us)
        + matroska.cluster_opening(timecode, size)
    )


def whole_fragment(stream: Stream, stored: StoredFragment) -> bytes:
    """A fragment as GetMediaForFragmentList sends it: without the tags of a live session."""
    wire = stored.media.wire(stream.layout)[: stored.count]
    return _opening(stream, stored, wire) + b"".join(wire) + matroska.tags(stored.media.tags_after)


def first_index(stream: Stream, selector: str, value: float | int | None) -> int:
    """Index of the fragment *before* the one that a StartSelector asks for.

    ``NOW`` is the fragment that is being received, or else the next to come. A time means the fragment that holds
    it, or the first one after it.

    Args:
        selector: The StartSelectorType.
        value: Seconds since the epoch, or a fragment number.

    Raises:
        NotFound: the fragment to start after is not retained.
    """
    fragments = stream.fragments()
    newest = fragments[-1].index if fragments else -1
    if selector == "EARLIEST":
        return -1
    if selector == "NOW":
        under_way = fragments and fragments[-1].end_us > now_us()
        return newest - 1 if under_way else newest
    if selector in ("FRAGMENT_NUMBER", "CONTINUATION_TOKEN"):
        for stored in reversed(fragments):
            if stored.number == value:
                return stored.index
        raise NotFound
    at_us = round((value or 0) * 1e6)
    for stored in fragments:
        start = stored.server_us if selector == "SERVER_TIMESTAMP" else stored.producer_us
        length = stored.end_us - stored.server_us if selector == "SERVER_TIMESTAMP" else stored.media.duration_us
        if start + length > at_us:
            return stored.index - 1
    return newest


def not_found_segment() -> bytes:
    """What follows :class:`NotFound`, in a 200 answer."""
    return error_segment(4000, "FRAGMENT_NOT_FOUND")
