"""Progress in a folder: checkpoint, gap ledger and journal of each stream, safe against ``kill -9`` and power loss.

Files of the stream S: ``S.json`` the checkpoint, ``S.gaps.jsonl`` the gap ledger, ``S.<hour>.segments.jsonl`` what was
published in an hour (whole hours since the epoch), ``S.lock`` the lock with the owner's process number.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

from streamproc.errors import ConfigurationError, UnavailableError
from streamproc.model.segment import Checkpoint, Gap, PublishedSegment
from streamproc.progress.record import (
    checkpoint_from_json,
    checkpoint_to_json,
    gap_from_json,
    gap_to_json,
    segment_from_json,
    segment_to_json,
)

_HOURS_KEPT = 3  # a producer's clock may be set back over the hour
_LONGEST_NAME = 200  # a file name ends at 255 bytes, a stream's name at 256
_T = TypeVar("_T")


@dataclass(slots=True)
class _Held:
    """A stream whose lock we hold, and what we know of its files."""

    lock: int
    gaps: list[Gap] | None = None
    hours: dict[int, dict[str, PublishedSegment]] = field(default_factory=dict)


class FileCheckpointStore:
    """Implements :class:`~streamproc.ports.CheckpointStore` for one machine, with a journal of published segments.

    The first call about a stream takes its lock, which is held until :meth:`close` or the end of the process (also by
    ``kill -9``); another process, or another store object, is refused with :class:`UnavailableError`.

    Every method raises ``UnavailableError`` if the folder cannot be written just now, and ``ConfigurationError`` if it
    never can or if a file in it is not ours or damaged.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._streams: dict[str, _Held] = {}

    def __enter__(self) -> FileCheckpointStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back all locks."""
        for held in self._streams.values():
            os.close(held.lock)
        self._streams.clear()

    def load(self, stream: str) -> Checkpoint | None:
        """The last committed checkpoint, None if there is none."""
        self._hold(stream)
        path = self._path(stream, ".json")
        with _disk_errors(path):
            try:
                text = path.read_bytes()
            except FileNotFoundError:
                return None
        try:
            checkpoint = checkpoint_from_json(json.loads(text))
            if checkpoint.stream != stream:
                raise ValueError(f"it belongs to the stream {checkpoint.stream!r}")
        except ValueError as error:
            raise _foreign(path, error) from error
        return checkpoint

    def commit(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint in one step; durable on return."""
        self._hold(checkpoint.stream)
        path = self._path(checkpoint.stream, ".json")
        temp = path.with_name(path.name + ".tmp")
        with _disk_errors(path):
            with temp.open("wb") as file:
                file.write(json.dumps(checkpoint_to_json(checkpoint)).encode())
                file.flush()
                os.fsync(file.fileno())
            temp.replace(path)
            _sync_folder(self._directory)

    def record_gap(self, stream: str, gap: Gap) -> None:
        """Append to the ledger; a gap with the same reason, place and fragment is in it once. Durable on return."""
        gaps = self._gaps(stream)
        if all(_place(gap) != _place(other) for other in gaps):
            _append(self._path(stream, ".gaps.jsonl"), gap_to_json(gap))
            gaps.append(gap)

    def gaps(self, stream: str) -> list[Gap]:
        """All gaps of the stream, in the order they were recorded."""
        return list(self._gaps(stream))

    def record_segment(self, stream: str, hour: int, segment: PublishedSegment) -> None:
        """Append to the journal of an hour, once per key. Forgets all but the three hours written to last."""
        known = self._segments(stream, hour)
        if segment.key not in known:
            path = self._hour_path(stream, hour)
            new_hour = not known
            _append(path, segment_to_json(segment))
            known[segment.key] = segment
            if new_hour:
                self._forget(stream, hour)

    def segments_of_hour(self, stream: str, hour: int) -> tuple[PublishedSegment, ...]:
        """What was recorded for the hour, in that order; empty once it is forgotten."""
        return tuple(self._segments(stream, hour).values())

    def _hold(self, stream: str) -> _Held:
        if stream in self._streams:
            return self._streams[stream]
        path = self._path(stream, ".lock")
        with _disk_errors(path):
            _make_folder(self._directory)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            except BlockingIOError as error:
                owner = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(handle)
                raise UnavailableError(
                    f"another streamproc (pid {owner}) already works on stream {stream} with state dir "
                    f"{self._directory}; stop it or choose another state.dir"
                ) from error
            except OSError:
                os.close(handle)
                raise
        return self._streams.setdefault(stream, _Held(handle))

    def _gaps(self, stream: str) -> list[Gap]:
        held = self._hold(stream)
        if held.gaps is None:
            held.gaps = _read_lines(self._path(stream, ".gaps.jsonl"), gap_from_json)
        return held.gaps

    def _segments(self, stream: str, hour: int) -> dict[str, PublishedSegment]:
        held = self._hold(stream)
        if hour not in held.hours:
            segments = _read_lines(self._hour_path(stream, hour), segment_from_json)
            held.hours[hour] = {segment.key: segment for segment in segments}
        return held.hours[hour]

    def _forget(self, stream: str, written: int) -> None:
        """Delete all journals but those written to last, among them that of the hour ``written``."""
        pattern = re.compile(re.escape(_name(stream)) + r"\.(-?\d+)\.segments\.jsonl")
        with _disk_errors(self._directory):
            hours = {
                int(match[1]): path.stat().st_mtime_ns
                for path in self._directory.iterdir()
                if (match := pattern.fullmatch(path.name))
            }
            # The clock of file times is coarse: of journals written to at once, the later hour counts as the later.
            latest = sorted(hours, key=lambda hour: (hour == written, hours[hour], hour), reverse=True)
            kept = set(latest[:_HOURS_KEPT])
            for hour in hours.keys() - kept:
                self._hour_path(stream, hour).unlink()
        held = self._streams[stream]
        held.hours = {hour: segments for hour, segments in held.hours.items() if hour in kept}

    def _hour_path(self, stream: str, hour: int) -> Path:
        return self._path(stream, f".{hour}.segments.jsonl")

    def _path(self, stream: str, suffix: str) -> Path:
        return self._directory / (_name(stream) + suffix)


