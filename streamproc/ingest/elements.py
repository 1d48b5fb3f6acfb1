"""What the elements of a Matroska document mean: Info, Tracks, Tags, and the frames of a block. No state."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from streamproc.ingest import ebml
from streamproc.ingest.ebml import EbmlError
from streamproc.model.media import Track, TrackKind

_KINDS = {1: TrackKind.VIDEO, 2: TrackKind.AUDIO}
_DECIMAL = re.compile(r"(-?)([0-9]{1,15})(?:\.([0-9]{1,30}))?", re.ASCII)
_MATROSKA_EPOCH_US = 978_307_200_000_000  # 2001-01-01T00:00:00Z


@dataclass(frozen=True, slots=True)
class Coding:
    """How the frames of a track are stored.

    Attributes:
        prefix: Bytes cut off from the front of each frame (ContentCompAlgo 3, RFC 9559, 5.1.4.1.31.7).
        duration_ns: Between the frames of one laced block, 0 if not said.
    """

    track: Track
    prefix: bytes = b""
    duration_ns: int = 0


@dataclass(frozen=True, slots=True)
class Info:
    """Attributes of the whole document.

    Attributes:
        scale_ns: Length of one tick of the timestamps.
        date_us: Wall clock at which it was made, 0 if not said.
    """

    scale_ns: int = 1_000_000
    date_us: int = 0


def read_info(data: bytes, start: int, end: int) -> Info:
    scale, date = 1_000_000, 0
    for id_, a, b in ebml.children(data, start, end):
        if id_ == ebml.TIMESTAMP_SCALE:
            scale = ebml.unsigned(data, a, b)
        elif id_ == ebml.DATE_UTC:
            date = max(0, _MATROSKA_EPOCH_US + ebml.signed(data, a, b) // 1000)
    if not scale:
        raise EbmlError("the timestamp scale is zero")
    return Info(scale, date)


def read_tracks(data: bytes, start: int, end: int) -> list[Coding]:
    return [_track(data, a, b) for id_, a, b in ebml.children(data, start, end) if id_ == ebml.TRACK_ENTRY]


def _track(data: bytes, start: int, end: int) -> Coding:
    number = width = height = rotation = hertz = duration_ns = 0
    channels = 1
    kind, codec, private, prefix, for_private, readable = TrackKind.OTHER, "", b"", b"", False, True
    for id_, a, b in ebml.children(data, start, end):
        if id_ == ebml.TRACK_NUMBER:
            number = ebml.unsigned(data, a, b)
        elif id_ == ebml.TRACK_TYPE:
            kind = _KINDS.get(ebml.unsigned(data, a, b), TrackKind.OTHER)
        elif id_ == ebml.CODEC_ID:
            codec = ebml.text(data, a, b)
        elif id_ == ebml.CODEC_PRIVATE:
            private = data[a:b]
        elif id_ == ebml.DEFAULT_DURATION:
            duration_ns = ebml.unsigned(data, a, b)
        elif id_ == ebml.VIDEO:
            width, height, rotation = _video(data, a, b)
        elif id_ == ebml.AUDIO:
            hertz = 8000  # the default of RFC 9559, 5.1.4.1.29.1
            for sub, c, d in ebml.children(data, a, b):
                if sub == ebml.SAMPLING_FREQUENCY:
                    hertz = _whole(ebml.floating(data, c, d))
                elif sub == ebml.CHANNELS:
                    channels = ebml.unsigned(data, c, d)
        elif id_ == ebml.CONTENT_ENCODINGS:
            prefix, for_private, readable = _encodings(data, a, b)
    if not number:
        raise EbmlError("a track has no number")
    if not readable:
        codec += "/ENCODED"  # no decoder has this name: the track is refused as unsupported instead of decoded as noise
    if for_private:
        private = prefix + private
    if kind is not TrackKind.AUDIO:
        hertz = channels = 0
    track = Track(number, kind, codec, private, width, height, rotation, hertz, channels)
    return Coding(track, prefix if readable else b"", duration_ns)


def _video(data: bytes, start: int, end: int) -> tuple[int, int, int]:
    width = height = 0
    roll = 0.0
    for id_, a, b in ebml.children(data, start, end):
        if id_ == ebml.PIXEL_WIDTH:
            width = ebml.unsigned(data, a, b)
        elif id_ == ebml.PIXEL_HEIGHT:
            height = ebml.unsigned(data, a, b)
        elif id_ == ebml.PROJECTION:
            for sub, c, d in ebml.children(data, a, b):
                if sub == ebml.PROJECTION_POSE_ROLL:
                    roll = ebml.floating(data, c, d)
    return width, height, clockwise(roll)


def clockwise(roll: float) -> int:
    """ProjectionPoseRoll, degrees counter-clockwise, as degrees clockwise in quarter turns: 0, 90, 180 or 270.

    RFC 9559, 5.1.4.1.28.46 says counter-clockwise, and FFmpeg writes and reads it so: what PyAV sets and reads back as
    a rotation of 90 (counter-clockwise) stands in the file as a roll of 90.
    """
    return round(-roll / 90) % 4 * 90 if math.isfinite(roll) else 0


def _whole(value: float) -> int:
    return round(value) if math.isfinite(value) and 0 < value < 1e9 else 0


def _encodings(data: bytes, start: int, end: int) -> tuple[bytes, bool, bool]:
    """(stripped prefix, whether it was stripped from CodecPrivate too, whether frames can be read at all)."""
    prefix, for_private, readable = b"", False, True
    for id_, a, b in ebml.children(data, start, end):
        if id_ != ebml.CONTENT_ENCODING:
            continue
        scope, kind, algorithm, settings = 1, 0, 0, b""
        for sub, c, d in ebml.children(data, a, b):
            if sub == ebml.CONTENT_ENCODING_SCOPE:
                scope = ebml.unsigned(data, c, d)
            elif sub == ebml.CONTENT_ENCODING_TYPE:
                kind = ebml.unsigned(data, c, d)
            elif sub == ebml.CONTENT_COMPRESSION:
                for leaf, e, f in ebml.children(data, c, d):
                    if leaf == ebml.CONTENT_COMP_ALGO:
                        algorithm = ebml.unsigned(data, e, f)
                    elif leaf == ebml.CONTENT_COMP_SETTINGS:
                        settings = data[e:f]
        if kind or algorithm != 3:
            readable = False  # encryption or zlib: nothing that a camera sends, and zlib would be a bomb to defuse
        elif scope & 1:
            prefix, for_private = prefix + settings, bool(scope & 2)
    return prefix, for_private, readable


def read_tags(data: bytes, start: int, end: int) -> list[tuple[str, str]]:
    """All SimpleTags of a Tags element as (name, value), in order; names may occur twice."""
    return [
        _simple_tag(data, e, f)
        for id_, a, b in ebml.children(data, start, end)
        if id_ == ebml.TAG
        for sub, e, f in ebml.children(data, a, b)
        if sub == ebml.SIMPLE_TAG
    ]


def _simple_tag(data: bytes, start: int, end: int) -> tuple[str, str]:
    name = value = ""
    for id_, a, b in ebml.children(data, start, end):
        if id_ == ebml.TAG_NAME:
            name = ebml.text(data, a, b)
        elif id_ == ebml.TAG_STRING:
            value = ebml.text(data, a, b)
    return name, value


def read_seconds(value: str) -> int | None:
    """Epoch seconds as decimal text in whole µs, exactly (a seventh digit is cut); None if it is not a number."""
    match = _DECIMAL.fullmatch(value.strip())
    if match is None:
        return None
    sign, whole, part = match.groups()
    micros = int(whole) * 1_000_000 + int((part or "")[:6].ljust(6, "0"))
    return -micros if sign else micros


def read_group(data: bytes, start: int, end: int) -> tuple[int, int, bool]:
    """Where a BlockGroup's Block is, and whether it is a keyframe: it refers to no other (RFC 9559, 5.1.3.5.5)."""
    found: tuple[int, int] | None = None
    keyframe = True
    for id_, a, b in ebml.children(data, start, end):
        if id_ == ebml.BLOCK:
            found = a, b
        elif id_ == ebml.REFERENCE_BLOCK:
            keyframe = False
    if found is None:
        raise EbmlError("a block group has no block")
    return *found, keyframe


