"""What a run has done so far, in numbers: the summary that scripts read and the line that people read."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from streamproc.model.frame import Decision
from streamproc.model.media import Fragment
from streamproc.model.segment import Gap, Segment
from streamproc.progress.lag import Activity, LagStats, ServiceClock, stream_state

# Arrivals are kept at this distance: enough to tell slow from idle, whatever the frame rate.
_ARRIVALS_US = 500_000
_ARRIVALS_KEPT = 256
_GAPS_KEPT = 1000
_SHORTEST_FRAGMENT_US = 2_000_000
_LONGEST_FRAGMENT_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Newest:
    """What the segment that became durable last was like.

    Attributes:
        lag: Of its frames alone.
        faces: Most regions in one of its frames; frames covered whole do not count.
        fps: Its frames per second of video.
    """

    lag: LagStats
    faces: int
    fps: float
    seconds: float
    width: int
    height: int


@dataclass(slots=True)
class Tally:
    """Counts of one run. Changed on the event loop only."""

    fragments_in: int = 0
    fragments_out: int = 0
    fragments_duplicate: int = 0
    frames_in: int = 0
    frames_skipped: int = 0  # published before, read again
    decisions: Counter[Decision] = field(default_factory=Counter)
    segments: int = 0
    adopted: int = 0
    bytes_out: int = 0
    gaps: deque[Gap] = field(default_factory=lambda: deque(maxlen=_GAPS_KEPT))  # the ledger has them all
    sessions: int = 0
    lag: LagStats = field(default_factory=LagStats)
    service_clock: ServiceClock = field(default_factory=ServiceClock)
    last_lag_us: int | None = None
    last_durable_us: int | None = None
    behind_now_ms: int | None = None
    connected: bool = True  # no error keeps us from the stream
    newest: Newest | None = None
    _last_byte_us: int | None = None
    _unfinished: deque[int] = field(default_factory=lambda: deque(maxlen=_ARRIVALS_KEPT))
    _fragment: Fragment | None = None
    _fragment_us: int = _SHORTEST_FRAGMENT_US
    _left: str = ""  # the fragment of the last published frame

    def fragment(self, fragment: Fragment) -> None:
        """A fragment begins that did not before."""
        self.fragments_in += 1
        if self._fragment is not None:
            step_us = fragment.producer_us - self._fragment.producer_us
            if 0 < step_us <= _LONGEST_FRAGMENT_US:
                self._fragment_us = max(_SHORTEST_FRAGMENT_US, step_us)
        self._fragment = fragment

    def arrived(self, arrived_us: int) -> None:
        """A frame that is to be published arrived (wall clock, our own, µs)."""
        self.frames_in += 1
        self._last_byte_us = arrived_us
        if not self._unfinished or arrived_us - self._unfinished[-1] >= _ARRIVALS_US:
            self._unfinished.append(arrived_us)

    def published(self, segment: Segment, durable_us: int, adopted: bool) -> None:
        """A segment is durable."""
        self.segments += 1
        self.adopted += adopted
        self.bytes_out += len(segment.data)
        for frame in segment.frames:
            self.decisions[frame.cover.decision] += 1
            if frame.id.fragment.number != self._left:
                self._left = frame.id.fragment.number
                self.fragments_out += 1
        self.lag.record(segment, durable_us, self.service_clock)
        self.last_durable_us = durable_us
        self.last_lag_us = durable_us - (segment.start.time_us + segment.duration_us)
        self._settle(segment.frames[-1].stamps.arrived_us if segment.frames else durable_us)
        self.newest = _newest(segment, durable_us)

    def _settle(self, arrived_us: int) -> None:
        """Everything that arrived until then is durable."""
        while self._unfinished and self._unfinished[0] <= arrived_us:
            self._unfinished.popleft()

    def behind(self, fragment: Fragment, behind_now_ms: int, arrived_us: int) -> None:
        """A fragment's trailing tags arrived."""
        self.behind_now_ms = behind_now_ms
        self.service_clock.observe(fragment.server_us, behind_now_ms, arrived_us)

    @property
    def frames_out(self) -> int:
        return sum(n for decision, n in self.decisions.items() if decision is not Decision.WITHHELD)

    @property
    def activity(self) -> Activity:
        """What :func:`~streamproc.progress.lag.stream_state` judges by."""
        return Activity(
            last_byte_us=self._last_byte_us,
            unfinished_since_us=self._unfinished[0] if self._unfinished else None,
            last_durable_us=self.last_durable_us,
            behind_now_ms=self.behind_now_ms,
            fragment_us=self._fragment_us,
            connected=self.connected,
        )

    def status(self, now_us: int, detector: dict[str, dict[str, int]]) -> dict[str, Any]:
        """:meth:`summary`, and what the stream is doing now: ``state``, and ``newest``, the last segment alone."""
        newest = self.newest
        return {
            **self.summary(detector),
            "state": stream_state(now_us, self.activity).value,
            "behind_now_ms": self.behind_now_ms,
            "durable_ms_ago": None if self.last_durable_us is None else (now_us - self.last_durable_us) // 1000,
            "newest": newest
            and {
                "lag": newest.lag.summary(),
                "faces": newest.faces,
                "fps": round(newest.fps, 2),
                "seconds": newest.seconds,
                "width": newest.width,
                "height": newest.height,
            },
        }

    def summary(self, detector: dict[str, dict[str, int]]) -> dict[str, Any]:
        """Everything, ready for JSON. Names are an interface: scripts rely on them."""
        return {
            "fragments": {
                "in": self.fragments_in,
                "out": self.fragments_out,
                "duplicate": self.fragments_duplicate,
            },
            "frames": {
                "in": self.frames_in,
                "out": self.frames_out,
                **{decision.value: self.decisions[decision] for decision in Decision},
                "skipped": self.frames_skipped,
            },
            "gaps": [
                {"reason": g.reason, "after": g.after, "fragment": g.fragment, "frames": g.frames, "detail": g.detail}
                for g in self.gaps
            ],
            "segments": self.segments,
            "adopted": self.adopted,
            "bytes": self.bytes_out,
            "sessions": self.sessions,
            "detector": detector,
            "lag": self.lag.summary(),
        }


def _newest(segment: Segment, durable_us: int) -> Newest:
    lag = LagStats()
    lag.record(segment, durable_us)
    counted = [len(f.cover.regions) for f in segment.frames if f.cover.decision is not Decision.WHOLE]
    seconds = segment.duration_us / 1_000_000
    return Newest(
        lag=lag,
        faces=max(counted, default=0),
        fps=len(segment.frames) / seconds if seconds else 0.0,
        seconds=seconds,
        width=segment.width,
        height=segment.height,
    )
