"""Faults on demand: what is to go wrong, where, and how often.

A fault can be given on the command line (``cut:stream=cam1,after_blocks=40``), from Python, or over HTTP as JSON.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

BODY_KINDS = ("cut", "drop", "reset", "stall", "garbage", "error")
MEDIA_KINDS = (*BODY_KINDS, "deny")
REKOGNITION_KINDS = ("throttle", "error500", "nonsense", "hang", "status")
SHAPES = ("json", "nan", "huge", "missing")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Of GetMedia: ``cut`` ends the body cleanly inside a fragment, ``drop`` closes the connection without the end of the
    body, ``reset`` resets it, ``stall`` sends nothing for ``seconds``, ``garbage`` puts ``size`` wrong bytes into the
    body, ``error`` sends error tags and ends, ``deny`` refuses the call. Of Rekognition: ``throttle``, ``error500``,
    ``nonsense`` (an answer of the given ``shape`` that cannot be true), ``hang`` for ``seconds``, ``status``.

    Attributes:
        stream: Only for this stream; "" for any.
        api: Only for this Rekognition call, for instance ``DetectFaces``; "" for any.
        after_bytes, after_blocks: How much of a session's body is sent before it; with both 0 it strikes after
            the first block.
        times: How often it strikes; 0 for always. A session is struck once by each fault.
        probability: Of striking, each time it could.
        code: Of ``deny``, ``error`` and ``status``: the error's name.
        status: HTTP status of ``deny`` and ``status``.
        error_id: Of ``error``; AWS lists 3002, 4000, 4500-4506, 5000.
    """

    kind: str
    stream: str = ""
    api: str = ""
    after_bytes: int = 0
    after_blocks: int = 0
    times: int = 1
    probability: float = 1.0
    seconds: float = 5.0
    size: int = 64
    code: str = ""
    status: int = 400
    error_id: int = 5000
    shape: str = "json"

    def __post_init__(self) -> None:
        if self.kind not in MEDIA_KINDS + REKOGNITION_KINDS:
            known = ", ".join(MEDIA_KINDS + REKOGNITION_KINDS)
            raise ValueError(f"unknown fault {self.kind!r}; known are {known}")
        if self.shape not in SHAPES:
            raise ValueError(f"unknown shape {self.shape!r}; known are {', '.join(SHAPES)}")

    @classmethod
    def from_text(cls, text: str) -> Fault:
        """``kind[:name=value,...]``. Raises ValueError with the reason."""
        kind, _, rest = text.partition(":")
        pairs = [pair.partition("=") for pair in rest.split(",") if pair]
        return cls.from_values({"kind": kind} | {name.strip(): value.strip() for name, _, value in pairs})

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Fault:
        """From JSON or text values. Raises ValueError with the reason."""
        types = {f.name: {"str": str, "int": int, "float": float}[str(f.type)] for f in fields(cls)}
        unknown = set(values) - set(types)
        if unknown or "kind" not in values:
            raise ValueError(f"a fault has {', '.join(types)}; not {', '.join(sorted(unknown)) or 'without kind'}")
        return cls(**{name: types[name](value) for name, value in values.items()})


@dataclass(slots=True)
class Place:
    """How far a GetMedia session's body has come, and which faults have had their chance in it."""

    sent_bytes: int = 0
    sent_blocks: int = 0
    past: set[object] = field(default_factory=set)

    def reach(self, fault: Fault, parts: Sequence[bytes], blocks: bool) -> int | None:
        """How many bytes of the next parts go out before this fault; None if it is not reached in them."""
        if fault.after_bytes:
            ahead = max(0, fault.after_bytes - self.sent_bytes)
            return ahead if ahead <= sum(map(len, parts)) else None
        ahead = max(1, fault.after_blocks) - self.sent_blocks
        if ahead <= 0:
            return 0
        return sum(map(len, parts[:ahead])) if blocks and ahead <= len(parts) else None


@dataclass(slots=True, eq=False)
class _Armed:
    fault: Fault
    left: int


class Faults:
    """The faults that are armed. Used from many threads.

    Args:
        seed: Of the chances; the same calls in the same order meet the same faults.
    """

    def __init__(self, armed: Sequence[Fault] = (), seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._armed: list[_Armed] = []
        for fault in armed:
            self.arm(fault)

    def arm(self, fault: Fault) -> None:
        """From now on it strikes where it applies."""
        with self._lock:
            self._armed.append(_Armed(fault, fault.times or -1))

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._armed.clear()

    def armed(self) -> list[Fault]:
        """What can still strike."""
        with self._lock:
            return [armed.fault for armed in self._armed]

    def strike(self, kinds: Sequence[str], *, stream: str = "", api: str = "") -> Fault | None:
        """The first armed fault of these kinds that strikes this call."""
        with self._lock:
            for armed in self._armed:
                fault = armed.fault
                if (
                    fault.kind in kinds
                    and fault.stream in ("", stream)
                    and fault.api in ("", api)
                    and self._chance(fault)
                ):
                    self._use(armed)
                    return fault
        return None

    def strike_body(self, stream: str, place: Place, parts: Sequence[bytes], blocks: bool) -> tuple[Fault, int] | None:
        """The first fault that strikes within the next parts of a body, and after how many of their bytes."""
        if not self._armed:
            return None
        with self._lock:
            for armed in self._armed:
                fault = armed.fault
                if fault.kind not in BODY_KINDS or fault.stream not in ("", stream) or armed in place.past:
                    continue
                reach = place.reach(fault, parts, blocks)
                if reach is None:
                    continue
                place.past.add(armed)
                if self._chance(fault):
                    self._use(armed)
                    return fault, reach
        return None

    def _chance(self, fault: Fault) -> bool:
        return fault.probability >= 1 or self._random.random() < fault.probability

    def _use(self, armed: _Armed) -> None:
        armed.left -= 1
        if armed.left == 0:
            self._armed.remove(armed)
