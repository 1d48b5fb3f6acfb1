"""Lag: how long a frame takes from the camera's clock to durable, stage by stage, in parts that add up to the whole.

Lag is always between two named clocks. ``producer -> durable`` begins on the camera's clock and ends on ours, so a
camera whose clock is wrong shows that here; it may be negative. ``service -> durable`` begins on the service's clock,
moved onto ours by :class:`ServiceClock`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

from streamproc.model.segment import Segment

STAGES = ("ingest", "decode", "decide", "encode", "publish")
"""Producer time, *ingest*, block arrived, *decode*, decoded, *decide*, decided, *encode*, segment complete, *publish*,
durable."""

_EXACT_MS = 10_000  # from here on three significant digits are kept
_CLOCK_SAMPLES = 64  # about two minutes of 2 s fragments: longer than jitter, shorter than drift or a set clock


class Quantiles:
    """Counts of whole milliseconds in bounded memory: exact below 10 s, three significant digits (rounded up) above."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._sum_us = 0
        self._max_us = 0
        self.count = 0

    def add(self, us: int) -> None:
        """Count one value, µs; may be negative."""
        bucket = _bucket((us + 500) // 1000)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._sum_us += us
        self._max_us = us if self.count == 0 else max(self._max_us, us)
        self.count += 1

    def quantiles(self, *percents: int) -> list[int | None]:
        """The smallest counted values, ms, that so many percent of all do not exceed; None without values."""
        if not self.count:
            return [None for _ in percents]
        ranks = [max(1, -(-percent * self.count // 100)) for percent in percents]
        found: dict[int, int] = {}
        seen = 0
        for value in sorted(self._counts):
            seen += self._counts[value]
            for rank in ranks:
                if rank <= seen and rank not in found:
                    found[rank] = value
        # The last bucket may be rounded up beyond the largest value itself.
        return [min(found[rank], self._max_ms()) for rank in ranks]

    def summary(self) -> dict[str, float | int | None]:
        """``mean_ms`` (exact to the µs), ``p50_ms``, ``p95_ms``, ``p99_ms``, ``max_ms``; None without values."""
        p50, p95, p99 = self.quantiles(50, 95, 99)
        return {
            "mean_ms": round(self._sum_us / self.count / 1000, 3) if self.count else None,
            "p50_ms": p50,
            "p95_ms": p95,
            "p99_ms": p99,
            "max_ms": self._max_ms() if self.count else None,
        }

    def _max_ms(self) -> int:
        return (self._max_us + 500) // 1000


class LagStats:
    """Lag of all frames recorded, as a whole and by stage."""

    def __init__(self) -> None:
        self._whole = Quantiles()
        self._stages = {stage: Quantiles() for stage in STAGES}
        self._service = Quantiles()

    def add(self, stage: str, us: int) -> None:
        """Count one frame's time in one stage, µs. Raises KeyError for a stage that is not in :data:`STAGES`."""
        self._stages[stage].add(us)

    def record(self, segment: Segment, durable_us: int, service: ServiceClock | None = None) -> None:
        """Count every frame of a segment that became durable at ``durable_us`` (wall clock, our own, µs).

        A stage whose stamp is missing (0) counts as no time; its time goes to the next that has one.
        """
        for frame in segment.frames:
            stamps = frame.stamps
            times = [frame.id.time_us]
            for stamp in (
                stamps.arrived_us,
                stamps.decoded_us,
                stamps.decided_us,
                segment.encoded_us,
                durable_us,
            ):
                times.append(stamp or times[-1])
            for stage, (entered_us, left_us) in zip(STAGES, pairwise(times), strict=True):
                self.add(stage, left_us - entered_us)
            self._whole.add(times[-1] - times[0])
            if service is not None and service.offset_us is not None and frame.id.server_us:
                self._service.add(durable_us - service.to_ours(frame.id.server_us))

    def summary(self) -> dict[str, Any]:
        """Plain values for JSON: ``count`` (frames), the whole's figures, ``stages`` with each one's, and ``service``.

        The figures are those of :meth:`Quantiles.summary`. The stages' means add up to the whole's mean.
        """
        return {
            "count": self._whole.count,
            **self._whole.summary(),
            "stages": {stage: counted.summary() for stage, counted in self._stages.items()},
            "service": {"count": self._service.count, **self._service.summary()},
        }


class ServiceClock:
    """How far the service's clock is ahead of ours, from the tags that end each fragment.

    The service's clock stood at server timestamp + MILLIS_BEHIND_NOW when it wrote the trailing tags, and they arrived
    after that. So each fragment shows the offset less the time on the way; of the last 64, the one that was least long
    on the way is nearest. What remains is an error of at most that fragment's time on the way.
    """

    def __init__(self) -> None:
        self._samples: deque[int] = deque(maxlen=_CLOCK_SAMPLES)

    def observe(self, server_us: int, behind_now_ms: int, arrived_us: int) -> None:
        """Trailing tags arrived at ``arrived_us`` on our clock. Ignored without a server timestamp (0)."""
        if server_us:
            self._samples.append(server_us + behind_now_ms * 1000 - arrived_us)

    @property
    def offset_us(self) -> int | None:
        """Service's clock minus ours; None before the first fragment."""
        return max(self._samples) if self._samples else None

    def to_ours(self, server_us: int) -> int:
        """A moment on the service's clock, on ours; unchanged while the offset is unknown."""
        return server_us - (self.offset_us or 0)


class StreamState(Enum):
    """What a stream is doing, told so that a quiet camera does not look like a slow pipeline."""

    DISCONNECTED = "disconnected"  # the stream cannot be had: missing, denied, out of reach
    IDLE = "idle"  # the camera is quiet: no bytes come, and nothing is unfinished
    LIVE = "live"
    CATCHING_UP = "catching up"  # the service has more for us than the fragment it is sending
    STALLED = "stalled"  # there is unfinished work, and nothing becomes durable


@dataclass(frozen=True, slots=True)
class Activity:
    """What :func:`stream_state` looks at; all times are wall clock, our own, µs.

    Attributes:
        last_byte_us: When media last arrived, None if never.
        unfinished_since_us: When the oldest frame that is not durable arrived, None if there is none.
        last_durable_us: When a segment last became durable, None if never.
        behind_now_ms: MILLIS_BEHIND_NOW of the last finished fragment, None if not said.
        fragment_us: Duration of a fragment: a consumer who has caught up is about this far behind, never 0.
        connected: No error keeps us from the stream.
    """

    last_byte_us: int | None = None
    unfinished_since_us: int | None = None
    last_durable_us: int | None = None
    behind_now_ms: int | None = None
    fragment_us: int = 2_000_000
    connected: bool = True


def stream_state(now_us: int, seen: Activity, *, quiet_us: int = 5_000_000, stall_us: int = 30_000_000) -> StreamState:
    """The first of these that holds.

    1. STALLED: a frame has waited, and nothing become durable, for longer than ``stall_us``.
    2. DISCONNECTED: the last thing the service said was an error.
    3. IDLE: nothing is unfinished, and no byte came for longer than ``quiet_us``.
    4. CATCHING_UP: the service says that we are more than two fragments behind.
    5. LIVE.
    """
    oldest_us = now_us if seen.unfinished_since_us is None else seen.unfinished_since_us
    waiting_since_us = max(oldest_us, seen.last_durable_us or 0)
    if now_us - waiting_since_us > stall_us:
        return StreamState.STALLED
    if not seen.connected:
        return StreamState.DISCONNECTED
    quiet = seen.last_byte_us is None or now_us - seen.last_byte_us > quiet_us
    if seen.unfinished_since_us is None and quiet:
        return StreamState.IDLE
    if seen.behind_now_ms is not None and seen.behind_now_ms * 1000 > 2 * seen.fragment_us:
        return StreamState.CATCHING_UP
    return StreamState.LIVE


def _bucket(ms: int) -> int:
    if -_EXACT_MS < ms < _EXACT_MS:
        return ms
    step: int = 10 ** (len(str(abs(ms))) - 3)
    return -(-ms // step) * step
