"""Segments, and stores that fail on demand, for the tests of publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streamproc.errors import StoreUnavailable, UnavailableError
from streamproc.model.frame import Cover, Decision, FrameId, Region, Stamps
from streamproc.model.geometry import Box
from streamproc.model.media import Fragment
from streamproc.model.segment import Checkpoint, FrameRecord, Gap, Position, PublishedSegment, Segment

T0 = 1_795_095_371_123_000  # 2026-11-19T13:36:11.123Z


def fragment(number: int | str = 7, producer_us: int = T0) -> Fragment:
    return Fragment(str(number), producer_us, producer_us + 40_000)


def frame_id(number: int | str = 7, index: int = 0, time_us: int = T0) -> FrameId:
    return FrameId(fragment(number), index, time_us)


def segment(
    *ids: FrameId,
    end: Position | None = None,
    discontinuity: bool = False,
    cover: Cover | None = None,
    init: bytes = b"init",
    duration_us: int | None = None,
    origin_us: int = T0,
) -> Segment:
    ids = ids or (frame_id(),)
    last = ids[-1]
    cover = cover or Cover(Decision.SEEN, (Region(Box(0.25, 0.25, 0.5, 0.5), "face", Decision.SEEN),))
    body = ",".join(f"{one.fragment.number}:{one.index}" for one in ids).encode()
    return Segment(
        start=ids[0],
        end=end or Position(last.fragment.number, last.index + 1, last.fragment.server_us, ""),
        duration_us=last.time_us - ids[0].time_us + 33_333 if duration_us is None else duration_us,
        width=1280,
        height=720,
        data=init + body,
        init_bytes=len(init),
        frames=tuple(FrameRecord(one, cover, Stamps()) for one in ids),
        discontinuity=discontinuity,
        encoded_us=last.time_us + 500_000,
        origin_us=origin_us,
    )


class Crash(BaseException):
    """``kill -9``: nobody catches it."""


@dataclass
class Faults:
    """The fate of the next writes: '.' well, 'b' fails before its effect, 'a' after it, 'x' and 'y' kill likewise."""

    plan: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def around(self, name: str, effect: Callable[[], object]) -> object:
        step = self.plan.pop(0) if self.plan else "."
        self.seen.append(name)
        if step == "x":
            raise Crash
        if step == "b":
            raise StoreUnavailable("before") if name.startswith("put") else UnavailableError("before")
        result = effect()
        if step == "y":
            raise Crash
        if step == "a":
            raise StoreUnavailable("after") if name.startswith("put") else UnavailableError("after")
        return result


@dataclass
class MemoryStore:
    faults: Faults = field(default_factory=Faults)
    objects: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)

    def describe(self) -> str:
        return "memory"

    def check(self) -> None:
        pass

    def put_new(self, key: str, body: bytes, content_type: str, metadata: Mapping[str, str]) -> bool:
        def effect() -> bool:
            if key in self.objects:
                return False
            self.objects[key] = (body, dict(metadata))
            return True

        return bool(self.faults.around(f"put_new {key.split('/')[0]}", effect))

    def put(self, key: str, body: bytes, content_type: str, cache_control: str = "") -> None:
        self.faults.around(f"put {key.rsplit('/', 1)[1]}", lambda: self.objects.__setitem__(key, (body, {})))

    def metadata(self, key: str) -> Mapping[str, str] | None:
        found = self.objects.get(key)
        return None if found is None else found[1]

    def text(self, key: str) -> str:
        return self.objects[key][0].decode()


@dataclass
class MemoryProgress:
    faults: Faults = field(default_factory=Faults)
    checkpoint: Checkpoint | None = None
    hours: dict[int, dict[str, PublishedSegment]] = field(default_factory=dict)

    def load(self, stream: str) -> Checkpoint | None:
        return self.checkpoint

    def commit(self, checkpoint: Checkpoint) -> None:
        self.faults.around("commit", lambda: setattr(self, "checkpoint", checkpoint))

    def record_gap(self, stream: str, gap: Gap) -> None:
        raise NotImplementedError

    def gaps(self, stream: str) -> list[Gap]:
        return []

    def record_segment(self, stream: str, hour: int, segment: PublishedSegment) -> None:
        self.faults.around("journal", lambda: self.hours.setdefault(hour, {}).setdefault(segment.key, segment))

    def segments_of_hour(self, stream: str, hour: int) -> tuple[PublishedSegment, ...]:
        return tuple(self.hours.get(hour, {}).values())


@dataclass
class SteppedClock:
    us: int = T0

    def now_us(self) -> int:
        self.us += 1
        return self.us

    def monotonic(self) -> float:
        return self.us / 1e6
