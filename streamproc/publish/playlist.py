"""HLS playlists as text (RFC 8216, version 7), and the rule by which the live window rolls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from streamproc.model.segment import Checkpoint, Position, PublishedSegment
from streamproc.publish.layout import iso

Uri = Callable[[PublishedSegment], str]
"""How the playlist at hand refers to a segment's object."""

_SECOND_US = 1_000_000
_LONGEST_WINDOW = 1000  # segments, where very short ones would keep the window growing


def roll(
    checkpoint: Checkpoint, segment: PublishedSegment, position: Position, window_segments: int, target_s: int = 1
) -> Checkpoint:
    """The checkpoint once ``segment`` is published too, with the live window moved on.

    A segment keeps its media sequence number and its discontinuity sequence number as long as it is listed, and leaves
    only from the head (RFC 8216, 6.2.2). The window may keep more than ``window_segments`` (at least 1): nothing may
    leave while fewer than three target durations would remain.
    """
    if window_segments < 1:
        raise ValueError("window_segments must be at least 1")
    window = (*checkpoint.window, segment)
    target_us = target_duration_s(window, target_s) * _SECOND_US
    left_us = sum(one.duration_us for one in window)
    first = 0
    while len(window) - first > window_segments:
        left_us -= window[first].duration_us
        if left_us < 3 * target_us and len(window) - first <= _LONGEST_WINDOW:
            break
        first += 1
    # The sequence number counts the discontinuity before the head itself, which is therefore not written there.
    entering = window[: first + 1] if not checkpoint.window else window[1 : first + 1]
    return replace(
        checkpoint,
        position=position,
        last_end_us=segment.time_us + segment.duration_us,
        segments=checkpoint.segments + 1,
        media_sequence=checkpoint.media_sequence + first,
        discontinuity_sequence=checkpoint.discontinuity_sequence + sum(one.discontinuity for one in entering),
        window=window[first:],
    )


def live_playlist(checkpoint: Checkpoint, uri: Uri, *, ended: bool = False, target_s: int = 1) -> str:
    """The rolling playlist of the checkpoint's window.

    Args:
        target_s: Lower bound of EXT-X-TARGETDURATION, which must not change from one refresh to the next: hand in the
            largest that was ever written.
        ended: No segment will follow (EXT-X-ENDLIST).
    """
    head = [
        f"#EXT-X-MEDIA-SEQUENCE:{checkpoint.media_sequence}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{checkpoint.discontinuity_sequence}",
    ]
    return _playlist(head, checkpoint.window, uri, ended, target_s)


def event_playlist(segments: Sequence[PublishedSegment], uri: Uri, *, ended: bool = False, target_s: int = 1) -> str:
    """A playlist that only ever grows at its end (RFC 8216, 4.3.3.5)."""
    return _playlist(["#EXT-X-PLAYLIST-TYPE:EVENT", "#EXT-X-MEDIA-SEQUENCE:0"], segments, uri, ended, target_s)


def target_duration_s(segments: Sequence[PublishedSegment], target_s: int = 1) -> int:
    """EXT-X-TARGETDURATION: no EXTINF, rounded to the nearest second, may be longer (RFC 8216, 4.3.3.1). At least 1."""
    longest_us = max((one.duration_us for one in segments), default=0)
    return max(1, target_s, -(-longest_us // _SECOND_US))


def _playlist(head: list[str], segments: Sequence[PublishedSegment], uri: Uri, ended: bool, target_s: int) -> str:
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f"#EXT-X-TARGETDURATION:{target_duration_s(segments, target_s)}",
        *head,
    ]
    carriers: dict[str, PublishedSegment] = {}
    previous: PublishedSegment | None = None
    for segment in segments:
        broken = previous is not None and segment.discontinuity
        if broken:
            lines.append("#EXT-X-DISCONTINUITY")
        carrier = carriers.setdefault(segment.init_digest, segment)
        if previous is None or broken or segment.init_digest != previous.init_digest:
            lines.append(f'#EXT-X-MAP:URI="{uri(carrier)}",BYTERANGE="{carrier.init_bytes}@0"')
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{iso(segment.time_us, 'milliseconds')}")
        # All six digits of the integer: a float, printed, can round up past the target duration.
        whole, rest = divmod(segment.duration_us, _SECOND_US)
        lines.append(f"#EXTINF:{whole}.{rest:06},")
        lines.append(uri(segment))
        previous = segment
    if ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"