def _name(stream: str) -> str:
    name = quote(stream, safe="")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 17]}~{hashlib.sha256(stream.encode()).hexdigest()[:16]}"


def _place(gap: Gap) -> tuple[str, str, str]:
    return gap.reason, gap.after, gap.fragment


def _append(path: Path, record: dict[str, Any]) -> None:
    with _disk_errors(path):
        created = not path.exists()
        with path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                line = json.dumps(record).encode() + b"\n"
                if file.write(line) != len(line):
                    raise OSError("only a part was written; is the disk full?")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
        if created:
            _sync_folder(path.parent)


def _read_lines(path: Path, parse: Callable[[object], _T]) -> list[_T]:
    """All records of a file of JSON lines; a last line that a crash has torn is cut off, in the file too."""
    with _disk_errors(path):
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return []
        records: list[_T] = []
        good = 0
        for number, line in enumerate(text.splitlines(keepends=True), start=1):
            last = good + len(line) == len(text)
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("the line has no end")
                records.append(parse(json.loads(line)))
            except ValueError as error:
                if not last:
                    raise _foreign(path, error, number) from error
                with path.open("r+b") as file:
                    file.truncate(good)
                    os.fsync(file.fileno())
                break
            good += len(line)
    return records


def _foreign(path: Path, error: ValueError, line: int | None = None) -> ConfigurationError:
    reason = "is not JSON" if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)) else str(error)
    where = str(path) if line is None else f"{path}:{line}"
    return ConfigurationError(f"{where}: {reason}; move the file away to start anew")


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError) as error:
        raise ConfigurationError(f"{path}: {error.strerror}; correct its permissions or state.dir") from error
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror or error}; make room or mend the disk") from error


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
