"""A stream that is published in real time by the real encoder and publisher, for the tests of the page."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np

from streamproc.app import SystemClock
from streamproc.console.app import Piece, Span
from streamproc.encode.pyav import EncodeOptions
from streamproc.encode.rolling import RollingSegments
from streamproc.model.frame import Cover, Decision, FrameId, RedactedFrame, Region, Stamps
from streamproc.model.geometry import Box
from streamproc.model.media import Fragment
from streamproc.model.segment import Checkpoint
from streamproc.pipeline.tally import Tally
from streamproc.progress.files import FileCheckpointStore
from streamproc.publish.publisher import Publisher

WIDTH, HEIGHT, RATE = 320, 180, 20
SEGMENT_S = 0.5
STREAM = "front door/50%"  # a name that a URL cannot hold as it is


class MemoryStore:
    """An object store in a dictionary, with the reading side that the page has."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._metadata: dict[str, Mapping[str, str]] = {}

    def describe(self) -> str:
        return "memory"

    def check(self) -> None: ...

    def put_new(self, key: str, body: bytes, content_type: str, metadata: Mapping[str, str]) -> bool:
        if key in self.objects:
            return False
        self.objects[key], self._metadata[key] = body, dict(metadata)
        return True

    def put(self, key: str, body: bytes, content_type: str, cache_control: str = "") -> None:
        self.objects[key] = body

    def metadata(self, key: str) -> Mapping[str, str] | None:
        return self._metadata.get(key)

    def read(self, key: str, span: Span | None) -> Piece | None:
        body = self.objects.get(key)
        if body is None or span is None:
            return body if body is None else Piece(body, 0, len(body))
        first = max(0, len(body) + span.first) if span.first < 0 else span.first
        if first >= len(body):
            raise IndexError(key)
        return Piece(body[first : len(body) if span.last is None else span.last + 1], first, len(body))


class LivePage:
    """What the page watches: a stream that begins when :meth:`start` is called, and ends with the ``with`` block."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.tally = Tally()
        self._clock = SystemClock()
        self._progress = FileCheckpointStore(folder)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._publish, daemon=True)
        self.reads: list[str] = []
        self.error: BaseException | None = None

    def __enter__(self) -> LivePage:
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._progress.close()
        assert self.error is None

    def start(self) -> None:
        self._thread.start()

    def status(self) -> dict[str, Any]:
        now = {"stream": STREAM, "output": "memory", **self.tally.status(self._clock.now_us(), {"DetectFaces": _CALLS})}
        return {"now_ms": time.time_ns() // 1_000_000, "streams": [now]}

    def read(self, key: str, span: Span | None) -> Piece | None:
        self.reads.append(key)
        return self.store.read(key, span)

    def _publish(self) -> None:
        try:
            checkpoint = Checkpoint(STREAM)
            publisher = Publisher(self.store, self._progress, STREAM, {}, 3, self._clock, checkpoint)
            rolling = RollingSegments(SEGMENT_S, EncodeOptions("ultrafast"), self._clock, checkpoint)
            started_us = self._clock.now_us() // 1000 * 1000
            number = 0
            while not self._ended.is_set():
                due_us = started_us + number * 1_000_000 // RATE
                self._ended.wait(max(0, due_us - self._clock.now_us()) / 1e6)
                for segment in rolling.add(self._frame(number, due_us)):
                    published = publisher.publish(segment)
                    self.tally.published(segment, published.durable_us, published.adopted)
                number += 1
        except BaseException as error:
            self.error = error
            raise

    def _frame(self, number: int, time_us: int) -> RedactedFrame:
        per_fragment = RATE  # one second each
        first_us = time_us - number % per_fragment * 1_000_000 // RATE
        fragment = Fragment(str(1000 + number // per_fragment), first_us, first_us)
        self.tally.arrived(time_us)
        region = Region(Box(0.2, 0.2, 0.6, 0.8), "face", Decision.SEEN)
        return RedactedFrame(
            FrameId(fragment, number % per_fragment, time_us),
            _picture(number),
            WIDTH,
            HEIGHT,
            0,
            Cover(Decision.SEEN, (region,)),
            Stamps(time_us, time_us, time_us),
        )


_CALLS = {"ok": 3, "failed": 0, "throttled": 1, "shed": 0, "late": 0}


def _picture(number: int) -> av.VideoFrame:
    """A light picture with a bar that moves."""
    planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    planes[:HEIGHT] = 180
    left = number * 8 % (WIDTH - 40)
    planes[:HEIGHT, left : left + 40] = 235
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")
