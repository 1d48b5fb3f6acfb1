"""Whole histories of one stream: sessions that break, damage, crashes and stops, until everything has been read.

The run is the real one, from its wiring to the files that it writes. Only the outside is made: the service's bodies,
and a detector that answers at once.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import matroska_writer as mkv
import pytest
from media_made import Piece

from streamproc import app
from streamproc.ingest.resume import Resume
from streamproc.model.detection import Answer, Seen
from streamproc.model.segment import Checkpoint, Gap
from streamproc.progress.files import FileCheckpointStore
from streamproc.publish.files import DirectoryStore
from streamproc.settings import Settings, load_settings

Place = tuple[str, int]
"""A frame: its fragment's number, and its index there in order of presentation."""


class Killed(BaseException):
    """The process is gone. Nothing that runs afterwards may leave a trace."""


@dataclass(frozen=True)
class Damage:
    """What is wrong with a block of a fragment, each time that it is sent.

    Attributes:
        kind: ``breaks`` (the connection ends before it), ``empty`` or ``garbage`` (its bytes), ``absent``.
    """

    block: int
    kind: str


@dataclass(frozen=True)
class History:
    """What happens, besides the media.

    Attributes:
        damage: By fragment number.
        sessions: After so many bytes each session breaks off; those after the last do not.
        runs: How each run but the last ends: killed or stopped, at so many effects (writes), before or behind it.
    """

    damage: Mapping[str, Damage] = field(default_factory=dict)
    sessions: Sequence[int] = ()
    runs: Sequence[tuple[str, int, bool]] = ()

    @staticmethod
    def made(random: Random, pieces: Sequence[Piece]) -> History:
        """Any history for these fragments."""
        size = sum(len(document(piece, None)) for piece in pieces)
        kinds = ("breaks", "empty", "garbage", "absent")
        damage = {
            piece.fragment.number: Damage(random.randrange(len(piece.pictures)), random.choice(kinds))
            for piece in random.sample(list(pieces), random.choice((0, 0, 1, 2)))
        }
        sessions = [random.randrange(size) for _ in range(random.randrange(4))]
        runs = [
            (random.choice(("kill", "stop")), random.randrange(1, 12), random.random() < 0.5)
            for _ in range(random.randrange(4))
        ]
        return History(damage, tuple(sessions), tuple(runs))


@dataclass
class Outcome:
    """What the output holds in the end.

    Attributes:
        published: How often each frame stands in an audit record of a published object.
        selectors: The StartSelector of each GetMedia call.
    """

    published: Counter[Place]
    gaps: list[Gap]
    notes: list[str]
    selectors: list[Mapping[str, Any]]

    def faults(self, pieces: Sequence[Piece], history: History) -> list[str]:
        """Frames that are neither published once nor in a gap."""
        holed = {gap.fragment for gap in self.gaps}
        found = []
        for piece in pieces:
            number, damage = piece.fragment.number, history.damage.get(piece.fragment.number)
            absent = damage is not None and damage.kind == "absent"
            for index in range(len(piece.pictures) - absent):
                count = self.published[number, index]
                if count > 1:
                    found.append(f"{number}[{index}] is published {count} times")
                elif count == 0 and number not in holed:
                    found.append(f"{number}[{index}] is missing, and no gap says so")
        return found


def document(piece: Piece, damage: Damage | None) -> bytes:
    """A fragment as GetMedia sends it."""
    begin_us = piece.fragment.producer_us
    blocks = []
    for at, picture in enumerate(piece.pictures):
        data = picture.data
        if damage is not None and at == damage.block:
            if damage.kind == "absent":
                continue
            data = {"empty": b"", "garbage": bytes(len(data)), "breaks": data}[damage.kind]
        ticks = piece.offset_us(picture) // 1000
        blocks.append(mkv.block(data, ticks, flags=0x80 if picture.keyframe else 0))
    track = piece.track
    entry = mkv.track(1, 1, track.codec_id, track.codec_private, track.width, track.height)
    return mkv.Doc(
        number=piece.fragment.number,
        tracks=entry,
        producer=f"{begin_us / 1e6:.3f}",
        server=f"{piece.fragment.server_us / 1e6:.3f}",
    ).framed(b"".join(blocks))


class _Body:
    def __init__(self, data: bytes, breaks: bool) -> None:
        self._data, self._breaks, self._at = data, breaks, 0
        self._raw_stream = self

    def read1(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + min(size, 1500)]
        self._at += len(piece)
        if not piece and self._breaks:
            raise ConnectionResetError
        return piece

    def shutdown(self) -> None:
        self._data = b""

    def close(self) -> None:
        self._data = b""


