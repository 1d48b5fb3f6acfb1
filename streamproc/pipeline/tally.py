"""What a run has done so far, in numbers: the summary that scripts read and the line that people read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from streamproc.model.frame import Decision
from streamproc.model.segment import Gap, Segment
from streamproc.progress.lag import LagStats, ServiceClock


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
    gaps: list[Gap] = field(default_factory=list)
    sessions: int = 0
    lag: LagStats = field(default_factory=LagStats)
    service_clock: ServiceClock = field(default_factory=ServiceClock)
    last_lag_us: int | None = None
    last_durable_us: int | None = None
    behind_now_ms: int | None = None

    def published(self, segment: Segment, durable_us: int, adopted: bool) -> None:
        """A segment is durable."""
        self.segments += 1
        self.adopted += adopted
        self.bytes_out += len(segment.data)
        for frame in segment.frames:
            self.decisions[frame.cover.decision] += 1
        self.lag.record(segment, durable_us, self.service_clock)
        self.last_durable_us = durable_us
        self.last_lag_us = durable_us - (segment.start.time_us + segment.duration_us)

    @property
    def frames_out(self) -> int:
        return sum(n for decision, n in self.decisions.items() if decision is not Decision.WITHHELD)

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
