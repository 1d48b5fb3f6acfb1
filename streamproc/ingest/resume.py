"""Where and when the next GetMedia session begins: never a fragment twice, never one skipped without a gap record.

A pure rule: it is told what happened and hands out the next start selector and the delay before it.

* It resumes after the last *finished* fragment. A fragment that broke off is sent again whole; it is passed on again
  under the same number, and whoever counts its frames drops those that he has.
* A fragment that breaks off three times at the same place is skipped, with a gap record.
* A fragment that broke off and is followed by another one is lost, with a gap record.
* Fragments up to the last finished one are duplicates. Numbers are compared as integers.

Source of the selectors: AWS, "StartSelector" (GetMedia API reference).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from streamproc.errors import ConfigurationError
from streamproc.ingest.elements import read_seconds
from streamproc.model.media import Damage, Fragment, FragmentEnd, FragmentNumber
from streamproc.model.segment import Gap

ENDPOINT_LIFE_S = 40 * 60
"""The service asks for a new data endpoint about every 45 minutes."""

TRIES = 3
"""So often a fragment may break off at the same place before it is skipped."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_US = 253_402_300_799_999_999  # 9999-12-31, the last day that datetime knows


class Selector(Enum):
    """StartSelectorType."""

    NOW = "NOW"
    EARLIEST = "EARLIEST"
    AFTER_FRAGMENT = "FRAGMENT_NUMBER"
    CONTINUATION_TOKEN = "CONTINUATION_TOKEN"
    PRODUCER_TIMESTAMP = "PRODUCER_TIMESTAMP"
    SERVER_TIMESTAMP = "SERVER_TIMESTAMP"


@dataclass(frozen=True, slots=True)
class StartSelector:
    """Where a session begins.

    Attributes:
        kind: Decides which of the others counts.
        value: The fragment number to start *after*, or the continuation token.
        time_us: The session starts with the fragment that contains this moment (µs since the Unix epoch).
    """

    kind: Selector = Selector.NOW
    value: str = ""
    time_us: int = 0

    def to_request(self) -> dict[str, Any]:
        """The ``StartSelector`` argument of boto3's ``get_media``."""
        request: dict[str, Any] = {"StartSelectorType": self.kind.value}
        if self.kind is Selector.AFTER_FRAGMENT:
            request["AfterFragmentNumber"] = self.value
        elif self.kind is Selector.CONTINUATION_TOKEN:
            request["ContinuationToken"] = self.value
        elif self.kind in (Selector.PRODUCER_TIMESTAMP, Selector.SERVER_TIMESTAMP):
            request["StartTimestamp"] = _EPOCH + timedelta(microseconds=self.time_us)
        return request


EARLIEST = StartSelector(Selector.EARLIEST)
NOW = StartSelector(Selector.NOW)


def parse_start(text: str) -> StartSelector:
    """A start as people write it.

    ``now``, ``earliest``, ``after:FRAGMENT``, ``token:TOKEN``, ``producer:TIMESTAMP``, ``server:TIMESTAMP`` or a bare
    ``TIMESTAMP``, which means the producer's time. A timestamp is ISO 8601 (UTC if it names no zone) or epoch seconds.

    Raises:
        ConfigurationError: It is none of these.
    """
    word = text.strip()
    if word.lower() in ("now", "earliest"):
        return NOW if word.lower() == "now" else EARLIEST
    name, colon, rest = word.partition(":")
    rest = rest.strip()
    match name.lower() if colon else "":
        case "after":
            if not re.fullmatch(r"[0-9]{1,128}", rest, re.ASCII):
                raise ConfigurationError(
                    f"start: {text!r}: a fragment number is 1 to 128 digits, as in after:9134385233"
                )
            return StartSelector(Selector.AFTER_FRAGMENT, rest)
        case "token":
            if not re.fullmatch(r"[a-zA-Z0-9_.\-]{1,128}", rest, re.ASCII):
                raise ConfigurationError(
                    f"start: {text!r}: a continuation token is 1 to 128 letters, digits, '_', '.', '-'"
                )
            return StartSelector(Selector.CONTINUATION_TOKEN, rest)
        case "producer":
            return StartSelector(Selector.PRODUCER_TIMESTAMP, time_us=_moment(rest, text))
        case "server":
            return StartSelector(Selector.SERVER_TIMESTAMP, time_us=_moment(rest, text))
    return StartSelector(Selector.PRODUCER_TIMESTAMP, time_us=_moment(word, text))


