"""The audit record beside each segment, and the metadata on it from which another writer can go on.

The record says what was covered where and why. It has no field for what a plate says or who somebody is.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Mapping
from fractions import Fraction

from streamproc.model.frame import FrameId, Region
from streamproc.model.segment import Position, PublishedSegment, Segment
from streamproc.publish.layout import iso

SCHEMA = "1"
_STEPS = 10_000  # regions are written in ten-thousandths of the picture
_NOTHING = "-"  # some stores drop a header without a value


def policy_hash(policy: Mapping[str, object]) -> str:
    """Twelve hex digits that tell two redaction settings apart; the order of the settings does not matter."""
    return hashlib.sha256(json.dumps(policy, sort_keys=True, default=str).encode()).hexdigest()[:12]


def sidecar(segment: Segment, stream: str, policy: Mapping[str, object]) -> bytes:
    """The segment's audit record: gzip of one JSON object per frame and line, in order of presentation.

    Fields: ``v``, ``stream``, ``ts`` (producer's clock, UTC), ``fragment`` (text: too long for a number), ``frame``
    (index in the fragment), ``width``, ``height`` (pixels), ``decision``, ``regions`` (``kind``, ``x``, ``y``, ``w``,
    ``h`` in shares of the picture, ``origin``) and ``policy``. Where settings below the floor are in force, ``weak``
    lists them, as the policy's own ``weak`` does. Numbers are rounded outward: no region shrinks. The same segment
    gives the same bytes.
    """
    policy_id = policy_hash(policy)
    weak = {"weak": policy["weak"]} if policy.get("weak") else {}
    lines = [
        json.dumps(
            {
                "v": 1,
                "stream": stream,
                "ts": iso(frame.id.time_us),
                "fragment": frame.id.fragment.number,
                "frame": frame.id.index,
                "width": segment.width,
                "height": segment.height,
                "decision": frame.cover.decision.value,
                "regions": [_region(region) for region in frame.cover.regions],
                "policy": policy_id,
                **weak,
            },
            separators=(",", ":"),
        )
        for frame in segment.frames
    ]
    return gzip.compress("".join(line + "\n" for line in lines).encode(), mtime=0)


def segment_metadata(segment: Segment, sidecar_digest: str, policy_id: str, epoch: int) -> dict[str, str]:
    """What stands on the media object. Names are lower-case ASCII and values not empty, as S3 returns them unchanged.

    Together with the key it is all that another writer needs to go on behind this segment: see
    :func:`position_from_metadata` and :func:`published_from_metadata`. Well under the 2 KB that S3 allows.
    """
    end = segment.end
    init = segment.data[: segment.init_bytes]
    return {
        "schema": SCHEMA,
        "start-fragment": segment.place.fragment.number or _NOTHING,
        "start-frame": str(segment.place.index),
        "start-us": str(segment.start.time_us),
        "duration-us": str(segment.duration_us),
        "origin-us": _NOTHING if segment.origin_us is None else str(segment.origin_us),
        "end-fragment": end.fragment or _NOTHING,
        "end-frames": "all" if end.frames is None else str(end.frames),
        "end-server-us": str(end.server_us),
        "resume-after": end.after or _NOTHING,
        "frames": str(len(segment.frames)),
        "bytes": str(len(segment.data)),
        "init-bytes": str(segment.init_bytes),
        "init-sha256": hashlib.sha256(init).hexdigest(),
        "discontinuity": "1" if segment.discontinuity else "0",
        "sidecar-sha256": sidecar_digest,
        "policy": policy_id,
        "epoch": str(epoch),
    }


def position_from_metadata(metadata: Mapping[str, str]) -> Position:
    """The stream's position behind the object. Raises ValueError for metadata that is not ours."""
    _own(metadata)
    frames = _text(metadata, "end-frames")
    return Position(
        fragment=_text(metadata, "end-fragment"),
        frames=None if frames == "all" else int(frames),
        server_us=_number(metadata, "end-server-us"),
        after=_text(metadata, "resume-after"),
    )


def published_from_metadata(key: str, metadata: Mapping[str, str]) -> PublishedSegment:
    """The object as the playlist knows it. Raises ValueError for metadata that is not ours."""
    _own(metadata)
    return PublishedSegment(
        key=key,
        time_us=_number(metadata, "start-us"),
        duration_us=_number(metadata, "duration-us"),
        bytes=_number(metadata, "bytes"),
        init_bytes=_number(metadata, "init-bytes"),
        init_digest=_text(metadata, "init-sha256"),
        discontinuity=_text(metadata, "discontinuity") == "1",
    )


def origin_from_metadata(metadata: Mapping[str, str]) -> int | None:
    """Producer's wall clock, µs, that is time zero of the object's timeline; None if its writer did not say.

    Raises ValueError for metadata that is not ours.
    """
    origin = _text(metadata, "origin-us")
    return int(origin) if origin else None


def begins_with(metadata: Mapping[str, str], start: FrameId) -> bool:
    """Whether the object was opened at this very place."""
    return (metadata.get("start-fragment"), metadata.get("start-frame")) == (
        start.fragment.number or _NOTHING,
        str(start.index),
    )


def _region(region: Region) -> dict[str, object]:
    box = region.box.clip()
    # Exact fractions: 0.07 * 10 000 is 700.0000000000001, and such an edge must not move inward.
    left, top = (math.floor(Fraction(edge) * _STEPS) for edge in (box.left, box.top))
    right, bottom = (math.ceil(Fraction(edge) * _STEPS) for edge in (box.right, box.bottom))
    return {
        "kind": region.kind,
        "x": left / _STEPS,
        "y": top / _STEPS,
        "w": (right - left) / _STEPS,
        "h": (bottom - top) / _STEPS,
        "origin": region.origin.value,
    }


def _own(metadata: Mapping[str, str]) -> None:
    schema = metadata.get("schema")
    if schema != SCHEMA:
        raise ValueError(f"metadata has schema {schema!r}, not {SCHEMA!r}")


def _text(metadata: Mapping[str, str], name: str) -> str:
    value = metadata.get(name)
    if value is None:
        raise ValueError(f"metadata has no {name!r}")
    return "" if value == _NOTHING else value


def _number(metadata: Mapping[str, str], name: str) -> int:
    return int(_text(metadata, name))
