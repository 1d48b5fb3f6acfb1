"""Checkpoints, gaps and published segments as JSON, and back again with every field checked."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, TypeVar

from streamproc.model.segment import Checkpoint, Gap, Position, PublishedSegment

SCHEMA = 1
_T = TypeVar("_T")


def checkpoint_to_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """Plain values for ``json.dumps``."""
    return {"schema": SCHEMA, **asdict(checkpoint)}


def checkpoint_from_json(found: object) -> Checkpoint:
    """The inverse of :func:`checkpoint_to_json`. Raises ValueError with the reason if ``found`` is something else."""
    fields = _fields(found)
    schema = fields.get("schema")
    if schema != SCHEMA:
        raise ValueError(f"schema is {schema!r}, this version of streamproc reads {SCHEMA}")
    window = _take(fields, "window", list)
    return Checkpoint(
        stream=_take(fields, "stream", str),
        created=_take(fields, "created", str),
        position=None if fields.get("position") is None else _position(fields["position"]),
        origin_us=_maybe(fields, "origin_us", int),
        last_end_us=_maybe(fields, "last_end_us", int),
        segments=_take(fields, "segments", int),
        media_sequence=_take(fields, "media_sequence", int),
        discontinuity_sequence=_take(fields, "discontinuity_sequence", int),
        window=tuple(segment_from_json(one) for one in window),
    )


def segment_to_json(segment: PublishedSegment) -> dict[str, Any]:
    """Plain values for ``json.dumps``."""
    return asdict(segment)


def segment_from_json(found: object) -> PublishedSegment:
    """The inverse of :func:`segment_to_json`. Raises ValueError with the reason."""
    fields = _fields(found)
    return PublishedSegment(
        key=_take(fields, "key", str),
        time_us=_take(fields, "time_us", int),
        duration_us=_take(fields, "duration_us", int),
        bytes=_take(fields, "bytes", int),
        init_bytes=_take(fields, "init_bytes", int),
        init_digest=_take(fields, "init_digest", str),
        discontinuity=_take(fields, "discontinuity", bool),
    )


def gap_to_json(gap: Gap) -> dict[str, Any]:
    """Plain values for ``json.dumps``."""
    return asdict(gap)


def gap_from_json(found: object) -> Gap:
    """The inverse of :func:`gap_to_json`. Raises ValueError with the reason."""
    fields = _fields(found)
    return Gap(
        reason=_take(fields, "reason", str),
        after=_take(fields, "after", str),
        fragment=_take(fields, "fragment", str),
        frames=_maybe(fields, "frames", int),
        at_us=_take(fields, "at_us", int),
        detail=_take(fields, "detail", str),
    )


def _position(found: object) -> Position:
    fields = _fields(found)
    return Position(
        fragment=_take(fields, "fragment", str),
        frames=_maybe(fields, "frames", int),
        server_us=_take(fields, "server_us", int),
        after=_take(fields, "after", str),
    )


def _fields(found: object) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(f"a JSON object was expected, not {type(found).__name__}")
    return found


def _take(fields: dict[str, Any], name: str, kind: type[_T]) -> _T:
    if name not in fields:
        raise ValueError(f"{name!r} is missing")
    value = fields[name]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name!r} is not of type {kind.__name__}")
    return value


def _maybe(fields: dict[str, Any], name: str, kind: type[_T]) -> _T | None:
    return None if name in fields and fields[name] is None else _take(fields, name, kind)
