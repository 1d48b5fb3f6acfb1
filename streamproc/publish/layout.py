"""Where objects go: keys that sort as text in the order of time, made from a segment's first frame alone.

A key depends on nothing but the stream and the first frame, so whoever publishes the same part of a stream again (a
replay, a second worker) meets the same key, and a conditional write tells them that it is taken.
"""

from __future__ import annotations

import hashlib
import posixpath
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from streamproc.model.frame import FrameId

HOUR_US = 3_600_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LONGEST_NAME = 200  # a file name ends at 255 bytes, a stream's name at 256


def utc(time_us: int) -> datetime:
    """Wall clock µs as a date; a producer's nonsense is moved to the nearest date in the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=_dated(time_us))


def iso(time_us: int, timespec: str = "microseconds") -> str:
    """For instance ``2026-11-20T13:36:11.123456Z``; digits beyond ``timespec`` are cut off."""
    return utc(time_us).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def hour_of(time_us: int) -> int:
    """Whole hours since the Unix epoch: segments with the same hour share a folder and an hour playlist."""
    return _dated(time_us) // HOUR_US


def media_key(stream: str, start: FrameId) -> str:
    """Key of the segment that begins with ``start``: ``video/stream=S/dt=D/hour=H/<UTC with ms>_<fragment>.mp4``.

    A segment that begins inside a fragment has the frame's index as a suffix, so that no two frames of a stream share a
    key even within a millisecond. A fragment without a number is called ``none``.
    """
    return f"video/stream={_name(stream)}/{_hour(start.time_us)}/{_stem(start)}.mp4"


def sidecar_key(stream: str, start: FrameId, digest: str) -> str:
    """Key of a segment's audit record; ``digest`` is the SHA-256 of its bytes in hex.

    Time stands before the stream, other than for media: who asks the records asks about a time.
    """
    return f"boxes/{_hour(start.time_us)}/stream={_name(stream)}/{_stem(start)}-{digest[:16]}.jsonl.gz"


def live_playlist_key(stream: str) -> str:
    """Key of the rolling playlist."""
    return f"video/stream={_name(stream)}/live.m3u8"


def hour_playlist_key(stream: str, time_us: int) -> str:
    """Key of the playlist of the hour that ``time_us`` lies in."""
    return f"video/stream={_name(stream)}/{_hour(time_us)}/index.m3u8"


def relative_uri(from_playlist_key: str, to_key: str) -> str:
    """How a playlist refers to an object (RFC 3986, 4.2), so that a tree can be copied or served anywhere."""
    return quote(posixpath.relpath(to_key, posixpath.dirname(from_playlist_key)), safe="/=")


def _dated(time_us: int) -> int:
    return max(_FIRST_US, min(_LAST_US, time_us))


def _hour(time_us: int) -> str:
    time = utc(time_us)
    return f"dt={time.year:04}-{time.month:02}-{time.day:02}/hour={time.hour:02}"


def _stem(start: FrameId) -> str:
    stamp = iso(start.time_us, "milliseconds").replace("-", "").replace(":", "")
    fragment = quote(start.fragment.number, safe="") or "none"
    # "_" sorts behind ".", so the suffixed keys of a fragment stand behind its first.
    return f"{stamp}_{fragment}" + (f"_{start.index:06}" if start.index else "")


def _name(stream: str) -> str:
    name = quote(stream, safe="")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 17]}~{hashlib.sha256(stream.encode()).hexdigest()[:16]}"