def unlace(data: bytes, start: int, end: int, lacing: int) -> list[bytes]:
    """The frames of a laced block, from the count on (RFC 9559, 10.3). ``lacing``: 1 Xiph, 2 fixed size, 3 EBML.

    Raises:
        EbmlError: The sizes do not add up.
    """
    if start >= end:
        raise EbmlError("a laced block has no count")
    count, pos = data[start] + 1, start + 1
    sizes: list[int] = []
    if lacing == 2:
        each, rest = divmod(end - pos, count)
        if rest:
            raise EbmlError("a block with fixed lacing does not divide evenly")
        sizes = [each] * (count - 1)
    elif lacing == 1:
        for _ in range(count - 1):
            size = 0
            while True:
                if pos >= end:
                    raise EbmlError("the sizes of a laced block do not end")
                size += data[pos]
                pos += 1
                if data[pos - 1] != 255:
                    break
            sizes.append(size)
    else:
        for _ in range(count - 1):
            before = pos
            value, pos = ebml.read_vint(data, pos, end)
            if sizes:  # a difference, stored with a bias that makes it positive
                value += sizes[-1] - ((1 << 7 * (pos - before) - 1) - 1)
            sizes.append(value)
    frames = []
    for size in sizes:
        if size < 0 or pos + size > end:
            raise EbmlError("the sizes of a laced block do not add up")
        frames.append(data[pos : pos + size])
        pos += size
    return [*frames, data[pos:end]]