class Service:
    """Both clients of Kinesis Video Streams."""

    def __init__(self, pieces: Sequence[Piece], history: History) -> None:
        self._fragments: list[tuple[int, int, bytes, bool]] = []
        self._left = list(history.sessions)
        self.selectors: list[Mapping[str, Any]] = []
        for piece in pieces:
            damage = history.damage.get(piece.fragment.number)
            data, broken = document(piece, damage), damage is not None and damage.kind == "breaks"
            if damage is not None and broken:
                data = data[: data.index(piece.pictures[damage.block].data)]
            self._fragments.append((piece.fragment.order, piece.fragment.server_us, data, broken))

    def describe_stream(self, **_: Any) -> dict[str, Any]:
        return {}

    def get_data_endpoint(self, **_: Any) -> dict[str, str]:
        return {"DataEndpoint": "http://video.test"}

    def get_media(self, *, StartSelector: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        self.selectors.append(StartSelector)
        kind = StartSelector["StartSelectorType"]
        behind = int(StartSelector["AfterFragmentNumber"]) if kind == "FRAGMENT_NUMBER" else -1
        since_us = round(StartSelector["StartTimestamp"].timestamp() * 1e6) if kind == "SERVER_TIMESTAMP" else 0
        body, breaks = b"", False
        for order, server_us, data, broken in self._fragments:
            if order <= behind or server_us < since_us:
                continue
            body += data
            if broken:
                breaks = True
                break
        if self._left:
            cut = self._left.pop(0)
            body, breaks = (body[:cut], cut % 2 == 0) if cut < len(body) else (body, breaks)
        return {"Payload": _Body(body, breaks)}


class _Sees:
    api = "DetectFaces"

    def look(self, jpeg: bytes, timeout_s: float) -> Answer:
        return Seen(())


class _Effects:
    """Counts the writes of all runs, and kills or stops one of them at its write."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.left, self.how, self.behind = -1, "", False
        self.dead = False
        self.stop: Any = None

    def around(self, write: Any, *arguments: Any) -> Any:
        with self._lock:
            if self.dead:
                raise Killed
            self.left -= 1
            due = self.left == 0
        if due and not self.behind:
            self._end()
        result = write(*arguments)
        if due and self.behind:
            self._end()
        return result

    def _end(self) -> None:
        if self.how == "kill":
            self.dead = True
            raise Killed
        self.stop()


def lived(
    pieces: Sequence[Piece],
    history: History,
    folder: Path,
    patch: pytest.MonkeyPatch,
    segment_s: float = 1.0,
    start: str | None = "checkpoint",
) -> Outcome:
    """Live through the history, then run on until everything has been read.

    Args:
        folder: Where output and state are; there may be some from before.
        start: As on the command line.
    """
    effects, service = _Effects(), Service(pieces, history)
    _make_outside(patch, effects, service)
    settings = _settings(folder, segment_s)
    notes: list[str] = []
    for how, at, behind in (*history.runs, ("", -1, False)):
        effects.how, effects.left, effects.behind, effects.dead = how, at, behind, False
        asyncio.run(_one_run(folder, settings, start, effects, notes))
    with FileCheckpointStore(folder / "state") as progress:
        gaps = progress.gaps("cam")
    return Outcome(published(folder / "out"), gaps, notes, service.selectors)


async def _one_run(folder: Path, settings: Settings, start: str | None, effects: _Effects, notes: list[str]) -> None:
    request = app.RunRequest("cam", str(folder / "out"), settings, start, until_idle_s=0.05)
    run = app.LiveRun(request, notes.append)
    loop = asyncio.get_running_loop()
    effects.stop = lambda: loop.call_soon_threadsafe(run.stop)
    try:
        await run.run()
    except BaseException:
        if not effects.dead:
            raise
    finally:
        run.close()


def published(root: Path) -> Counter[Place]:
    return Counter((line["fragment"], line["frame"]) for line in recorded(root))


def recorded(root: Path) -> list[dict[str, Any]]:
    """All lines of the audit records that the media objects' own metadata name, in order."""
    found: list[dict[str, Any]] = []
    for path in sorted(root.glob("video/**/*.mp4")):
        metadata = json.loads((path.parent / ".meta" / f"{path.name}.json").read_text())
        (record,) = root.glob(f"boxes/**/{path.stem}-{metadata['sidecar-sha256'][:16]}.jsonl.gz")
        found += [json.loads(line) for line in gzip.decompress(record.read_bytes()).splitlines()]
    return found


def _settings(folder: Path, segment_s: float) -> Settings:
    values = {
        "state.dir": str(folder / "state"),
        "segment.seconds": str(segment_s),
        "detect.calls_per_second": "10",
        "encode.preset": "ultrafast",
    }
    return load_settings(None, {}, [f"{name}={value}" for name, value in values.items()]).settings


def _make_outside(patch: pytest.MonkeyPatch, effects: _Effects, service: Service) -> None:
    class Store(DirectoryStore):
        def put_new(self, *arguments: Any) -> bool:
            return bool(effects.around(super().put_new, *arguments))

        def put(self, *arguments: Any) -> None:
            effects.around(super().put, *arguments)

    class Progress(FileCheckpointStore):
        def commit(self, checkpoint: Checkpoint) -> None:
            effects.around(super().commit, checkpoint)

        def record_gap(self, stream: str, gap: Gap) -> None:
            effects.around(super().record_gap, stream, gap)

    patch.setattr(app, "_client", lambda *_, **__: service)
    patch.setattr(app, "detector_for", lambda *_: _Sees())
    patch.setattr(app, "store_for", lambda output, _: Store(Path(output)))
    patch.setattr(app, "FileCheckpointStore", Progress)
    patch.setattr(Resume, "delay_s", lambda *_: 0.0)