def _moment(word: str, text: str) -> int:
    micros = read_seconds(word)
    if micros is None:
        try:
            moment = datetime.fromisoformat(word)
        except ValueError:
            raise ConfigurationError(
                f"start: {text!r}: expected now, earliest, after:FRAGMENT, token:TOKEN, producer:TIMESTAMP, "
                "server:TIMESTAMP or TIMESTAMP (as 2026-01-31T12:00:00Z or epoch seconds)"
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        micros = (moment - _EPOCH) // timedelta(microseconds=1)
    if not 0 <= micros <= _LAST_US:
        raise ConfigurationError(f"start: {text!r}: the time lies outside of the years 1970 to 9999")
    return micros


class Outcome(Enum):
    """How a session ended."""

    ENDED = "ended"  # the body ended as bodies do
    DROPPED = "dropped"  # the connection broke
    STALLED = "stalled"  # nothing came for too long
    EXPIRED = "expired"  # error 4000: the fragment to start after is no longer kept
    UNAVAILABLE = "unavailable"  # 5xx, throttling, no connection, errors 3002 and 5000
    LIMIT = "limit"  # others hold the stream's three connections
    MISSING = "missing"  # no such stream, or not active
    DENIED = "denied"  # not authorised, or the key is refused (45xx)


@dataclass(slots=True)
class _Partial:
    """A fragment that has begun and is not finished."""

    fragment: Fragment
    blocks: int = 0
    furthest: int = -1  # blocks seen in the best session so far that broke off
    tries: int = 0
    reason: str = "truncated"
    detail: str = ""
    seen: bool = True  # in this session


class Resume:
    """The state between sessions. Not safe for threads.

    Attributes:
        last: Number of the last fragment that is finished, or given up with a gap record; "" before the first.
        duplicates: Fragments that were sent again although they were finished.
    """

    def __init__(self, start: StartSelector) -> None:
        self.last: FragmentNumber = start.value if start.kind is Selector.AFTER_FRAGMENT else ""
        self.duplicates = 0
        self._start = start
        self._partial: _Partial | None = None
        self._expired = False
        self._lost: Damage | None = None
        self._lost_after: FragmentNumber | None = None
        self._progress = False
        self._failures = 0
        self._outcome = Outcome.ENDED

    @property
    def selector(self) -> StartSelector:
        """Where the next session begins."""
        if self._expired:
            return EARLIEST
        if self.last:
            return StartSelector(Selector.AFTER_FRAGMENT, self.last)
        if self._partial is not None and self._partial.fragment.server_us > 0:
            return StartSelector(Selector.SERVER_TIMESTAMP, time_us=self._partial.fragment.server_us)
        return self._start

    @property
    def idle(self) -> bool:
        """Whether the last session brought nothing new."""
        return self._failures > 0

    def delay_s(self, random: float) -> float:
        """Seconds from the end of a session to the next. ``random`` in [0, 1] spreads streams that failed together."""
        steps = max(0, self._failures - 1)
        match self._outcome:
            case Outcome.MISSING | Outcome.DENIED:
                return 30.0 + 5.0 * random
            case Outcome.LIMIT:
                return max(5.0, _spread(min(30.0, 5.0 * 2.0 ** min(steps, 10)), random))
            case _ if self._failures:
                return max(0.25, _spread(min(10.0, 0.5 * 2.0 ** min(steps, 10)), random))
        return 0.25

    def refresh_endpoint(self, age_s: float) -> bool:
        """Whether the data endpoint must be asked for again: after any failure, and every 40 minutes."""
        return self._outcome is not Outcome.ENDED or age_s >= ENDPOINT_LIFE_S

    def begin(self, fragment: Fragment, now_us: int) -> tuple[bool, list[Gap]]:
        """A fragment begins. Returns whether to pass it on (False: a duplicate), and the gaps that this proves."""
        if not fragment.number:
            self._progress = True
            return True, self._report_lost(now_us)
        if self.last and fragment.order <= int(self.last):
            self.duplicates += 1
            self._lost = None  # before a fragment that is finished: bytes of one that was finished too
            return False, []
        self._progress = True
        partial = self._partial
        gaps: list[Gap] = []
        if partial is not None:
            if fragment.order == partial.fragment.order:
                partial.fragment, partial.blocks, partial.seen = fragment, 0, True
                partial.reason, partial.detail = "truncated", ""
                return True, gaps
            if fragment.order > partial.fragment.order:
                gaps.append(self._give_up(partial, now_us))
        gaps += self._report_lost(now_us)
        self._partial = _Partial(fragment)
        return True, gaps

    def block(self) -> None:
        """A block of the fragment at hand arrived."""
        if self._partial is not None:
            self._partial.blocks += 1

    def end(self, end: FragmentEnd, now_us: int) -> list[Gap]:
        """The fragment at hand ended. One over a limit is finished: it would be over it again."""
        number, partial = end.fragment.number, self._partial
        if not number:
            if not end.complete:
                self._lost = Damage(end.lost_bytes, end.detail)
            return []
        if end.complete or end.reason == "limit":
            before, self.last = self.last, number
            self._partial, self._expired = None, False
            return [] if end.complete else [Gap("limit", before, number, None, now_us, end.detail)]
        if partial is not None:
            partial.reason = "damaged" if end.reason == "damaged" else "truncated"
            partial.detail = end.detail
        return []

    def damage(self, damage: Damage) -> None:
        """Bytes that belong to no fragment were lost. That is a gap once a fragment follows them; until then the next
        session may bring them again, whole."""
        self._lost = damage

    def session_started(self) -> None:
        """A new session is about to begin."""
        self._progress = False
        self._lost = None
        if self._partial is not None:
            self._partial.seen = False

    def session_ended(self, outcome: Outcome, now_us: int) -> list[Gap]:
        """A session ended, or could not begin. Returns the gaps that this proves."""
        self._failures = 0 if self._progress else self._failures + 1
        self._outcome = outcome
        self._lost = None
        gaps: list[Gap] = []
        if outcome is Outcome.EXPIRED and not self._expired:
            self._expired = True
            gaps.append(Gap("retention", self.last, "", None, now_us, "the service no longer keeps the next fragment"))
        partial = self._partial
        if partial is not None and partial.seen:
            partial.tries = 1 if partial.blocks > partial.furthest else partial.tries + 1
            partial.furthest = max(partial.furthest, partial.blocks)
            if partial.tries >= TRIES:
                gaps.append(self._give_up(partial, now_us))
        return gaps

    def _give_up(self, partial: _Partial, now_us: int) -> Gap:
        before, self.last = self.last, partial.fragment.number
        self._partial, self._expired = None, False
        return Gap(partial.reason, before, partial.fragment.number, None, now_us, partial.detail)

    def _report_lost(self, now_us: int) -> list[Gap]:
        lost, self._lost = self._lost, None
        if lost is None or self._lost_after == self.last:
            return []
        self._lost_after = self.last
        return [Gap("damaged", self.last, "", None, now_us, f"{lost.lost_bytes} bytes lost: {lost.reason}")]


def _spread(seconds: float, random: float) -> float:
    return seconds * (0.5 + 0.5 * random)
